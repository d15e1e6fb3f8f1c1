"""What an external engine answers that is no answer: whose fault it is, in words that show neither key nor address."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from node.engines.engine import EngineError
from node.engines.external import Elsewhere, read_key
from node.engines.external_watch import exposed
from node.model_config import EXTERNAL_ENDPOINTS, ModelConfig
from relay.endpoints import ENDPOINTS
from tests.node.agent import Agent, agent, chat, options
from tests.node.elsewhere import KEY, UPSTREAM, Engine, form, settings, sound, stand_in, state
from tests.programs import running

NAME = "there"


@pytest.fixture(scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    async with stand_in(tmp_path_factory.mktemp("engine"), "--key", KEY) as made:
        yield made


@pytest.fixture(scope="module")
async def node(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Agent]:
    """Serves the stand-in three times: well, by a name that it does not know, and with an endpoint that it has not."""
    folder = tmp_path_factory.mktemp("node")
    (folder / "key").write_text(KEY)
    good = settings(engine, key_file=str(folder / "key"))
    models = {
        NAME: {**good, "endpoints": ["chat.completions", "audio.transcriptions"]},
        "misnamed": {**good, "upstream_model": "another"},
        "lacking": {**good, "endpoints": ["rerank"]},
    }
    async with agent(folder, models, head_s=3) as made:
        yield made


async def asked(session: aiohttp.ClientSession, node: Agent, word: str) -> tuple[int, dict[str, Any], str | None]:
    body = {"model": NAME, "messages": [{"role": "user", "content": f"Now {word}"}]}
    async with session.post(f"{node.url}/v1/chat/completions", json=body, allow_redirects=False) as response:
        return response.status, (await response.json())["error"], response.headers.get("Retry-After")


@pytest.mark.parametrize(
    ("word", "status", "code", "message", "retry_after"),
    [
        ("busy", 429, None, "Slow down.", "7"),
        ("fail", 502, "engine_failed", "The worker at [hidden] failed.", None),
        ("full", 503, "engine_not_ready", "No room.", "9"),
        ("moved", 502, "engine_refused", "it points elsewhere. Its operator must see to that.", None),
        ("reset", 502, "upstream_reset", "The upstream closed the connection without an answer.", None),
        ("hold", 504, "head_timeout", "The upstream did not answer in time.", None),
        ("old", 400, None, "Too long.", None),
        ("detail", 400, None, "Too odd.", None),
        ("list", 400, None, "top_p: is not good", None),
        ("leak", 400, None, "I know [hidden].", None),
    ],
)
async def test_its_errors_are_rendered_anew(
    node: Agent, session: aiohttp.ClientSession, word: str, status: int, code: str | None, message: str,
    retry_after: str | None,
) -> None:  # fmt: skip
    got, error, after = await asked(session, node, word)
    assert (got, error["code"], after) == (status, code, retry_after)
    assert message in error["message"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (await chat(session, node.url, NAME, "Hi."))[0] == 200


async def test_a_stream_that_breaks_has_an_error_and_no_end(node: Agent, session: aiohttp.ClientSession) -> None:
    body = {"model": NAME, "stream": True, "messages": [{"role": "user", "content": "Now cut"}]}
    read = b""
    async with session.post(f"{node.url}/v1/chat/completions", json=body) as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            async for piece in response.content.iter_any():
                read += piece
    assert b"indeed" in read
    assert b"upstream_broken" in read
    assert b"[DONE]" not in read


async def test_a_call_that_may_have_been_heard_is_not_sent_twice(
    node: Agent, engine: Engine, session: aiohttp.ClientSession
) -> None:
    before = len(await engine.seen(session))
    assert (await asked(session, node, "reset"))[0] == 502
    assert len(await engine.seen(session)) == before + 1
    raw = form([("model", NAME), ("prompt", "reset")], sound())
    type_ = {"Content-Type": "multipart/form-data; boundary=a-boundary"}
    async with session.post(f"{node.url}/v1/audio/transcriptions", data=raw, headers=type_) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (502, "upstream_reset")
    assert len(await engine.seen(session)) == before + 2
    assert await state(session, node, NAME) == "ready"


@pytest.mark.parametrize(
    ("model", "path", "body", "fix"),
    [
        (
            "misnamed",
            "chat/completions",
            {"messages": [{"role": "user", "content": "Hi."}]},
            "(The model 'another' does",
        ),
        ("lacking", "rerank", {"query": "a", "documents": ["b"]}, "check upstream_model and endpoints"),
    ],
)
async def test_what_the_settings_have_wrong_is_told_to_the_operator_alone(
    node: Agent, engine: Engine, session: aiohttp.ClientSession, model: str, path: str, body: dict[str, Any], fix: str
) -> None:
    async with session.post(f"{node.url}/v1/{path}", json={"model": model, **body}) as response:
        assert response.status == 502
        error = (await response.json())["error"]
    assert (error["code"], error["type"]) == ("engine_refused", "upstream_error")
    assert error["message"] == (
        f"The engine of {model} refuses what this node sends: it does not know the model or the endpoint. "
        "Its operator must see to that."
    )
    assert f"{model}: the engine refuses with status 404" in node.program.output()
    assert fix in node.program.output()


async def test_a_key_that_is_changed_later_is_the_operator_s_fault_too(
    tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    (tmp_path / "key").write_text(KEY)
    async with (
        stand_in(tmp_path, "--key", KEY) as there,
        agent(tmp_path, {NAME: settings(there, key_file=str(tmp_path / "key"))}, ready_s=0.2) as node,
    ):
        await there.program.stop()
        async with stand_in(tmp_path, "--key", "sk-new", port=there.port):
            status, body = await chat(session, node.url, NAME, "Hi.")
        assert (status, body["error"]["code"]) in ((502, "engine_refused"), (503, "engine_not_ready"))
        shown = str(body)
        assert not [secret for secret in (KEY, "sk-new", str(there.port)) if secret in shown]
        assert KEY not in node.program.output()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Of 127.0.0.1, by nobody but itself: the files of the certificate and of its key."""
    folder = tmp_path_factory.mktemp("tls")
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(secret)
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    return str(folder / "cert.pem"), str(folder / "key.pem")


