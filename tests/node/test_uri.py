"""Where a model is: a file here, one to be fetched, or an engine that runs elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from node.uri import EngineUri, HubFile, RemoteUri, WeightsUri, parse_uri, split_model


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


HASH = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "scheme", "location", "names"),
    [
        ("hf://o/r/m.gguf", "hf", "o/r/m.gguf", ("m.gguf",)),
        ("hf://o/r@v1.0/deep/er/m.gguf", "hf", "o/r@v1.0/deep/er/m.gguf", ("m.gguf",)),
        ("HTTPS://h/m.safetensors", "https", "h/m.safetensors", ("m.safetensors",)),
        ("https://h:8443/a%20b/m%2B.gguf?key=a/b.c", "https", "h:8443/a%20b/m%2B.gguf?key=a/b.c", ("m+.gguf",)),
        ("http://127.0.0.1:1/m.ckpt", "http", "127.0.0.1:1/m.ckpt", ("m.ckpt",)),
        ("https://[::1]/v.onnx", "https", "[::1]/v.onnx", ("v.onnx", "v.onnx.json")),
        (f"aleph://{HASH}", "aleph", HASH, (f"{HASH}.gguf",)),
        ("hf://o/r/m-00001-of-00002.gguf", "hf", "o/r/m-00001-of-00002.gguf",
         ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf")),
    ],
)  # fmt: skip
def test_what_is_to_be_fetched_is_a_remote_uri(text: str, scheme: str, location: str, names: tuple[str, ...]) -> None:
    found = parse_uri(text)
    assert isinstance(found, RemoteUri)
    assert (found.scheme, found.location, found.sha256, found.names) == (scheme, location, None, names)
    pinned = RemoteUri.parse(f"{text}#sha256={HASH}")
    assert pinned == RemoteUri(scheme, location, HASH) and pinned.source == found.source
    assert RemoteUri.parse(str(pinned)) == pinned
    assert split_model(f"a={text}") == ("a", text)


def test_a_revision_stands_after_the_repository() -> None:
    assert RemoteUri.parse("hf://o/r/d/m.gguf").hub == HubFile("o/r", None, "d/m.gguf")
    assert RemoteUri.parse("hf://o/r@refs%2Fpr%2F1/m.gguf").hub == HubFile("o/r", "refs/pr/1", "m.gguf")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hf://o/r", "is a whole repository; name its file: hf://o/r/FILE.gguf"),
        ("hf://o/r@v1", "is a whole repository; name its file"),
        ("hf://o", "is no file of a model; write hf://OWNER/REPO/FILE.gguf, @REVISION after REPO"),
        ("hf://datasets/o/r/m.gguf", "is no file of a model"),
        ("hf://o/r/m.gguf@v1", "must end in the name of one file"),
        ("hf://o/r/m.gguf?x", "is no file of a model"),
        ("hf://o/../m.gguf", "is no file of a model"),
        ("hf://o/r/../m.gguf", "no empty part, no . and no .."),
        ("hf://o/r//m.gguf", "no empty part"),
        ("hf:o/r/m.gguf", "is no URI of a file; give the path of a model's file or folder"),
        ("hf://", "is no URI of a file"),
        ("hf://o/r/a b.gguf", "is no URI of a file"),
        ("hf://o/r/m.bin", "must end in the name of one file, .gguf, .safetensors, .ckpt, .onnx; of other models"),
        ("https://h/", "must end in the name of one file"),
        ("https://h/.gguf", "must end in the name of one file"),
        ("https://h/..gguf", "cannot be a file's name here"),
        ("https://h/d%2F..%2F..%2Fetc.gguf", "cannot be a file's name here"),
        ("https://h/%0A.gguf", "cannot be a file's name here"),
        (f"https://h/{'m' * 200}.gguf", "cannot be a file's name here"),
        ("https://h/m-00002-of-00003.gguf", "one of several parts; give the one that ends in -00001-of-00003.gguf"),
        ("https://h/m-00001-of-99999.gguf", "one of several parts"),
        ("https:///m.gguf", "names no host; write https://HOST/FILE.gguf"),
        ("https://h:0/m.gguf", "names no host"),
        ("https://h:65536/m.gguf", "names no host"),
        ("https://u:hidden@h/m.gguf", "a URI with a user or a password would be shown in logs; leave them out"),
        ("https://hidden@h/m.gguf", "'https://h/m.gguf': a URI with a user"),
        ("https://h\n/m.gguf?hidden", "is no URI of a file"),
        ("https://h/m.txt?key=hidden", "must end in the name of one file"),
        ("aleph://abc", "write aleph:// and the 64 lower-case hex digits of a STORE message"),
        (f"aleph://{HASH.upper()}", "64 lower-case hex digits"),
        ("https://h/m.gguf?hidden#sha256=abc", "what follows # must be sha256= and 64 lower-case hex digits"),
        (f"https://h/m.gguf#{HASH}", "what follows # must be sha256="),
        ("ftp://h/m.gguf", "ftp: is not known; give the path of a model's file or folder"),
        ("s3://key:hidden@h/m.gguf?hidden", "'s3://h/m.gguf': s3: is not known"),
        ("openai+http://u:hidden@h", "'openai+http://h' names no engine"),
        ("openai+http://h/v2?hidden", "'openai+http://h/v2': write openai+http://h, without path"),
    ],
)  # fmt: skip
def test_what_cannot_be_fetched_is_refused_with_the_fix(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)) as refused:
        parse_uri(text)
    assert "hidden" not in str(refused.value)


def test_a_uri_is_shown_without_what_may_be_secret() -> None:
    assert RemoteUri.parse("https://h/m.gguf?key=hidden").shown == "https://h/m.gguf"
    assert RemoteUri.parse(f"hf://o/r@v1/m.gguf#sha256={HASH}").shown == "hf://o/r@v1/m.gguf"


@pytest.mark.parametrize(
    "text", ["https://u:hidden@h/m.gguf", "https://u:hidden@h/m.gguf?key=hidden", "openai+http://u:hidden@h"]
)
def test_a_forgotten_name_is_told_without_what_may_be_secret(text: str) -> None:
    with pytest.raises(ValueError, match=r"//h.* is not NAME=URI; give the path") as refused:
        split_model(text)
    assert "hidden" not in str(refused.value)
