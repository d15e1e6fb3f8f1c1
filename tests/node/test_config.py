"""Options are checked before anything starts, and each refusal says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from node.config import NodeConfig
from node.engines.llama_flags import check_flags
from node.model_config import ModelConfig
from node.uri import WeightsUri

MODEL = {"model": ("m=/w.gguf",)}
KEY = "A" * 43


def test_models_come_from_options_and_from_the_file() -> None:
    config = NodeConfig(
        model=("a=/a.gguf", "b=/new.gguf"),
        models={"b": ModelConfig(uri="/old.gguf", parallel=2), "org/c:q4": ModelConfig(uri="c.gguf", aliases=("c",))},
    )
    served = config.served()
    assert {name: model.uri for name, model in served.items()} == {
        "a": "/a.gguf",
        "b": "/new.gguf",
        "org/c:q4": "c.gguf",
    }
    assert served["b"].parallel == 2


@pytest.mark.parametrize(
    ("options", "fix"),
    [
        ({}, "no model is named; give --model NAME=URI"),
        ({"model": ("m",)}, "is not NAME=URI"),
        ({"model": ("m=",)}, "is not NAME=URI"),
        ({"model": ("m m=/w.gguf",)}, "cannot name a model; use letters"),
        ({"model": ("m=/w.gguf", "m=/v.gguf")}, "names 'm' twice"),
        ({"model": ("m=aleph://abc",)}, "64 lower-case hex digits"),
        ({"model": ("m=openai+http://127.0.0.1:1/x",)}, "without path, query or fragment"),
        ({"model": ("m=s3://b/k",)}, "s3: is not known; give the path"),
        ({"model": ("m=/w.gguf#sha256=abc",)}, "64 lower-case hex digits"),
        ({"model": ("m=/w.gguf#md5=abc",)}, "must be sha256="),
        ({"models": {"m": {}}}, "has no uri, and no --model m=URI"),
        ({"models": {"m": {"uri": "/w", "aliases": ["n"]}, "n": {"uri": "/v"}}}, "alias 'n' of m is taken by n"),
        ({"models": {"m": {"uri": "/w", "template": "alpaca"}}}, "'auto', 'model' or 'chatml'"),
        ({"models": {"m": {"uri": "/w", "typo": 1}}}, "Extra inputs are not permitted"),
        ({**MODEL, "tls_certificate": "c.pem"}, "--tls-certificate needs --tls-key"),
        ({**MODEL, "tls_key": "t.key", "public_url": "http://h"}, "with --tls-key the node serves TLS; write https://"),
        ({**MODEL, "registry": ("sqlite:///r.db",), "public_url": "https://h"}, "--registry needs --access"),
        ({**MODEL, "listen": "0.0.0.0:1"}, "is reachable by others; give --access"),
        ({**MODEL, "listen": "8801"}, "is not HOST:PORT"),
        ({**MODEL, "access": ("anybody",)}, "write open, a gateway's key (43 characters), or keys:FILE"),
        ({**MODEL, "access": ("open", KEY)}, "open lets anybody call"),
        ({**MODEL, "public_url": "https://h/v1"}, "without path"),
        ({**MODEL, "price": ("0.05",)}, "write UNIT=AMOUNT"),
    ],
)
def test_a_wrong_option_is_refused_with_its_fix(options: dict[str, Any], fix: str) -> None:
    with pytest.raises(ValidationError) as refused:
        NodeConfig(**options)
    assert fix in str(refused.value)


def test_access_entries_that_mean_somebody() -> None:
    for access in (("open",), (KEY,), ("keys:/k",), (KEY, "keys:/k")):
        assert NodeConfig(model=("m=/w.gguf",), listen="0.0.0.0:1", access=access).access == access


def test_a_uri_is_a_path_and_perhaps_a_digest() -> None:
    assert WeightsUri.parse("w.gguf") == WeightsUri(Path("w.gguf"))
    assert WeightsUri.parse("/w.gguf#sha256=" + "a" * 64) == WeightsUri(Path("/w.gguf"), "a" * 64)


@pytest.mark.parametrize(
    "flag",
    ["--host", "--port", "-m", "--api-key", "--alias", "--slots", "--props", "--tools", "--agent", "--media-path",
     "--mcp-servers-config", "--ui-mcp-proxy", "--mmproj", "--api_key", "--ctx-size=5", "--chat_template", "-hf"],
)  # fmt: skip
def test_flags_that_the_node_owns_are_refused_by_name(flag: str) -> None:
    with pytest.raises(ValueError, match=f"^{flag.partition('=')[0]} cannot be passed to llama-server: "):
        check_flags(["--mlock", flag])


def test_other_flags_pass() -> None:
    check_flags(["--flash-attn", "on", "--cache-type-k", "q8_0", "--temp", "0.2", "--verbose"])
