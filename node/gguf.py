"""What a GGUF file says of itself: read from its header alone, and checked to be whole.

The package `gguf` reads headers too, but takes 20 s and 1.4 GB for a vocabulary of 256,000 words, since it makes arrays
of every one; here they are stepped over. Its tables of types are used. Not here: digests, and where files come from.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_KEPT_ARRAY = 4096  # longer ones are vocabularies
_MOST_FIELDS = 65_536
_MOST_TENSORS = 1_000_000
_MOST_DIMENSIONS = 8
_DEFAULT_ALIGNMENT = 32


class Pooling(Enum):
    """How the vectors of an input's tokens become one; the numbers are llama.cpp's. RANK is a reranker's score."""

    NONE = 0
    MEAN = 1
    CLS = 2
    LAST = 3
    RANK = 4


# Architectures that read a text as a whole and write none: no key-value cache, and an input fits one batch or not.
_ENCODERS = frozenset(
    ("bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2", "jina-bert-v3", "eurobert",
     "t5encoder", "gemma-embedding", "llama-embed")
)  # fmt: skip


class GgufError(Exception):
    """A file that is no whole GGUF; the text says why, without the file's name."""


@dataclass(frozen=True)
class Metadata:
    """What serving needs to know. `kv_bytes` is what one token of context takes, in 16-bit floats."""

    architecture: str
    name: str | None
    quantization: str | None
    context_length: int | None
    block_count: int | None
    kv_bytes: int | None
    chat_template: str | None
    parts: int = 1
    pooling: Pooling | None = None

    @property
    def is_encoder(self) -> bool:
        return self.architecture in _ENCODERS


def read_metadata(path: Path) -> Metadata:
    """Read the header of the file. Raises GgufError, and OSError where it cannot be read. Blocks for some 0.1 s."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if size < 24:
            raise GgufError(f"it has {size} bytes; this is no GGUF file")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data[:4] != _MAGIC:
                raise GgufError("it does not begin with GGUF; give a model in GGUF format")
            try:
                return _read(_Cursor(data), size)
            except (struct.error, IndexError, UnicodeDecodeError, KeyError) as error:
                raise GgufError("its header breaks off; the file is truncated or damaged") from error


class _Cursor:
    """A position in the header."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.at = 4

    def take(self, code: str) -> Any:
        (value,) = struct.unpack_from("<" + code, self._data, self.at)
        self.at += struct.calcsize("<" + code)
        return value

    def text(self) -> str:
        length = self.take("Q")
        end = self.at + length
        if end > len(self._data):
            raise IndexError
        raw = self._data[self.at : end]
        self.at = end
        return raw.decode("utf-8", errors="replace")

    def skip_texts(self, count: int) -> None:
        """Step over `count` strings: a vocabulary, so the names are hoisted out of the loop."""
        unpack, data, at, end = struct.Struct("<Q").unpack_from, self._data, self.at, len(self._data)
        for _ in range(count):
            at += 8 + unpack(data, at)[0]
            if at > end:
                raise IndexError
        self.at = at

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            return self._array()
        return self.take(_SCALARS[kind])

    def _array(self) -> list[Any] | None:
        kind, count = self.take("I"), self.take("Q")
        if kind == _STRING:
            self.skip_texts(count)
            return None
        if kind == _ARRAY or count > _KEPT_ARRAY:
            self.at += count * struct.calcsize("<" + _SCALARS[kind])  # KeyError for arrays of arrays: no model has one
            return None
        return [self.take(_SCALARS[kind]) for _ in range(count)]


