"""What a model is for: told by its files or by its settings, and which endpoints follow from that.

Not here: which flags of an engine say so (engines).
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Literal

from node.gguf import Metadata, Pooling
from relay.endpoints import (
    CHAT,
    COMPLETIONS,
    EDITS,
    EMBEDDINGS,
    IMAGES,
    MESSAGES,
    PROXY,
    RERANK,
    RESPONSES,
    SPEECH,
    TRANSCRIPTIONS,
    TRANSLATIONS,
)

Wish = Literal["auto", "chat", "embedding", "rerank", "image", "speech", "transcription"]


class Kind(StrEnum):
    """What can be asked of a model."""

    CHAT = "chat"
    EMBEDDING = "embedding"
    RERANK = "rerank"
    IMAGE = "image"
    SPEECH = "speech"
    TRANSCRIPTION = "transcription"

    @property
    def endpoints(self) -> tuple[str, ...]:
        """As offers name them."""
        return _ENDPOINTS[self]


_ENDPOINTS = {
    Kind.CHAT: (CHAT.name, COMPLETIONS.name, MESSAGES.name, PROXY, RESPONSES.name),
    Kind.EMBEDDING: (EMBEDDINGS.name, PROXY, RERANK.name),
    Kind.RERANK: (PROXY, RERANK.name),
    Kind.IMAGE: (EDITS.name, IMAGES.name),
    Kind.SPEECH: (SPEECH.name,),
    Kind.TRANSCRIPTION: (TRANSCRIPTIONS.name, TRANSLATIONS.name),
}
_OF_SUFFIX = {".onnx": Kind.SPEECH, ".safetensors": Kind.IMAGE, ".ckpt": Kind.IMAGE}


class KindError(Exception):
    """A model that cannot be served as what it is or was asked to be; one line with the fix."""


def kind_of(wish: Wish, metadata: Metadata) -> Kind:
    """Of a GGUF: as was asked for, else as it says. Raises KindError."""
    if wish == "chat" and metadata.is_encoder:
        raise KindError(f"its GGUF is an encoder ({metadata.architecture}), which writes no text; drop kind = 'chat'")
    if wish in ("speech", "transcription"):
        raise KindError(f"a GGUF cannot be served with kind = {wish!r}; drop it, or give another model")
    if wish != "auto":
        return Kind(wish)
    if metadata.pooling is Pooling.RANK:
        return Kind.RERANK
    pooled = metadata.pooling not in (None, Pooling.NONE)
    return Kind.EMBEDDING if pooled or metadata.is_encoder else Kind.CHAT


def kind_of_files(wish: Wish, path: Path) -> Kind:
    """Of anything else, as it looks. Raises KindError."""
    told = Kind.TRANSCRIPTION if path.is_dir() else _OF_SUFFIX[path.suffix]
    if wish not in ("auto", told):
        raise KindError(
            f"{path.name} looks like {told.value}, not {wish} as kind asks; drop kind, or give another model"
        )
    return told


def pooling_of(metadata: Metadata) -> Pooling:
    """How the vectors of an input's tokens become one: as the GGUF says, else as is usual for what it is."""
    if metadata.pooling in (Pooling.MEAN, Pooling.CLS, Pooling.LAST):
        return metadata.pooling
    return Pooling.MEAN if metadata.is_encoder else Pooling.LAST
