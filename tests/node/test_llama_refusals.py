"""What a real llama-server says of files that it cannot load, as one line for the operator; and it is started once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy import demo
from node.chatml import CHATML, Template
from node.engines.llama import LlamaEngine, find_build
from node.engines.llama_refusals import refusal
from node.life import State
from node.process import ProcessLimits
from node.sizes.sizing import Sizing
from relay.limits import Limits
from tests.node.tiny_model import write_model

LIMIT_S = 60
TENSOR, TYPE, OFFSET = b"blk.0.attn_q.weight", 20, 24  # and where these stand after its name
LESS = "set a smaller context or parallel in [node.models.m], or serve a smaller model"
NEWER = "get another model or conversion, or name a newer llama.cpp with --llama-server"


async def outcome(weights: Path, folder: Path, *flags: str, own: bool = True, **options: Any) -> LlamaEngine:
    """An engine whose first start is over, one way or the other."""
    template = Template(CHATML, own)
    sizing = Sizing(context=512, parallel=1, threads=1, gpu_layers=None, batch=None)
    build = await find_build(None)
    engine = LlamaEngine(
        build, "m", weights, template, sizing, flags, folder / "0.sock", ProcessLimits(), Limits(), **options
    )
    running = asyncio.create_task(engine.run())
    try:
        async with asyncio.timeout(LIMIT_S):
            while engine.life.state in (State.NEW, State.STARTING):
                await engine.life.changed()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return engine


@pytest.mark.engine
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda path: write_model(path, architecture="nosuch"),
            f"this llama-server cannot load it (unknown model architecture: 'nosuch'); {NEWER}",
        ),
        (
            lambda path: write_model(path, without=["blk.1.attn_q.weight"]),
            "it lacks what its architecture needs (tensor 'blk.1.attn_q.weight' not found); "
            "fetch it again, or get another conversion of the model",
        ),
        (lambda path: write_model(path, claimed_width=128), "it lacks what its architecture needs (tensor '"),
        (lambda path: cut(write_model(path), 0.6), "it is cut short or damaged (data is not within the file bounds"),
        (lambda path: patched(path, OFFSET), "it is cut short or damaged (tensor 'blk.0.attn_q.weight' has "),
        (lambda path: patched(path, TYPE), "its quantization is not known to this llama-server; "),
        (lambda path: link(path, "demo-vision-mmproj.gguf"), "it is a projector, which lets a model see; give "),
        (lambda path: text(path), "this llama-server cannot load it ("),
    ],
)  # fmt: skip
async def test_what_is_wrong_with_a_file_is_said_once(
    tmp_path: Path, make: Callable[[Path], object], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    weights = tmp_path / "bad.gguf"
    make(weights)
    engine = await outcome(weights, tmp_path)
    assert engine.life.failure is not None, caplog.text
    assert engine.life.failure.startswith(f"{weights}: {said}")
    assert (engine.life.state, engine.life.starts) == (State.FAILED, 1)


@pytest.mark.engine
@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{% for m in messages %}{{ m.content ", "parser: Parser Error: "),
        ("{{ raise_exception('no such thing') }}", "Jinja Exception: no such thing"),
    ],
)
async def test_a_template_that_cannot_be_read(tmp_path: Path, template: str, why: str) -> None:
    weights = write_model(tmp_path / "bad.gguf", template=template)
    failure = (await outcome(weights, tmp_path)).life.failure
    assert failure is not None
    assert failure.startswith(f"its chat template cannot be used ({why}")
    assert failure.endswith("); set template = 'chatml' in [node.models.m]")
    assert (await outcome(weights, tmp_path, own=False)).life.failure is None, "and that helps"


@pytest.mark.engine
async def test_a_projector_of_another_model(tmp_path: Path) -> None:
    weights, projector = write_model(tmp_path / "model.gguf"), Path(demo.VISION.settings["projector"])
    mismatch = "mismatch between text model (n_embd = 64) and mmproj (n_embd = 576)"
    assert (await outcome(weights, tmp_path, projector=projector)).life.failure == (
        f"{projector}: it belongs to another model ({mismatch}); change projector in [node.models.m]"
    )


@pytest.mark.engine
async def test_what_does_not_fit_into_memory(tmp_path: Path) -> None:
    weights = write_model(tmp_path / "model.gguf")
    tight = tmp_path / "llama-server"
    tight.write_text(f'#!/bin/sh\nulimit -v 2000000\nexec {(await find_build(None)).path} "$@"\n')
    tight.chmod(0o755)
    build, template = await find_build(tight), Template(CHATML, own=True)
    sizing = Sizing(context=2_000_000, parallel=1, threads=1, gpu_layers=None, batch=None)
    engine = LlamaEngine(build, "m", weights, template, sizing, (), tmp_path / "0.sock", ProcessLimits(), Limits())
    async with asyncio.timeout(LIMIT_S):
        await engine.run()
    said = rf"{re.escape(str(weights))}: there is not enough memory to load it \(CPU has no 195\d MiB left\); "
    assert re.fullmatch(said + re.escape(LESS), engine.life.failure or "")


@pytest.mark.engine
async def test_a_whole_model_is_not_refused(tmp_path: Path) -> None:
    engine = await outcome(write_model(tmp_path / "good.gguf"), tmp_path)
    assert (engine.life.failure, engine.life.failures) == (None, 0)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            [  # as a CUDA build writes it
                "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 144817 MiB: cudaMalloc failed: out of memory",
                "alloc_tensor_range: failed to allocate CUDA0 buffer of size 151851674624",
                "llama_model_load: error loading model: unable to allocate CUDA0 buffer",
                "0.01.1 E cmn  common_init_: failed to load model '/models/big.gguf'",
            ],
            f"/models/big.gguf: there is not enough memory to load it (CUDA0 has no 144817 MiB left); {LESS}",
        ),
        (
            ["/build/ggml-cuda.cu:98: CUDA error: out of memory"],
            f"there is not enough memory to load it (CUDA error: out of memory); {LESS}",
        ),
        (
            ["terminate called after throwing an instance of 'std::bad_alloc'"],
            f"there is not enough memory to load it (std::bad_alloc); {LESS}",
        ),
        (
            ["/build/deep/ggml.c:1644: GGML_ASSERT(a == {b}) failed"],
            f"llama-server breaks down while it loads (ggml.c:1644: GGML_ASSERT(a == {{b}}) failed); {NEWER}",
        ),
        (
            [
                "0.00.1 E llama_model_load: error loading model: of a new kind {x}",
                "0.00.2 E srv  llama_server: exiting due to model loading error",
            ],
            f"this llama-server cannot load it (error loading model: of a new kind {{x}}); {NEWER}",
        ),
        (
            ["error: invalid argument: --x"],
            "llama-server says 'error: invalid argument: --x'; change flags in [node.models.m]",
        ),
        (["0.00.1 I srv  listening", "some warning about memory"], None),
        ([], None),
    ],
)  # fmt: skip
def test_what_it_writes_is_made_one_line(lines: list[str], said: str | None) -> None:
    assert refusal(lines, "m") == said


def cut(path: Path, share: float) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])


def patched(path: Path, at: int) -> None:
    """With the byte at that place after a tensor's name changed."""
    whole = bytearray(write_model(path).read_bytes())
    whole[whole.index(TENSOR) + len(TENSOR) + at] = 99
    path.write_bytes(whole)


def link(path: Path, name: str) -> None:
    path.symlink_to(Path(demo.VISION.settings["projector"]).with_name(name))


def text(path: Path) -> None:
    path.write_text("This is no model.\n" * 100)
