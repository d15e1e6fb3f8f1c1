"""The memory that models were estimated to take, held against what llama-server takes: `make bench-footprint`.

Each is started as a node starts it, its context is filled in every slot, twice, and both figures are printed with the
error of the estimate. ARGS="WORD ..." picks the cases whose names hold one of the words. Models of random weights are
written first, since memory depends on sizes alone. Not here: GPUs (the estimate of VRAM was not measured).
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gguf import GGMLQuantizationType

from deploy import demo
from deploy.demo import Demo
from node.model_config import ModelConfig
from node.sizes.memory import MIB, Memory
from tests.node.filled import Filled, fill
from tests.random_gguf import Size, write_mamba, write_transformer

THREADS = 2
WIDE = Size(layers=24, width=1024, inner=2816, heads=16, kv_heads=4, context=32_768)
DEEP_CACHE = Size(layers=4, width=1024, inner=2048, heads=16, kv_heads=16, head_width=128, context=32_768)
WINDOWED = Size(layers=12, width=768, inner=2048, heads=8, kv_heads=4, head_width=128, context=32_768, window=512)


@dataclass(frozen=True)
class Case:
    """`weights` are where they are, or are written into a folder, with the vocabulary of a GGUF."""

    name: str
    weights: Callable[[Path], Path]
    wish: ModelConfig
    picture: str | None = None


def cases() -> list[Case]:
    return [
        *(
            Case("SmolLM2-135M Q4_1", _demo(demo.CHAT), _wish(context, slots))
            for context, slots in ((2048, 1), (2048, 4), (512, 16))
        ),
        Case("all-MiniLM-L6-v2 F16", _demo(demo.EMBEDDING), _wish(512, 4)),
        Case("SmolLM2 with a projector", _demo(demo.VISION), _wish(2048, 1, projector=_projector()), _noise()),
        *(
            Case(f"llama, 24 layers, {stored.name}", _random("wide", WIDE, stored), _wish(1024, 2))
            for stored in (GGMLQuantizationType.F16, GGMLQuantizationType.Q8_0, GGMLQuantizationType.Q4_0)
        ),
        Case("llama, 4 layers, F16", _random("deep", DEEP_CACHE), _wish(4096, 4)),
        Case("gemma3, window 512, F16", _random("windowed", WINDOWED), _wish(2048, 2)),
        Case("mamba, 12 layers, F16", _mamba, _wish(1024, 4)),
    ]  # fmt: skip


def _wish(context: int, parallel: int, projector: Path | None = None) -> ModelConfig:
    return ModelConfig(context=context, parallel=parallel, threads=THREADS, projector=projector)


def _demo(model: Demo) -> Callable[[Path], Path]:
    return lambda _: Path(str(model.options()["uri"]))


def _projector() -> Path:
    return Path(str(demo.VISION.options()["projector"]))


def _random(name: str, size: Size, stored: GGMLQuantizationType = GGMLQuantizationType.F16) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        sized = Size(**{**size.__dict__, "stored": stored})
        return write_transformer(folder / f"{name}-{stored.name}.gguf", _demo(demo.CHAT)(folder), sized)

    return write


def _mamba(folder: Path) -> Path:
    return write_mamba(folder / "mamba.gguf", _demo(demo.CHAT)(folder), layers=12, width=768)


def _noise() -> str:
    """A picture, as a data URL."""
    from PIL import Image

    kept = io.BytesIO()
    Image.effect_noise((640, 480), 80).convert("RGB").save(kept, "PNG")
    return "data:image/png;base64," + base64.b64encode(kept.getvalue()).decode()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="cases whose name holds one of these; all by default")
    words = parser.parse_args().words
    print("| model | weights, MiB | context x slots | estimate, MiB | loaded | error | full | error |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for case in cases():
        if not words or any(word.lower() in case.name.lower() for word in words):
            with tempfile.TemporaryDirectory() as folder:
                weights = await asyncio.to_thread(case.weights, Path(folder))
                print(_row(case, await fill(weights, case.wish, Path(folder), picture=case.picture)), flush=True)


def _row(case: Case, found: Filled) -> str:
    sizing = found.sizing
    cells = [
        case.name,
        f"{found.weights_bytes / MIB:,.0f}",
        f"{sizing.context:,} x {sizing.parallel}",
        _mib(found.estimated),
    ]
    for took in (found.loaded, found.full):
        cells += [_mib(took), f"{found.error(took):+.0%}"]
    return f"| {' | '.join(cells)} |"


def _mib(memory: Memory) -> str:
    return f"{memory.ram / MIB:,.0f}"


if __name__ == "__main__":
    asyncio.run(main())
