"""What a node answers, over a real llama-server."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from registry.keys import verify_node
from registry.signing import challenge_message
from tests.node.agent import Agent, agent, chat

pytestmark = pytest.mark.engine

URL = "http://127.0.0.1:1"
GATEWAY = base64.urlsafe_b64encode(bytes(range(1, 33))).rstrip(b"=").decode()


@pytest.fixture(scope="module")
async def served(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Agent]:
    """Two models of the same weights, one forced to ChatML; llama-server's own record of requests is in the log."""
    folder = tmp_path_factory.mktemp("node")
    small = {"uri": str(weights), "context": 512, "parallel": 2}
    models = {
        "smollm2-135m": {**small, "aliases": ["smollm2", "org/small:q4"], "flags": ["--verbose"]},
        "forced": {**small, "template": "chatml", "parallel": 1, "flags": ["--verbose"]},
    }
    async with agent(folder, models, public_url=URL, price=["usd/1M prompt tokens=0.05"]) as made:
        yield made


@pytest.fixture(scope="module")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made


@pytest.fixture(scope="module")
def digest(weights: Path) -> str:
    return hashlib.sha256(weights.read_bytes()).hexdigest()


async def get(http: aiohttp.ClientSession, url: str) -> tuple[int, Any]:
    async with http.get(url) as response:
        return response.status, await response.json()


async def post(http: aiohttp.ClientSession, url: str, body: Any, **headers: str) -> tuple[int, Any]:
    async with http.post(url, json=body, headers=headers) as response:
        return response.status, await response.json()


async def test_chat(served: Agent, http: aiohttp.ClientSession) -> None:
    status, body = await chat(http, served.url, "smollm2", "Say hello.")
    assert status == 200
    assert body["model"] == "smollm2-135m"
    assert body["choices"][0]["message"]["content"]


@pytest.mark.parametrize("path", ["/v1", "/v1-openai"])
async def test_a_stream_ends_with_done_and_names_the_node(
    served: Agent, http: aiohttp.ClientSession, path: str
) -> None:
    body = {
        "model": "smollm2-135m",
        "messages": [{"role": "user", "content": "Count."}],
        "max_tokens": 8,
        "stream": True,
    }
    async with http.post(f"{served.url}{path}/chat/completions", json=body) as response:
        assert response.content_type == "text/event-stream"
        assert response.headers["Waypost-Node"] == served.key
        events = [line[6:] for line in (await response.read()).split(b"\n") if line.startswith(b"data: ")]
    assert events[-1] == b"[DONE]"
    text = "".join(orjson.loads(event)["choices"][0]["delta"].get("content") or "" for event in events[:-1])
    assert text


async def test_completions(served: Agent, http: aiohttp.ClientSession) -> None:
    body = {"model": "smollm2-135m", "prompt": "One, two,", "max_tokens": 4, "temperature": 0}
    status, answer = await post(http, f"{served.url}/v1/completions", body)
    assert (status, answer["object"]) == (200, "text_completion")
    assert "three" in answer["choices"][0]["text"]


async def test_a_grammar_allows_only_what_it_says(served: Agent, http: aiohttp.ClientSession) -> None:
    for seed in range(4):
        grammar = 'root ::= "yes" | "no"'
        _, body = await chat(http, served.url, "smollm2", "Is water wet?", grammar=grammar, seed=seed, temperature=2)
        assert body["choices"][0]["message"]["content"] in ("yes", "no")


async def test_sampling_options_reach_llama_server_as_they_were_written(
    served: Agent, http: aiohttp.ClientSession
) -> None:
    since = len(served.program.output())
    await chat(http, served.url, "smollm2", "Hi.", mirostat=2, mirostat_tau=4.25, seed=314159, min_p=0.0625)
    record = await served.program.saw("mirostat_ent = 4.250", since, 5)
    assert "mirostat = 2" in record
    assert "min_p = 0.062" in record
    await chat(http, served.url, "smollm2", "Hi.")  # a slot's seed is written down when the next request takes it
    await served.program.saw('"seed":314159', since, 5)


async def test_a_model_forced_to_chatml_sees_no_other_template(served: Agent, http: aiohttp.ClientSession) -> None:
    _, own = await chat(http, served.url, "smollm2", "Hi.")
    status, forced = await chat(http, served.url, "forced", "Hi.")
    assert status == 200
    assert forced["usage"]["prompt_tokens"] == 11
    assert own["usage"]["prompt_tokens"] == 32  # the model's own template puts a system message in front
    parts = [{"role": "user", "content": [{"type": "text", "text": "Hi."}]}]
    status, forced = await chat(http, served.url, "forced", "", messages=parts)
    assert (status, forced["usage"]["prompt_tokens"]) == (200, 11)


@pytest.mark.parametrize("name", ["smollm2-135m", "smollm2", "org/small:q4", "smollm2@{digest:.8}", "org%2Fsmall:q4"])
async def test_a_model_has_several_names(served: Agent, http: aiohttp.ClientSession, digest: str, name: str) -> None:
    status, item = await get(http, f"{served.url}/v1/models/{name.format(digest=digest)}")
    assert status == 200
    assert item["id"] == "smollm2-135m"
    assert item["aliases"] == ["smollm2", "org/small:q4"]
    assert item["endpoints"] == ["chat.completions", "completions", "messages", "proxy", "responses"]
    assert (item["context_length"], item["weights_sha256"], item["nodes"]) == (512, digest, 1)
    assert item["price"] == [{"unit": "usd/1M prompt tokens", "amount": "0.05"}]


