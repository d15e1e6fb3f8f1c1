"""What a GGUF file says of itself: read from its header alone, and checked to be whole.

The package `gguf` reads headers too, but takes 20 s and 1.4 GB for a vocabulary of 256,000 words, since it makes arrays
of every one; here they are stepped over. Its tables of types are used. Not here: digests, and where files come from.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from node.sizes.shape import MOST, Shape, Tensors, add_up, read_shape

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
    """What serving needs to know. `kv_bytes` is what one token of context takes, where all layers look at all of it."""

    architecture: str
    name: str | None
    quantization: str | None
    context_length: int | None
    block_count: int | None
    kv_bytes: int | None
    chat_template: str | None
    parts: int = 1
    pooling: Pooling | None = None
    shape: Shape = field(default_factory=Shape)

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

    def _array(self) -> list[Any] | int | None:
        """Of texts, how many there are; None of what is too long to be of use."""
        kind, count = self.take("I"), self.take("Q")
        if kind == _STRING:
            self.skip_texts(count)
            return int(count)
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
    return _describe(found, add_up(_check_whole(cursor, tensors, _alignment(found), size)))


def _alignment(found: Mapping[str, Any]) -> int:
    alignment = found.get("general.alignment", _DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment <= 0:
        raise GgufError(f"its header is damaged: general.alignment is {str(alignment)[:40]!r}")
    return alignment


def _check_whole(cursor: _Cursor, tensors: int, alignment: int, size: int) -> list[tuple[str, str | None, int]]:
    """Every tensor must end within the file. (name, its type's name, bytes) of each."""
    if tensors == 0:
        raise GgufError("it holds a vocabulary and no weights; give the model itself")
    bytes_of = _tensor_bytes()
    ends = [0]
    read: list[tuple[str, str | None, int]] = []
    for _ in range(tensors):
        name = cursor.text()
        dimensions = cursor.take("I")
        if dimensions > _MOST_DIMENSIONS:
            raise GgufError(f"its header is damaged: a tensor claims {dimensions} dimensions")
        shape = [cursor.take("Q") for _ in range(dimensions)]
        kind, offset = cursor.take("I"), cursor.take("Q")
        type_name, length = bytes_of(kind, shape)
        read.append((name, type_name, length))
        ends.append(offset + length)
    start = -(-cursor.at // alignment) * alignment
    if start + max(ends) > size:
        raise GgufError(f"it is truncated: {size} of {start + max(ends)} bytes are there; download it again")
    return read


def _tensor_bytes() -> Callable[[int, list[int]], tuple[str | None, int]]:
    from gguf.constants import GGML_QUANT_SIZES  # here, since it brings numpy: 0.1 s

    sizes: Mapping[int, tuple[int, int]] = {int(kind): pair for kind, pair in GGML_QUANT_SIZES.items()}
    names: Mapping[int, str] = {int(kind): kind.name for kind in GGML_QUANT_SIZES}

    def count(kind: int, shape: list[int]) -> tuple[str | None, int]:
        elements = 1
        for dimension in shape:
            elements *= dimension
        block, size = sizes.get(kind, (1, 0))  # a type that we do not know is left to the engine
        return names.get(kind), elements // block * size

    return count


def _describe(found: Mapping[str, Any], tensors: Tensors) -> Metadata:
    architecture = _text(found, "general.architecture")
    if architecture is None:
        raise GgufError("it names no architecture (general.architecture), so no engine can load it")
    shape = read_shape(found, architecture, tensors)
    return Metadata(
        architecture=architecture,
        name=_text(found, "general.name"),
        quantization=_quantization(found.get("general.file_type")),
        context_length=_count(found, f"{architecture}.context_length"),
        block_count=_count(found, f"{architecture}.block_count"),
        kv_bytes=None if shape.kept is None else shape.kept + shape.windowed or None,
        chat_template=_text(found, "tokenizer.chat_template"),
        parts=_count(found, "split.count") or 1,
        pooling=_pooling(found.get(f"{architecture}.pooling_type")),
        shape=shape,
    )


def _text(found: Mapping[str, Any], key: str) -> str | None:
    value = found.get(key)
    return value if isinstance(value, str) else None


def _count(found: Mapping[str, Any], key: str) -> int | None:
    value = found.get(key)
    return value if isinstance(value, int) and 0 < value <= MOST else None


def _pooling(number: object) -> Pooling | None:
    return next((pooling for pooling in Pooling if pooling.value == number), None)


def _quantization(file_type: object) -> str | None:
    """The usual name, such as Q4_K_M."""
    from gguf.constants import LlamaFileType

    try:
        name: str = LlamaFileType(file_type).name
    except ValueError:
        return None
    return None if name == "GUESSED" else name.removeprefix("MOSTLY_").removeprefix("ALL_")
