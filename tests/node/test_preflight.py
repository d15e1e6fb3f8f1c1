"""What a model must show before it is offered: each kind of engine is asked one question, and must answer it well."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import orjson
import pytest

from node.engines.child import ChildEngine
from node.engines.external import Elsewhere, ExternalEngine
from node.life import State
from node.process import ProcessLimits
from node.proving.preflight import PreflightError, Probe, probe, prove
from node.proving.questions import QUESTIONS, question_for, speed
from node.sizes.memory import Memory
from relay.endpoints import ENDPOINTS
from relay.limits import Limits
from tests.node.elsewhere import KEY, UPSTREAM, stand_in
from tests.programs import ROOT

CHAT = ("chat.completions", "completions", "proxy")
QUICK = ProcessLimits(start_s=20, grace_s=0.5, backoff_first_s=0.02, backoff_most_s=0.1)
TALK = {"choices": [{"message": {"role": "assistant", "content": ""}}]}
LIMIT_S = 90.0


@contextlib.asynccontextmanager
async def engine(folder: Path, *words: str) -> AsyncIterator[ChildEngine]:
    """One that answers always the same, while it is run."""
    socket = folder / "0.sock"
    command = [sys.executable, "-m", "tests.fakes.one_answer", str(socket), *words]
    made = ChildEngine("m", 1, command, {**os.environ, "PYTHONPATH": str(ROOT)}, socket, QUICK, Limits())
    running = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@dataclass
class Parrot:
    """An engine that answers what it is told to."""

    engine: ChildEngine
    answer: Path

    def will_say(self, body: object, status: int = 200) -> None:
        said = body if isinstance(body, str) else orjson.dumps(body).decode()
        self.answer.write_text(f"{status}\n{said}")


@pytest.fixture(scope="module")
async def parrot(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Parrot]:
    folder = tmp_path_factory.mktemp("parrot")
    async with engine(folder, "--answer", str(folder / "answer")) as made:
        yield Parrot(made, folder / "answer")


async def shown(made: ChildEngine, *endpoints: str, probe_s: float = LIMIT_S) -> Probe:
    await made.life.ensure_ready(LIMIT_S)
    return await probe(made, endpoints or CHAT, "m", probe_s)


async def refused(made: ChildEngine, *endpoints: str, probe_s: float = LIMIT_S) -> str:
    """Why it is not offered."""
    with pytest.raises(PreflightError) as raised:
        await shown(made, *endpoints, probe_s=probe_s)
    said = str(raised.value)
    assert "\n" not in said and len(said) < 500, said
    return said


GOOD = {
    "chat.completions": TALK,
    "completions": {"choices": [{"text": ""}]},
    "embeddings": {"data": [{"embedding": [0, 0.5, -1]}]},
    "rerank": {"results": [{"index": 1, "relevance_score": -0.5}, {"index": 0, "relevance_score": 3}]},
    "images.generations": {"data": [{"b64_json": "aGVsbG8="}]},
    "audio.speech": {"any": "bytes"},
    "audio.transcriptions": {"text": ""},
    "audio.translations": {"text": ""},
}


@pytest.mark.parametrize("endpoint", GOOD)
async def test_a_well_formed_answer_is_enough(parrot: Parrot, endpoint: str) -> None:
    parrot.will_say(GOOD[endpoint])
    found = await shown(parrot.engine, endpoint, "proxy")
    assert found.answer_s > 0
    assert found.tokens_per_s is None


@pytest.mark.parametrize(
    ("endpoint", "body", "why"),
    [
        ("chat.completions", "{}", "it has no choices: {}"),
        ("chat.completions", '{"choices": []}', "it has no choices"),
        ("chat.completions", '{"choices": [{"message": null}]}', "it has no message"),
        ("chat.completions", "Hello!\nHow are you?", "it is not JSON: Hello! How are you?"),
        ("chat.completions", "[]", "it is no JSON object"),
        ("completions", '{"choices": [{}]}', "it has no text"),
        ("embeddings", '{"data": [{"embedding": []}]}', "it has no vector of finite numbers"),
        ("embeddings", '{"data": [{"embedding": [1, null]}]}', "it has no vector of finite numbers"),
        ("embeddings", '{"data": [{"embedding": [0.0, -0.0]}]}', "its vector is all zeros"),
        ("rerank", '{"results": [{"index": 0, "relevance_score": 1}]}', "it does not rank the documents"),
        ("rerank", '{"results": [{"index": 0}, {"index": 1}]}', "it has no finite scores"),
        ("images.generations", '{"data": [{"b64_json": "!"}]}', "its picture is not in base64"),
        ("images.generations", '{"data": [{"b64_json": ""}]}', "it has no picture"),
        ("audio.transcriptions", '{"text": null}', "it has no text"),
    ],
)
async def test_a_malformed_answer_is_not(parrot: Parrot, endpoint: str, body: str, why: str) -> None:
    parrot.will_say(body)
    said = await refused(parrot.engine, endpoint)
    assert said.startswith(f"asked on {endpoint}: the answer is malformed: {why}")


@pytest.mark.parametrize(
    ("status", "message", "said"),
    [
        (404, None, "status 404: The upstream answered with status 404.; --log-level debug shows what its "),
        (501, "This server does not support embeddings", "; set kind in [node.models.m] to what the model is for"),
        (500, "Jinja Exception: {no}\nsuch thing", "Jinja Exception: {no} such thing; set template = 'chatml' in"),
        (500, "failed to allocate memory", "; set a smaller context or parallel in [node.models.m]"),
        (500, "x" * 5000, "xxx...; --log-level debug shows what its engine writes"),
    ],
)  # fmt: skip
async def test_a_refusal_is_told_with_what_may_help(
    parrot: Parrot, status: int, message: str | None, said: str
) -> None:
    parrot.will_say({"error": {"message": message}}, status)
    assert said in await refused(parrot.engine)


async def test_a_stream_without_a_byte_is_no_sound(parrot: Parrot) -> None:
    parrot.will_say("")
    said = await refused(parrot.engine, "audio.speech")
    assert said.startswith("asked on audio.speech: no whole answer came, twice (The upstream's stream ended before it ")


async def test_silence_has_an_end(tmp_path: Path) -> None:
    async with engine(tmp_path, "--hang") as made:
        said = await refused(made, probe_s=0.2)
    assert said == (
        "asked on chat.completions: no answer came within 0.2 s; "
        "give it more threads or gpu_layers in [node.models.m], or serve a smaller model"
    )


async def test_an_engine_that_ends_is_asked_once_more(tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    answer.write_text(f"200\n{orjson.dumps(TALK).decode()}")
    async with engine(tmp_path, "--die-once", str(tmp_path / "died"), "--answer", str(answer)) as made:
        await shown(made)
        assert made.life.starts == 2
    async with engine(tmp_path, "--die") as made:
        said = await refused(made)
        assert made.life.starts == 2
    assert "no whole answer came, twice (The upstream closed the connection without an answer); set a smaller" in said


async def test_a_proof_tells_times_and_memory(parrot: Parrot) -> None:
    parrot.will_say(TALK | {"usage": {"completion_tokens": 16}})
    proof = await prove(parrot.engine, CHAT, "m", LIMIT_S, lambda: Memory(7))
    assert proof.load_s > 0 and proof.answer_s > 0
    assert proof.tokens_per_s == pytest.approx(16 / proof.answer_s)
    assert proof.taken == Memory(7)


async def test_an_engine_that_never_starts_is_given_up(tmp_path: Path) -> None:
    async with engine(tmp_path, "--exit", "no such thing") as made:
        with pytest.raises(PreflightError) as raised:
            await prove(made, CHAT, "m", LIMIT_S, lambda: None)
        assert made.life.starts == 3
    assert str(raised.value) == (
        "its engine failed 3 times in a row while starting; the last time it ended with status 3 while starting; "
        "--log-level debug shows what its engine writes"
    )


async def test_an_engine_that_is_slow_to_start_is_not_waited_for_without_end(tmp_path: Path) -> None:
    async with engine(tmp_path) as made:
        with pytest.raises(PreflightError, match=r"its engine was not ready within 0\.001 s"):
            await prove(made, CHAT, "m", 0.001, lambda: None)
    with pytest.raises(PreflightError, match="its engine was stopped before it was ready"):
        await prove(made, CHAT, "m", LIMIT_S, lambda: None)


async def test_an_engine_that_runs_elsewhere_is_not_asked(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    async with stand_in(tmp_path, "--key", KEY) as there:
        made = ExternalEngine("m", 1, Elsewhere(there.url, UPSTREAM, KEY), Limits())
        running = asyncio.create_task(made.run())
        proof = await prove(made, CHAT, "m", LIMIT_S, lambda: None)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert await there.seen(session) == []
    assert (proof.answer_s, proof.tokens_per_s, proof.taken) == (0.0, None, None)
    assert made.life.state is State.STOPPED


def test_speed_is_the_engine_s_own_where_it_tells() -> None:
    timings = {"timings": {"predicted_n": 16, "predicted_per_second": 40.5}, "usage": {"completion_tokens": 16}}
    assert speed(orjson.dumps(timings), 2.0) == 40.5
    assert speed(orjson.dumps({"usage": {"completion_tokens": 16}}), 2.0) == 8.0
    for odd in ({"predicted_n": 1, "predicted_per_second": 1e6}, {"predicted_n": 9, "predicted_per_second": "x"}, 7):
        assert speed(orjson.dumps({"timings": odd}), 2.0) is None
    assert speed(b'{"usage": {"completion_tokens": true}}', 2.0) is None


def test_every_endpoint_with_an_engine_of_ours_has_a_question() -> None:
    asked = {question.endpoint.name for question in QUESTIONS}
    beside = {"responses", "messages", "images.edits"}  # of models that are asked on another one
    assert asked | beside == set(ENDPOINTS)
    assert question_for(("proxy",)) is None