async def test_models_are_listed(served: Agent, http: aiohttp.ClientSession) -> None:
    status, body = await get(http, f"{served.url}/v1/models")
    assert (status, body["object"], [item["id"] for item in body["data"]]) == (200, "list", ["smollm2-135m", "forced"])


@pytest.mark.parametrize("name", ["nope", "smollm2@0000000", "smollm2@00000000", "smollm2@0xabcdef0123", "smollm2@"])
async def test_a_name_that_is_none_is_404(served: Agent, http: aiohttp.ClientSession, name: str) -> None:
    for status, body in (
        await chat(http, served.url, name, "Hi."),
        await get(http, f"{served.url}/v1/models/{name}"),
    ):
        assert status == 404
        assert body["error"]["code"] == "model_not_found"
        assert body["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"grammar": "root ::= nothing"}, "invalid_request"),
        ({"mirostat": "two"}, "invalid_request"),
        ({"tools": [1]}, "invalid_request"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "?"}}}}, "invalid_request"),
        ({"n": 99}, "invalid_request"),
        ({"messages": [{"role": "user", "content": "word " * 2000}]}, "context_length_exceeded"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/"}}]}]},
         "remote_media"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}]},
         "remote_media"),
    ],
)  # fmt: skip
async def test_what_llama_server_finds_wrong_is_the_caller_s_400(
    served: Agent, http: aiohttp.ClientSession, more: dict[str, Any], code: str
) -> None:
    since = len(served.program.output())
    for stream in (False, True):
        status, body = await chat(http, served.url, "smollm2", "Hi.", stream=stream, **more)
        assert status == 400, body
        assert body["error"]["code"] == code
        assert body["error"]["type"] in ("invalid_request_error", "exceed_context_size_error")
        assert isinstance(body["error"]["message"], str)
    assert "downloading" not in served.program.output()[since:]


@pytest.mark.parametrize(
    "path", ["/slots", "/props", "/tools", "/apply-template", "/tokenize", "/embedding", "/embeddings", "/"]
)
async def test_nothing_else_of_llama_server_is_to_be_had(served: Agent, http: aiohttp.ClientSession, path: str) -> None:
    for method in ("GET", "POST"):
        async with http.request(method, served.url + path) as response:
            assert response.status in (404, 405)
            assert (await response.json())["error"]["type"] == "invalid_request_error"


async def test_a_header_for_the_model_means_nothing_without_a_token(served: Agent, http: aiohttp.ClientSession) -> None:
    body = {"model": "smollm2", "messages": [{"role": "user", "content": "Hi."}], "max_tokens": 1}
    url = f"{served.url}/v1/chat/completions"
    status, answer = await post(http, url, body, **{"X-Waypost-Model": "forced", "X-Waypost-Token": "x.y.z"})
    assert (status, answer["model"]) == (200, "smollm2-135m")


async def test_health_metrics_and_description(served: Agent, http: aiohttp.ClientSession) -> None:
    status, health = await get(http, f"{served.url}/health")
    assert (status, health["status"]) == (200, "ready")
    model = health["models"]["smollm2-135m"]
    told = {"state": "ready", "starts": 1, "slots": 2, "in_flight": 0, "waiting": 0, "phase": "warm"}
    assert told.items() <= model.items()
    _, described = await get(http, f"{served.url}/openapi.json")
    assert {"/v1/chat/completions", "/v1-openai/models", "/.well-known/waypost/challenge"} <= described["paths"].keys()
    async with http.get(f"{served.url}/metrics") as response:
        text = await response.text()
    assert 'waypost_node_engine_state{model="forced",state="ready"} 1.0' in text
    assert 'endpoint="/v1/chat/completions",model="smollm2-135m",status="200"' in text
    assert 'waypost_node_engine_starts_total{model="smollm2-135m"} 1.0' in text


async def test_a_challenge_is_answered_for_our_own_url_alone(served: Agent, http: aiohttp.ClientSession) -> None:
    nonce = base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode()
    asked = {"nonce": nonce, "url": URL, "gateway": GATEWAY}
    where = f"{served.url}/.well-known/waypost/challenge"
    status, answer = await post(http, where, asked)
    assert status == 200
    assert verify_node(served.key, challenge_message(nonce, URL, None, GATEWAY), answer["signature"])
    for wrong in ({"url": "http://127.0.0.1:2"}, {"nonce": "short"}, {"gateway": None}, {"url": None}, {"nonce": 5}):
        status, answer = await post(http, where, {**asked, **wrong})
        assert (status, answer["error"]["param"]) == (400, next(iter(wrong)))


async def test_an_unpublished_node_has_no_advert(served: Agent, http: aiohttp.ClientSession) -> None:
    status, body = await get(http, f"{served.url}/.well-known/waypost/advert")
    assert (status, body["error"]["code"]) == (404, "no_advert")


async def test_more_requests_than_slots_are_all_answered_and_leave_nothing(
    served: Agent, http: aiohttp.ClientSession
) -> None:
    answers = await asyncio.gather(*(chat(http, served.url, "smollm2", f"Say {n}.", max_tokens=4) for n in range(8)))
    assert [status for status, _ in answers] == [200] * 8
    _, health = await get(http, f"{served.url}/health")
    assert (health["models"]["smollm2-135m"]["in_flight"], health["models"]["smollm2-135m"]["waiting"]) == (0, 0)
