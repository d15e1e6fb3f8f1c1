"""Writes the demo's image model: RANDOM weights, so that what it paints is noise. It shows that pictures are made.

Of the architectures that sd-server reads, ERNIE-Image takes all its sizes from the file, so it can be this small: one
layer in the text encoder and one in the diffusion model. What is fixed is the number of the tokenizer's words, and
the encoder of the autoencoder, which makes most of the file. Other words, other pictures: the prompt counts. The same
file each time. Not here: how it is served.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from model_files import keep
from numpy.typing import NDArray

NAME = "demo-image.safetensors"
SEED = 20_250_101
WORDS = 131_072  # of the tokenizer inside sd-server
TEXT, HEADS, KV_HEADS, HEAD = 32, 32, 8, 128  # the heads are fixed
HIDDEN = 128  # one head
LATENT = 32
ENCODER, DECODER = 128, 32  # channels; the encoder's are fixed, the decoder's groups are 32
STEPS = (1, 2, 4, 4)  # each level of the autoencoder has so many times the channels

Shape = tuple[int, ...]
Named = Iterator[tuple[str, Shape]]


def main() -> int:
    """Make the file if it is not in the cache, link to it, and print the link's path."""
    print(keep(NAME, (Path(__file__),), write))
    return 0


def write(target: Path) -> None:
    """Safetensors: a length, a JSON table of contents, then the numbers one after the other."""
    shapes = {**dict(_text_encoder()), **dict(_diffusion()), **dict(_autoencoder())}
    contents: dict[str, object] = {
        "__metadata__": {"license": "CC0-1.0", "description": "random weights: paints noise"}
    }
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + _kind(shape).itemsize * int(np.prod(shape))
        dtype = "F16" if len(shape) > 1 else "F32"
        contents[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    head = json.dumps(contents).encode()
    head += b" " * (-len(head) % 8)
    random = np.random.Generator(np.random.PCG64(SEED))
    with target.open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        for name, shape in shapes.items():
            file.write(_values(random, name, shape).tobytes())


def _kind(shape: Shape) -> np.dtype[np.floating]:
    return np.dtype("<f2") if len(shape) > 1 else np.dtype("<f4")


def _values(random: np.random.Generator, name: str, shape: Shape) -> NDArray[np.floating]:
    """What leaves a layer has about the spread of what enters it; norms and biases do nothing."""
    if len(shape) == 1:
        return np.full(shape, 0 if name.endswith("bias") else 1, _kind(shape))
    summed = 1 if "embed_tokens" in name else int(np.prod(shape[1:]))
    spread = np.float32(np.sqrt(3 / summed))
    return ((random.random(shape, np.float32) * 2 - 1) * spread).astype(_kind(shape))


def _text_encoder() -> Named:
    at = "text_encoders.llm.model"
    yield f"{at}.embed_tokens.weight", (WORDS, TEXT)
    yield f"{at}.norm.weight", (TEXT,)
    layer = f"{at}.layers.0"
    yield f"{layer}.input_layernorm.weight", (TEXT,)
    yield f"{layer}.post_attention_layernorm.weight", (TEXT,)
    for part, size in (("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)):
        yield f"{layer}.self_attn.{part}_proj.weight", (size * HEAD, TEXT)
    yield f"{layer}.self_attn.o_proj.weight", (TEXT, HEADS * HEAD)
    yield from _gated(f"{layer}.mlp", TEXT, ("gate_proj", "up_proj", "down_proj"))


def _diffusion() -> Named:
    at = "model.diffusion_model"
    # Names are read in their order, and the number of heads is worked out from the width known by then: so the width
    # comes first, under a name whose weights are passed over.
    yield f"{at}.__x0__.x_embedder.proj.weight", (HIDDEN, 4 * LATENT, 1, 1)
    yield from _conv(f"{at}.x_embedder.proj", 4 * LATENT, HIDDEN, 1)
    yield f"{at}.text_proj.weight", (HIDDEN, TEXT)
    for part, size in (
        ("time_embedding.linear_1", HIDDEN), ("time_embedding.linear_2", HIDDEN), ("adaLN_modulation.1", 6 * HIDDEN),
        ("final_norm.linear", 2 * HIDDEN), ("final_linear", 4 * LATENT),
    ):  # fmt: skip
        yield f"{at}.{part}.weight", (size, HIDDEN)
        yield f"{at}.{part}.bias", (size,)
    layer = f"{at}.layers.0"
    yield f"{layer}.adaLN_sa_ln.weight", (HIDDEN,)
    yield f"{layer}.adaLN_mlp_ln.weight", (HIDDEN,)
    for part in ("to_q", "to_k", "to_v", "to_out.0"):
        yield f"{layer}.self_attention.{part}.weight", (HIDDEN, HIDDEN)
    for part in ("norm_q", "norm_k"):
        yield f"{layer}.self_attention.{part}.weight", (HEAD,)
    yield from _gated(f"{layer}.mlp", HIDDEN, ("gate_proj", "up_proj", "linear_fc2"))


def _gated(at: str, size: int, names: tuple[str, str, str]) -> Named:
    gate, up, down = names
    yield f"{at}.{gate}.weight", (2 * size, size)
    yield f"{at}.{up}.weight", (2 * size, size)
    yield f"{at}.{down}.weight", (size, 2 * size)


def _autoencoder() -> Named:
    at = "first_stage_model"
    yield from _conv(f"{at}.quant_conv", 2 * LATENT, 2 * LATENT, 1)
    yield from _conv(f"{at}.post_quant_conv", LATENT, LATENT, 1)
    yield from _conv(f"{at}.encoder.conv_in", 3, ENCODER)
    width = ENCODER
    for level, times in enumerate(STEPS):
        for block in range(2):
            yield from _block(f"{at}.encoder.down.{level}.block.{block}", width, times * ENCODER)
            width = times * ENCODER
        if level < len(STEPS) - 1:
            yield from _conv(f"{at}.encoder.down.{level}.downsample.conv", width, width)
    yield from _middle_and_end(f"{at}.encoder", width, width, 2 * LATENT)
    width = STEPS[-1] * DECODER
    yield from _conv(f"{at}.decoder.conv_in", LATENT, width)
    yield from _middle_and_end(f"{at}.decoder", width, DECODER, 3)
    for level in reversed(range(len(STEPS))):
        for block in range(3):
            yield from _block(f"{at}.decoder.up.{level}.block.{block}", width, STEPS[level] * DECODER)
            width = STEPS[level] * DECODER
        if level:
            yield from _conv(f"{at}.decoder.up.{level}.upsample.conv", width, width)


def _middle_and_end(at: str, middle: int, last: int, out: int) -> Named:
    yield from _block(f"{at}.mid.block_1", middle, middle)
    yield from _norm(f"{at}.mid.attn_1.norm", middle)
    for part in ("q", "k", "v", "proj_out"):
        yield from _conv(f"{at}.mid.attn_1.{part}", middle, middle, 1)
    yield from _block(f"{at}.mid.block_2", middle, middle)
    yield from _norm(f"{at}.norm_out", last)
    yield from _conv(f"{at}.conv_out", last, out)


def _block(at: str, wide: int, out: int) -> Named:
    yield from _norm(f"{at}.norm1", wide)
    yield from _conv(f"{at}.conv1", wide, out)
    yield from _norm(f"{at}.norm2", out)
    yield from _conv(f"{at}.conv2", out, out)
    if wide != out:
        yield from _conv(f"{at}.nin_shortcut", wide, out, 1)


def _norm(at: str, size: int) -> Named:
    yield f"{at}.weight", (size,)
    yield f"{at}.bias", (size,)


def _conv(at: str, wide: int, out: int, side: int = 3) -> Named:
    yield f"{at}.weight", (out, wide, side, side)
    yield f"{at}.bias", (out,)


if __name__ == "__main__":
    sys.exit(main())
