"""What a model is for: told by its GGUF or by its settings, and which endpoints follow from that.

Not here: which flags of an engine say so (engines).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from node.gguf import Metadata, Pooling
from relay.call import CHAT, COMPLETIONS, EMBEDDINGS


class Kind(StrEnum):
    """What can be asked of a model."""

    CHAT = "chat"
    EMBEDDING = "embedding"

    @property
    def endpoints(self) -> tuple[str, ...]:
        """As offers name them, sorted."""
        return (EMBEDDINGS.name,) if self is Kind.EMBEDDING else (CHAT.name, COMPLETIONS.name)


class KindError(Exception):
    """A model that cannot be served as what it is or was asked to be; one line with the fix."""


def kind_of(wish: Literal["auto", "chat", "embedding"], metadata: Metadata) -> Kind:
    """As was asked for, else as the GGUF says. Raises KindError."""
    if wish == "chat" and metadata.is_encoder:
        raise KindError(f"its GGUF is an encoder ({metadata.architecture}), which writes no text; drop kind = 'chat'")
    if wish != "auto":
        return Kind(wish)
    if metadata.pooling is Pooling.RANK:
        raise KindError("its GGUF is a reranker, which this version does not serve; give another model")
    pooled = metadata.pooling not in (None, Pooling.NONE)
    return Kind.EMBEDDING if pooled or metadata.is_encoder else Kind.CHAT


def pooling_of(metadata: Metadata) -> Pooling:
    """How the vectors of an input's tokens become one: as the GGUF says, else as is usual for what it is."""
    if metadata.pooling in (Pooling.MEAN, Pooling.CLS, Pooling.LAST):
        return metadata.pooling
    return Pooling.MEAN if metadata.is_encoder else Pooling.LAST
