"""Writes GGUFs of RANDOM weights in any size, for what depends on sizes alone: memory. They speak nonsense.

The vocabulary is the demo's, since llama-server does not load a model without one. Not here: models that make sense
(scripts).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter
from gguf.quants import quantize

SEED = 20_250_102
_KEPT = ("tokenizer.ggml.", "tokenizer.chat_template")
Shapes = Iterator[tuple[str, tuple[int, ...]]]


@dataclass(frozen=True)
class Size:
    """Of a transformer; `window` makes it gemma3, five of whose six layers look no further back than that."""

    layers: int = 4
    width: int = 256
    inner: int = 704
    heads: int = 4
    kv_heads: int = 2
    head_width: int = 64
    context: int = 8192
    window: int | None = None
    tied: bool = True
    stored: GGMLQuantizationType = GGMLQuantizationType.F16

    @property
    def architecture(self) -> str:
        return "gemma3" if self.window else "llama"


def write_transformer(path: Path, vocabulary: Path, size: Size) -> Path:
    """`vocabulary` is a GGUF whose tokens are taken over."""
    writer = GGUFWriter(path, size.architecture)
    _describe(writer, size)
    words = _copy_vocabulary(writer, vocabulary)
    _add(writer, _transformer(size, words), size.stored)
    return path


def write_mamba(path: Path, vocabulary: Path, layers: int, width: int, state: int = 16) -> Path:
    """A state-space model, which keeps the same for a request however long it is."""
    inner, kernel, rank = 2 * width, 4, width // 16
    writer = GGUFWriter(path, "mamba")
    writer.add_context_length(1_048_576)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(layers)
    writer.add_ssm_conv_kernel(kernel)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(rank)
    writer.add_layer_norm_rms_eps(1e-5)
    words = _copy_vocabulary(writer, vocabulary)
    _add(writer, _mamba(words, layers, width, inner, kernel, rank, state), GGMLQuantizationType.F16)
    return path


def _describe(writer: GGUFWriter, size: Size) -> None:
    writer.add_context_length(size.context)
    writer.add_embedding_length(size.width)
    writer.add_feed_forward_length(size.inner)
    writer.add_block_count(size.layers)
    writer.add_head_count(size.heads)
    writer.add_head_count_kv(size.kv_heads)
    writer.add_key_length(size.head_width)
    writer.add_value_length(size.head_width)
    writer.add_layer_norm_rms_eps(1e-5)
    if size.window:
        writer.add_sliding_window(size.window)


def _copy_vocabulary(writer: GGUFWriter, source: Path) -> int:
    """How many words there are."""
    words = 0
    for name, field in GGUFReader(source).fields.items():
        if not name.startswith(_KEPT):
            continue
        value: Any = field.contents()
        writer.add_key_value(name, value, field.types[0], sub_type=field.types[-1] if len(field.types) > 1 else None)
        if name == "tokenizer.ggml.tokens":
            assert field.types[0] is GGUFValueType.ARRAY
            words = len(value)
    return words


def _transformer(size: Size, words: int) -> Shapes:
    gemma = size.window is not None
    yield "token_embd.weight", (words, size.width)
    yield "output_norm.weight", (size.width,)
    if not size.tied:
        yield "output.weight", (words, size.width)
    for layer in range(size.layers):
        at = f"blk.{layer}"
        for name in ("attn_norm", "ffn_norm", *(("post_attention_norm", "post_ffw_norm") if gemma else ())):
            yield f"{at}.{name}.weight", (size.width,)
        for name in ("attn_q_norm", "attn_k_norm") if gemma else ():
            yield f"{at}.{name}.weight", (size.head_width,)
        yield f"{at}.attn_q.weight", (size.heads * size.head_width, size.width)
        yield f"{at}.attn_k.weight", (size.kv_heads * size.head_width, size.width)
        yield f"{at}.attn_v.weight", (size.kv_heads * size.head_width, size.width)
        yield f"{at}.attn_output.weight", (size.width, size.heads * size.head_width)
        yield f"{at}.ffn_gate.weight", (size.inner, size.width)
        yield f"{at}.ffn_up.weight", (size.inner, size.width)
        yield f"{at}.ffn_down.weight", (size.width, size.inner)


def _mamba(words: int, layers: int, width: int, inner: int, kernel: int, rank: int, state: int) -> Shapes:
    yield "token_embd.weight", (words, width)
    yield "output_norm.weight", (width,)
    for layer in range(layers):
        at = f"blk.{layer}"
        yield f"{at}.attn_norm.weight", (width,)
        yield f"{at}.ssm_in.weight", (2 * inner, width)
        yield f"{at}.ssm_conv1d.weight", (inner, kernel)
        yield f"{at}.ssm_conv1d.bias", (inner,)
        yield f"{at}.ssm_x.weight", (rank + 2 * state, inner)
        yield f"{at}.ssm_dt.weight", (inner, rank)
        yield f"{at}.ssm_dt.bias", (inner,)
        yield f"{at}.ssm_a", (inner, state)
        yield f"{at}.ssm_d", (inner,)
        yield f"{at}.ssm_out.weight", (width, inner)


def _add(writer: GGUFWriter, shapes: Shapes, stored: GGMLQuantizationType) -> None:
    random = np.random.Generator(np.random.PCG64(SEED))
    for name, shape in shapes:
        exact = len(shape) == 1 or "ssm_conv1d" in name or name.endswith("ssm_a")
        if exact:
            writer.add_tensor(name, np.full(shape, 0 if name.endswith("bias") else 1, np.float32))
            continue
        row = (random.random((1, shape[1]), np.float32) * 2 - 1) * np.float32(np.sqrt(3 / shape[1]))
        values = np.repeat(quantize(row, stored), shape[0], axis=0)  # rows alike: quick to make, as large as others
        writer.add_tensor(name, values, raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
