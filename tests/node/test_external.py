"""A model served by an engine that runs elsewhere: a real llama-server, then a strict stand-in that comes and goes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import orjson
import pytest

from registry.keys import Wallet
from tests.node.agent import Agent, agent, chat
from tests.node.elsewhere import KEY, UPSTREAM, Engine, becomes, form, llama_server, settings, sound, stand_in, state
from tests.node.test_publishing import URL, Operator, delegate, put
from tests.programs import free_port
from tests.stack import EMBEDDING_WEIGHTS

NAME = "there"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "engine.key"
    path.write_text(f"{KEY}\n")
    return path


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with stand_in(tmp_path, "--key", KEY) as made:
        yield made


@pytest.fixture
async def node(tmp_path: Path, engine: Engine, key_file: Path) -> AsyncIterator[Agent]:
    endpoints = ["chat.completions", "embeddings", "audio.transcriptions"]
    async with agent(tmp_path, {NAME: settings(engine, key_file=str(key_file), endpoints=endpoints)}) as made:
        yield made


@pytest.mark.engine
async def test_a_llama_server_elsewhere_chats_and_streams(
    tmp_path: Path, weights: Path, session: aiohttp.ClientSession
) -> None:
    flags = ("--alias", UPSTREAM, "--ctx-size", "1024", "--parallel", "2", "--jinja", "--api-key", KEY)
    (tmp_path / "key").write_text(KEY)
    async with llama_server(tmp_path, weights, *flags) as there:
        model = settings(there, key_file=str(tmp_path / "key"), context=512, aliases=["t"])
        async with agent(tmp_path, {NAME: model}) as node:
            for _ in range(10):  # a connection that its server closes behind a stream must not meet the next call
                stream = {
                    "model": "t",
                    "stream": True,
                    "max_tokens": 2,
                    "messages": [{"role": "user", "content": "Hi."}],
                }
                async with session.post(f"{node.url}/v1/chat/completions", json=stream) as response:
                    assert (await response.read()).endswith(b"data: [DONE]\n\n")
                status, body = await chat(session, node.url, NAME, "Say hello.", max_tokens=2)
                assert (status, body["model"]) == (200, UPSTREAM)  # as the engine wrote it
            async with session.get(f"{node.url}/v1/models/{NAME}") as response:
                item = await response.json()
            assert (item["endpoints"], item["context_length"]) == (["chat.completions", "completions"], 512)
            status, body = await chat(session, node.url, NAME, "Hi.", mirostat="two")
            assert status == 400
            async with session.post(f"{node.url}/v1/embeddings", json={"model": NAME, "input": "a"}) as response:
                assert (await response.json())["error"]["code"] == "unsupported_endpoint"


@pytest.mark.engine
async def test_a_llama_server_elsewhere_embeds_and_ranks(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    async with llama_server(tmp_path, EMBEDDING_WEIGHTS, "--embedding", "--pooling", "mean") as there:
        model = {"uri": f"openai+{there.url}/v1", "endpoints": ["embeddings"]}
        async with agent(tmp_path, {NAME: model}) as node:
            asked = {"model": NAME, "input": ["A cat.", "A kitten."]}
            async with session.post(f"{node.url}/v1/embeddings", json=asked) as response:
                through = await response.read()
            async with session.post(f"{there.url}/v1/embeddings", json=asked) as response:
                assert through == await response.read()
            assert len(orjson.loads(through)["data"]) == 2
            assert "if calls fail, set upstream_model" in node.program.output()


async def test_only_the_model_s_name_and_the_key_change_on_the_way(
    node: Agent, engine: Engine, session: aiohttp.ClientSession
) -> None:
    raw = (
        b'{ "x":1.10, "model" : "there", "big":12345678901234567890, "messages":[{"role":"user","content":"\\u00e9"}] }'
    )
    sent = {"Content-Type": "application/json", "Authorization": "Bearer client", "Cookie": "a=b", "X-Odd": "1"}
    async with session.post(f"{node.url}/v1/chat/completions", data=raw, headers=sent) as response:
        assert response.status == 200
        assert (await response.json())["model"] == UPSTREAM
    (seen,) = await engine.seen(session)
    assert seen["body"] == raw.replace(b'"there"', f'"{UPSTREAM}"'.encode())
    assert sorted(name.lower() for name, _ in seen["headers"]) == [
        "accept-encoding", "authorization", "connection", "content-length", "content-type", "host", "x-request-id",
    ]  # fmt: skip
    assert dict(seen["headers"])["Authorization"] == f"Bearer {KEY}"
    assert KEY not in node.program.output()


async def test_a_form_keeps_its_order_and_its_repeated_fields(
    node: Agent, engine: Engine, session: aiohttp.ClientSession
) -> None:
    granularity = "timestamp_granularities[]"
    fields = [("prompt", "a"), ("model", NAME), ("response_format", "verbose_json"), (granularity, "word")]
    raw = form([*fields, (granularity, "segment")], sound(60))  # long enough to lie on disk
    type_ = {"Content-Type": "multipart/form-data; boundary=a-boundary"}
    async with session.post(f"{node.url}/v1/audio/transcriptions", data=raw, headers=type_) as response:
        body = await response.json()
    assert [name for name, _ in body["fields"]] == ["file", *(name for name, _ in fields), granularity]
    (seen,) = await engine.seen(session)
    assert seen["body"] == raw.replace(f"\r\n\r\n{NAME}\r\n".encode(), f"\r\n\r\n{UPSTREAM}\r\n".encode())
    assert dict(seen["headers"])["Content-Length"] == str(len(seen["body"]))


async def test_an_engine_that_is_away_is_waited_for_and_other_models_served(
    tmp_path: Path, fake_llama: Path, small_gguf: Path, session: aiohttp.ClientSession
) -> None:
    port = free_port()
    models = {NAME: settings(port), "here": {"uri": str(small_gguf)}}
    async with agent(tmp_path, models, llama_server=str(fake_llama), ready_s=0.2) as node:
        assert "serves here on" in node.program.output()
        said = f"there: its engine at http://127.0.0.1:{port} does not answer"
        assert node.program.output().count(said) == 1
        assert (await chat(session, node.url, "here", "Hi."))[0] == 200
        status, body = await chat(session, node.url, NAME, "Hi.")
        assert (status, body["error"]["code"]) == (503, "engine_not_ready")
        async with stand_in(tmp_path, port=port):
            await becomes(session, node, NAME, "ready")
            assert (await chat(session, node.url, NAME, "Hi."))[0] == 200
        async with asyncio.timeout(90):
            while (await chat(session, node.url, NAME, "Hi."))[0] == 502:  # sent as it ended
                pass
        body = {"model": NAME, "messages": [{"role": "user", "content": "Hi."}]}
        async with session.post(f"{node.url}/v1/chat/completions", json=body) as response:
            assert (response.status, (await response.json())["error"]["code"]) == (503, "engine_not_ready")
            assert int(response.headers["Retry-After"]) >= 1
        await becomes(session, node, NAME, "backoff")
        async with stand_in(tmp_path, port=port):
            await becomes(session, node, NAME, "ready")
            assert (await chat(session, node.url, NAME, "Hi."))[0] == 200
        assert "Traceback" not in node.program.output()


async def test_a_request_waits_for_an_engine_that_comes(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    port = free_port()
    async with agent(tmp_path, {NAME: settings(port)}, ready_s=60) as node:
        assert "serves nothing yet on" in node.program.output()
        asked = asyncio.create_task(chat(session, node.url, NAME, "Hi."))
        async with stand_in(tmp_path, port=port):
            assert (await asked)[0] == 200


async def test_it_is_advertised_while_it_is_there(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    operator, port = Operator(tmp_path), free_port()
    table = {"registry": [operator.registry], "public_url": URL, "access": ["open"]}
    async with contextlib.AsyncExitStack() as stack:
        there = await stack.enter_async_context(stand_in(tmp_path, port=port))
        node = await stack.enter_async_context(agent(tmp_path, {NAME: settings(port, parallel=7)}, **table))
        put(operator, operator.delegation(delegate(operator)))
        (offer,) = (await operator.advert(1)).offers
        assert (offer.model, offer.parallel, offer.engine, offer.weights_sha256) == (NAME, 7, "external", None)
        await there.program.stop()
        assert (await operator.advert(2, limit_s=90)).offers == ()
        async with stand_in(tmp_path, port=port):
            assert [offer.model for offer in (await operator.advert(3, limit_s=90)).offers] == [NAME]
        assert Wallet.load(tmp_path / "state/delegate.key").address in node.program.output()


@pytest.mark.parametrize(("words", "said"), [
    (("--key", "another"), "does not take this node's key (status 401); check key_file"),
    (("--loading",), "is not ready (status 503)"),
])  # fmt: skip
async def test_an_engine_that_would_refuse_is_not_ready(
    tmp_path: Path, key_file: Path, session: aiohttp.ClientSession, words: tuple[str, ...], said: str
) -> None:
    async with (
        stand_in(tmp_path, *words) as there,
        agent(tmp_path, {NAME: settings(there, key_file=str(key_file))}) as node,
    ):
        assert said in node.program.output()
        assert await state(session, node, NAME) == "backoff"
        assert KEY not in node.program.output()


async def test_a_client_that_leaves_frees_its_slot(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    async with stand_in(tmp_path) as there, agent(tmp_path, {NAME: settings(there, parallel=1)}) as node:
        asked = asyncio.create_task(chat(session, node.url, NAME, "Now hold"))
        async with asyncio.timeout(90):
            while not await there.seen(session):
                assert not asked.done()
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        assert (await chat(session, node.url, NAME, "Hi."))[0] == 200