async def test_a_certificate_is_checked(
    tmp_path: Path, session: aiohttp.ClientSession, certificate: tuple[str, str]
) -> None:
    async with stand_in(tmp_path, "--tls", *certificate) as there:
        model = {"uri": f"openai+https://127.0.0.1:{there.port}/v1", "upstream_model": UPSTREAM}
        async with agent(tmp_path, {NAME: model}) as node:
            assert f"the TLS certificate of https://127.0.0.1:{there.port} is not valid" in node.program.output()
            assert await state(session, node, NAME) == "backoff"
        trusting = {"SSL_CERT_FILE": certificate[0]}
        async with running(options(tmp_path, {NAME: model}), tmp_path / "log2.txt", trusting) as program:
            url = (await program.saw(f"serves {NAME} on http")).rpartition(" on ")[2].partition("/v1")[0]
            assert (await chat(session, url, NAME, "Hi."))[0] == 200


@pytest.mark.parametrize("content", [b"", b"  \n", b"two keys\nhere", b"\xff\xfe", b"a" * 5000, None])
def test_a_key_file_that_holds_no_key_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(EngineError, match=f"^key_file {file}: (must hold|cannot be read)"):
        read_key(file)


def test_a_key_is_not_shown() -> None:
    assert KEY not in repr(Elsewhere("http://h", None, KEY))


@pytest.mark.parametrize(
    ("url", "so"),
    [
        ("http://93.184.216.34:80", True), ("http://vllm.example", True), ("http://[2606:2800:220:1::1]", True),
        ("https://vllm.example", False), ("http://127.0.0.1:80", False), ("http://10.1.2.3", False),
        ("http://[::1]:80", False), ("http://localhost", False), ("http://vllm", False), ("http://a.internal", False),
    ],
)  # fmt: skip
def test_a_key_that_crosses_a_public_network_is_warned_of(url: str, so: bool) -> None:
    assert exposed(url) is so


@pytest.mark.parametrize(
    ("settings", "fix"),
    [
        ({"endpoints": ["chat"]}, "'chat' is no endpoint; choose from audio.speech"),
        ({"endpoints": ["proxy"]}, "give proxy = ['/path', ...]"),
        ({"upstream_model": "a\nb"}, "cannot be sent as a model's name"),
        ({"projector": "/p.gguf"}, "projector is for an engine that this node starts; drop it"),
        ({"start_s": 3}, "start_s is for an engine that this node starts; drop it"),
        ({"uri": "/w.gguf", "key_file": "/k"}, "key_file is for an external engine (openai+http://...); drop it"),
    ],
)
def test_settings_that_cannot_be_are_refused_with_the_fix(settings: dict[str, Any], fix: str) -> None:
    with pytest.raises(ValueError) as refused:
        ModelConfig.model_validate({"uri": "openai+http://h:1", **settings})
    assert fix in str(refused.value)


def test_every_endpoint_can_be_an_external_engine_s() -> None:
    assert set(EXTERNAL_ENDPOINTS) == set(ENDPOINTS)
