"""What common models take on common GPUs, by the node's own estimate: `python -m bench.sizing` prints the table of
docs/operations.md.

A model is given by its published shape; its weights are reckoned at so many bits each. Nothing is loaded, and no GPU is
asked: the estimate of VRAM is what a node uses, and was not held against more than the GPU of docs/gpu.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from node.gguf import Metadata
from node.hardware import Hardware
from node.kind import Kind
from node.model_config import ModelConfig
from node.sizes.footprint import estimate
from node.sizes.memory import MIB, Memory, text_of
from node.sizes.shape import Tensors, read_shape
from node.sizes.sizing import size

BITS = {"Q4_K_M": 4.85, "Q8_0": 8.5}
GPUS_GIB = (12, 16, 24, 48, 80, 141)
_RAM_GIB = 64
_FREE = 0.95  # of a GPU's memory: as the node plans


@dataclass(frozen=True)
class Model:
    """As its authors publish it. `head` is the width of one."""

    name: str
    architecture: str
    layers: int
    width: int
    inner: int
    heads: int
    kv_heads: int
    head: int
    words: int
    trained: int  # tokens of context
    tied: bool = False  # words in and out are one table
    window: int = 0

    @property
    def layer(self) -> int:
        """Weights of one layer: attention and a gated feed-forward."""
        return self.width * self.head * 2 * (self.heads + self.kv_heads) + 3 * self.width * self.inner

    @property
    def weights(self) -> int:
        return self.layers * self.layer + self.width * self.words * (1 if self.tied else 2)

    def metadata(self, bits: float) -> Metadata:
        """What the header of its GGUF would say."""
        table, layer = (int(count * bits / 8) for count in (self.width * self.words, self.layer))
        tensors = Tensors(
            total=int(self.weights * bits / 8),
            words=table,
            output=0 if self.tied else table,
            layers=(layer,) * self.layers,
        )
        fields = {
            "block_count": self.layers, "embedding_length": self.width, "feed_forward_length": self.inner,
            "attention.head_count": self.heads, "attention.head_count_kv": self.kv_heads,
            "attention.key_length": self.head, "attention.value_length": self.head, "vocab_size": self.words,
            "attention.sliding_window": self.window or None,
        }  # fmt: skip
        named = {f"{self.architecture}.{name}": value for name, value in fields.items() if value is not None}
        shape = read_shape(named, self.architecture, tensors)
        kept = self.layers * self.kv_heads * self.head * 2 * 2
        return Metadata(self.architecture, self.name, None, self.trained, self.layers, kept, None, shape=shape)


MODELS = (
    Model("Llama 3.2 3B", "llama", 28, 3072, 8192, 24, 8, 128, 128_256, 131_072, tied=True),
    Model("Llama 3.1 8B", "llama", 32, 4096, 14_336, 32, 8, 128, 128_256, 131_072),
    Model("Qwen3 8B", "qwen3", 36, 4096, 12_288, 32, 8, 128, 151_936, 40_960),
    Model("Gemma 3 12B", "gemma3", 48, 3840, 15_360, 16, 8, 256, 262_208, 131_072, tied=True, window=1024),
    Model("Qwen3 14B", "qwen3", 40, 5120, 17_408, 40, 8, 128, 151_936, 40_960),
    Model("Qwen3 32B", "qwen3", 64, 5120, 25_600, 64, 8, 128, 151_936, 40_960),
    Model("Llama 3.3 70B", "llama", 80, 8192, 28_672, 64, 8, 128, 128_256, 131_072),
)


@dataclass(frozen=True)
class Row:
    """What a node would choose for a model on one GPU, or that it does not fit."""

    model: str
    stored: str
    weights_bytes: int
    gpu_gib: int
    context: int
    parallel: int
    taken: Memory
    fits: bool


def rows(models: Sequence[Model] = MODELS, gpus_gib: Sequence[int] = GPUS_GIB) -> Iterator[Row]:
    """One for each model, quantisation and GPU; RAM is as that of a machine with 64 GiB."""
    for model in models:
        for stored, bits in BITS.items():
            for gib in gpus_gib:
                yield _row(model, stored, bits, gib)


def _row(model: Model, stored: str, bits: float, gib: int) -> Row:
    metadata, weights = model.metadata(bits), int(model.weights * bits / 8)
    room = Memory(_RAM_GIB * 1024 * MIB, int(gib * 1024 * MIB * _FREE))
    hardware = Hardware(8, room.ram, "GPU", room.vram // MIB, room.vram)
    sizing = size(ModelConfig(), metadata, Kind.CHAT, weights, hardware)
    taken = estimate(metadata, sizing, weights, on_gpu=True)
    return Row(model.name, stored, weights, gib, sizing.context, sizing.parallel, taken, taken.fits(room))


def table(found: Sequence[Row]) -> str:
    """In Markdown: a line for each model as it is stored, a column for each GPU."""
    gpus = sorted({row.gpu_gib for row in found})
    lines = [
        "| model | stored | weights | RAM | " + " | ".join(f"{gib} GiB" for gib in gpus) + " |",
        "|---|---|---|---|" + "---|" * len(gpus),
    ]
    for name, stored in dict.fromkeys((row.model, row.stored) for row in found):
        mine = [row for row in found if (row.model, row.stored) == (name, stored)]
        if any(row.fits for row in mine):
            ram = text_of(max(row.taken.ram for row in mine if row.fits))
            cells = " | ".join(_cell(row) for row in mine)
            lines.append(f"| {name} | {stored} | {text_of(mine[0].weights_bytes)} | {ram} | {cells} |")
    return "\n".join(lines)


def _cell(row: Row) -> str:
    return f"{row.parallel} x {row.context:,}: {text_of(row.taken.vram)}" if row.fits else "-"


if __name__ == "__main__":
    print(table(list(rows())))
