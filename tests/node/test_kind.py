"""What a model is for: as its GGUF says, unless its settings say otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
from gguf import PoolingType

from node.gguf import Metadata, Pooling, read_metadata
from node.kind import Kind, KindError, kind_of, kind_of_files, pooling_of
from tests.stack import EMBEDDING_WEIGHTS


def _metadata(architecture: str, pooling: Pooling | None = None) -> Metadata:
    return Metadata(architecture, None, None, 512, 6, None, None, pooling=pooling)


@pytest.mark.parametrize(
    ("architecture", "pooling", "kind", "pooled"),
    [
        ("llama", None, Kind.CHAT, Pooling.LAST),
        ("llama", Pooling.NONE, Kind.CHAT, Pooling.LAST),
        ("qwen3", Pooling.LAST, Kind.EMBEDDING, Pooling.LAST),
        ("bert", Pooling.MEAN, Kind.EMBEDDING, Pooling.MEAN),
        ("bert", Pooling.CLS, Kind.EMBEDDING, Pooling.CLS),
        ("nomic-bert", None, Kind.EMBEDDING, Pooling.MEAN),
        ("bert", Pooling.RANK, Kind.RERANK, Pooling.MEAN),
    ],
)
def test_the_gguf_says_what_it_is(architecture: str, pooling: Pooling | None, kind: Kind, pooled: Pooling) -> None:
    metadata = _metadata(architecture, pooling)
    assert kind_of("auto", metadata) is kind
    assert pooling_of(metadata) is pooled


def test_settings_win() -> None:
    assert kind_of("embedding", _metadata("llama")) is Kind.EMBEDDING
    assert kind_of("chat", _metadata("qwen3", Pooling.LAST)) is Kind.CHAT


def test_what_cannot_be_served_so_is_refused_with_the_fix() -> None:
    with pytest.raises(KindError, match="drop kind = 'chat'"):
        kind_of("chat", _metadata("bert", Pooling.MEAN))
    with pytest.raises(KindError, match="give another model"):
        kind_of("speech", _metadata("llama"))
    with pytest.raises(KindError, match="looks like speech"):
        kind_of_files("image", Path("voice.onnx"))


def test_every_pooling_of_llama_cpp_is_known() -> None:
    assert {pooling.name: pooling.value for pooling in Pooling} == {kind.name: kind.value for kind in PoolingType}


def test_the_header_of_a_file_says_how_it_pools() -> None:
    metadata = read_metadata(EMBEDDING_WEIGHTS)
    assert (metadata.architecture, metadata.pooling, metadata.context_length) == ("bert", Pooling.MEAN, 512)


def test_endpoints_follow() -> None:
    assert Kind.CHAT.endpoints == ("chat.completions", "completions", "messages", "proxy", "responses")
    assert Kind.EMBEDDING.endpoints == ("embeddings", "proxy", "rerank")
    assert Kind.RERANK.endpoints == ("proxy", "rerank")
