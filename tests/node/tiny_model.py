"""A model small enough to be written by a test: a whole llama of random weights, or one with something wrong in it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from gguf import GGUFWriter, TokenType

SEED = 20_250_101
WIDTH, HEADS, INNER, LAYERS, CONTEXT = 64, 4, 128, 2, 4096
_BYTE_TOKENS = 256
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def write_model(
    path: Path,
    *,
    architecture: str = "llama",
    template: str = CHATML,
    without: Collection[str] = (),
    width: int = WIDTH,
    claimed_width: int | None = None,
) -> Path:
    """`without` names tensors that are left out; with `claimed_width` the header says another one than tensors have."""
    writer = GGUFWriter(path, architecture)
    writer.add_name("Tiny")
    writer.add_context_length(CONTEXT)
    writer.add_block_count(LAYERS)
    writer.add_embedding_length(claimed_width or width)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count((claimed_width or width) // HEADS)
    writer.add_chat_template(template)
    words = _add_vocabulary(writer)
    random = np.random.default_rng(SEED)
    for name, shape in _tensors(words, width):
        if name in without:
            continue
        ones = name.endswith("norm.weight")
        values = np.ones(shape) if ones else random.standard_normal(shape) / np.sqrt(shape[-1])
        writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_vocabulary(writer: GGUFWriter) -> int:
    """Bytes alone, and what a vocabulary must have. Returns how many."""
    special = [("<unk>", TokenType.UNKNOWN), ("<s>", TokenType.CONTROL), ("</s>", TokenType.CONTROL)]
    tokens = [*special, *((f"<0x{byte:02X}>", TokenType.BYTE) for byte in range(_BYTE_TOKENS)), ("▁", TokenType.NORMAL)]
    writer.add_tokenizer_model("llama")
    writer.add_token_list([text for text, _ in tokens])
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([kind for _, kind in tokens])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    return len(tokens)


def _tensors(words: int, width: int) -> list[tuple[str, tuple[int, ...]]]:
    found: list[tuple[str, tuple[int, ...]]] = [("token_embd.weight", (words, width)), ("output_norm.weight", (width,))]
    found.append(("output.weight", (words, width)))
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        found += [(f"{block}.attn_norm.weight", (width,)), (f"{block}.ffn_norm.weight", (width,))]
        found += [(f"{block}.attn_{part}.weight", (width, width)) for part in ("q", "k", "v", "output")]
        found += [(f"{block}.ffn_{part}.weight", (INNER, width)) for part in ("gate", "up")]
        found.append((f"{block}.ffn_down.weight", (width, INNER)))
    return found
