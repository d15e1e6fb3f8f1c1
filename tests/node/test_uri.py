"""Where a model is: a file, or an engine that runs elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.uri import EngineUri, WeightsUri, parse_uri, split_model


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("openai+http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("openai+http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
        ("openai+http://127.0.0.1:8000/v1", "http://127.0.0.1:8000"),
        ("openai+http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000"),
        ("openai+https://vllm.example", "https://vllm.example"),
        ("openai+http://vllm_1:80", "http://vllm_1:80"),
        ("openai+http://[::1]:65535/v1", "http://[::1]:65535"),
    ],
)
def test_an_engine_s_url_has_no_path(text: str, url: str) -> None:
    assert parse_uri(text) == EngineUri(url)


@pytest.mark.parametrize(
    "text",
    [
        "openai+ftp://h", "openai+http://", "openai+http://:80", "openai+http://u:p@h", "openai+http://u@h:80",
        "openai+http://h:0", "openai+http://h:65536", "openai+http://h:x", "openai+http://h:", "openai+http://a..b",
        "openai+http://a b", "openai+http://[::1", "openai+http://h\n", "openai+http://é", f"openai+http://{'a' * 64}",
        "openai+127.0.0.1:80", "openai+",
    ],
)  # fmt: skip
def test_what_names_no_engine_is_refused_with_the_fix(text: str) -> None:
    with pytest.raises(ValueError, match="names no engine; write openai\\+http://HOST:PORT"):
        parse_uri(text)


@pytest.mark.parametrize("rest", ["/v2", "/v1/chat", "?x=1", "/v1?x=1", "#f", "/v1#sha256=" + "0" * 64])
def test_a_path_is_refused_with_the_url_that_is_meant(rest: str) -> None:
    with pytest.raises(ValueError, match="write openai\\+http://h:8000, without path, query or fragment"):
        parse_uri(f"openai+http://h:8000{rest}")


def test_anything_else_is_a_path() -> None:
    assert parse_uri("/w/a.gguf") == WeightsUri(Path("/w/a.gguf"))
    assert parse_uri("~/a.gguf#sha256=" + "0" * 64) == WeightsUri(Path("~/a.gguf").expanduser(), "0" * 64)
    assert split_model("a=openai+http://h:1/v1") == ("a", "openai+http://h:1/v1")
    with pytest.raises(ValueError, match="openai: is not known; give the path of a model's file or folder"):
        parse_uri("openai:h")