def _read(cursor: _Cursor, size: int) -> Metadata:
    version = cursor.take("I")
    if version not in _VERSIONS:
        raise GgufError(f"it is GGUF version {version}; versions 2 and 3 in little-endian order can be served")
    tensors, fields = cursor.take("Q"), cursor.take("Q")
    if tensors > _MOST_TENSORS or fields > _MOST_FIELDS:
        raise GgufError("its header is damaged: it claims an absurd number of entries")
    found: dict[str, Any] = {}
    for _ in range(fields):
        key = cursor.text()
        found[key] = cursor.value(cursor.take("I"))
    _check_whole(cursor, tensors, found.get("general.alignment", _DEFAULT_ALIGNMENT), size)
    return _describe(found)


def _check_whole(cursor: _Cursor, tensors: int, alignment: int, size: int) -> None:
    """Every tensor must end within the file."""
    if tensors == 0:
        raise GgufError("it holds a vocabulary and no weights; give the model itself")
    bytes_of = _tensor_bytes()
    ends = [0]
    for _ in range(tensors):
        cursor.text()
        dimensions = cursor.take("I")
        if dimensions > _MOST_DIMENSIONS:
            raise GgufError(f"its header is damaged: a tensor claims {dimensions} dimensions")
        shape = [cursor.take("Q") for _ in range(dimensions)]
        kind, offset = cursor.take("I"), cursor.take("Q")
        ends.append(offset + bytes_of(kind, shape))
    start = -(-cursor.at // alignment) * alignment
    if start + max(ends) > size:
        raise GgufError(f"it is truncated: {size} of {start + max(ends)} bytes are there; download it again")


def _tensor_bytes() -> Callable[[int, list[int]], int]:
    from gguf.constants import GGML_QUANT_SIZES  # here, since it brings numpy: 0.1 s

    sizes: Mapping[int, tuple[int, int]] = {int(kind): pair for kind, pair in GGML_QUANT_SIZES.items()}

    def count(kind: int, shape: list[int]) -> int:
        elements = 1
        for dimension in shape:
            elements *= dimension
        block, size = sizes.get(kind, (1, 0))  # a type that we do not know is left to the engine
        return elements // block * size

    return count


def _describe(found: Mapping[str, Any]) -> Metadata:
    architecture = found.get("general.architecture")
    if not isinstance(architecture, str):
        raise GgufError("it names no architecture (general.architecture), so no engine can load it")

    def number(key: str) -> int | None:
        value = found.get(f"{architecture}.{key}")
        return value if isinstance(value, int) and value > 0 else None

    return Metadata(
        architecture=architecture,
        name=found.get("general.name"),
        quantization=_quantization(found.get("general.file_type")),
        context_length=number("context_length"),
        block_count=number("block_count"),
        kv_bytes=_kv_bytes(found, architecture),
        chat_template=found.get("tokenizer.chat_template"),
        parts=found.get("split.count") or 1,
        pooling=_pooling(found.get(f"{architecture}.pooling_type")),
    )


def _pooling(number: object) -> Pooling | None:
    return next((pooling for pooling in Pooling if pooling.value == number), None)


def _quantization(file_type: int | None) -> str | None:
    """The usual name, such as Q4_K_M."""
    from gguf.constants import LlamaFileType

    try:
        name: str = LlamaFileType(file_type).name
    except ValueError:
        return None
    return None if name == "GUESSED" else name.removeprefix("MOSTLY_").removeprefix("ALL_")


def _kv_bytes(found: Mapping[str, Any], architecture: str) -> int | None:
    """Keys and values of all layers for one token, at two bytes a number. None where the file does not say."""

    def field(key: str) -> Any:
        return found.get(f"{architecture}.{key}")

    blocks, heads, width = field("block_count"), field("attention.head_count"), field("embedding_length")
    if isinstance(heads, list):
        heads = max(heads, default=0)
    if not blocks or not heads or not width:
        return None
    kv_heads = field("attention.head_count_kv") or heads
    all_heads = sum(kv_heads) if isinstance(kv_heads, list) else kv_heads * blocks
    key, value = field("attention.key_length") or width // heads, field("attention.value_length") or width // heads
    return int(all_heads * (key + value) * 2)
