"""Tokens are counted as answers pass: as a real llama-server says them, and as far as can be known where none does."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from node.telemetry.throughput import WINDOW_S, Rates, Throughput
from relay.answer import Answer, Made
from relay.call import Call
from relay.endpoints import ENDPOINTS
from relay.errors import Reset
from relay.limits import Limits
from relay.stream import ask
from relay.wire.origin import Origin
from relay.wire.upstreams import Upstreams
from relay.wire.watch import Watch
from tests.node.elsewhere import Engine, llama_server
from tests.stack import EMBEDDING_WEIGHTS

EVENTS = "text/event-stream"
ROLE = b'data: {"choices":[{"delta":{"role":"assistant"}}]}\n\n'
TOKEN = b'data: {"choices":[{"delta":{"content":" so"}}]}\n\n'
END = b'data: {"choices":[],"usage":{"prompt_tokens":20,"completion_tokens":30}}\n\ndata: [DONE]\n\n'


class Clock:
    def __init__(self) -> None:
        self.now = 1000.5

    def __call__(self) -> float:
        return self.now


def stream(*pieces: bytes, breaks: bool = False) -> Answer:
    """A stream of events, the first at hand."""

    async def rest() -> AsyncIterator[bytes]:
        for piece in pieces[1:]:
            yield piece
        if breaks:
            raise Reset("broken", code="upstream_broken")

    return Made(pieces[0], EVENTS, rest())


async def passed(
    throughput: Throughput, answer: Answer, endpoint: str = "chat.completions", asked_at: float = 0
) -> bytes:
    async with throughput.observed(answer, "m", endpoint, asked_at) as observed:
        return b"".join([piece async for piece in observed.pieces()])


def call(endpoint: str, body: Mapping[str, Any]) -> Call:
    return Call(ENDPOINTS[endpoint], "m", bool(body.get("stream")), "id", body=orjson.dumps(body))


async def counted(engine: Engine, endpoint: str, body: Mapping[str, Any]) -> Rates:
    """What is counted of one call to a real llama-server."""
    throughput = Throughput()
    asked, asked_at = call(endpoint, body), time.monotonic()
    with contextlib.closing(Upstreams(None, Watch())) as upstreams:
        answer = await ask(upstreams, Origin.of(engine.url), f"/v1/{asked.endpoint.path}", asked, {}, Limits())
        assert answer.status == 200
        await passed(throughput, answer, endpoint, asked_at)
    return throughput.of("m")


@pytest.fixture(scope="module")
async def chats(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    async with llama_server(tmp_path_factory.mktemp("chats"), weights, "--ctx-size", "2048", "--jinja") as engine:
        yield engine


MESSAGES = [{"role": "user", "content": "Count from one to ten."}]
BODIES: Mapping[str, Mapping[str, Any]] = {
    "chat.completions": {"messages": MESSAGES, "max_tokens": 5},
    "completions": {"prompt": "One, two, three, four, five, six,", "max_tokens": 5},
    "responses": {"input": "Count from one to ten.", "max_output_tokens": 5},
    "messages": {"messages": MESSAGES, "max_tokens": 5},
}


@pytest.mark.engine
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("endpoint", BODIES)
async def test_what_llama_server_says_at_the_end_is_counted(chats: Engine, endpoint: str, stream: bool) -> None:
    body = {**BODIES[endpoint], "stream": stream, "temperature": 0}
    first = await counted(chats, endpoint, body)
    again = await counted(chats, endpoint, body)
    assert (first.generated_tokens, again.generated_tokens) == (5, 5)
    assert first.prompt_tokens == again.prompt_tokens > 5
    assert again.cached_tokens == again.prompt_tokens - 1  # all but the last, which has to be computed for what follows
    assert again.cache_hit_ratio == again.cached_tokens / again.prompt_tokens
    assert again.tokens_per_s == pytest.approx(5 / WINDOW_S)


async def test_a_long_answer_is_counted_by_its_first_and_last_bytes() -> None:
    """Messages says the prompt at the beginning; the last event of Responses has the whole answer in it again."""
    start = b'event: message_start\ndata: {"message":{"usage":{"input_tokens":1,"cache_read_input_tokens":30}}}\n\n'
    delta = b'event: content_block_delta\ndata: {"delta":{"text":"' + b"word " * 20 + b'"}}\n\n'
    end = b'event: message_delta\ndata: {"usage":{"output_tokens":3001}}\n\nevent: message_stop\ndata: {}\n\n'
    throughput = Throughput()
    await passed(throughput, stream(start, *[delta] * 3000, end), "messages")
    assert throughput.of("m") == Rates(31, 3001, 30, throughput.of("m").tokens_per_s, 30 / 31)
    said = b'"usage":{"input_tokens":31,"output_tokens":3002,"input_tokens_details":{"cached_tokens":0}}}}\n\n'
    whole = b'event: response.completed\ndata: {"response":{"output":["' + b"word " * 60_000 + b'"],' + said
    await passed(throughput, stream(delta, *[delta] * 3000, whole), "responses")
    assert throughput.of("m").generated_tokens == 3001 + 3002
    assert throughput.of("m").prompt_tokens == 31 + 31


@pytest.mark.engine
async def test_embeddings_and_ranks_are_prompts(tmp_path: Path) -> None:
    async with llama_server(tmp_path, EMBEDDING_WEIGHTS, "--embedding", "--pooling", "mean") as engine:
        found = await counted(engine, "embeddings", {"input": ["hello there", "world"]})
        assert (found.prompt_tokens, found.generated_tokens, found.cache_hit_ratio) == (7, 0, None)
        many = await counted(engine, "embeddings", {"input": ["hello there"] * 200})
        assert many.prompt_tokens == 4 * 200  # said at the beginning of a body that is not kept
    ranks = Made(b'{"usage":{"total_tokens":9,"prompt_tokens":9},"results":[]}')
    throughput = Throughput()
    await passed(throughput, ranks, "rerank")
    assert throughput.of("m").prompt_tokens == 9


async def test_the_bytes_pass_as_they_are() -> None:
    for pieces in ([ROLE, TOKEN, END], [ROLE]):
        assert await passed(Throughput(), stream(*pieces)) == b"".join(pieces)
    plain = Made(b'{"a": 1}')
    async with Throughput().observed(plain, "m", "chat.completions", 0) as observed:
        assert (observed.first, observed.status, observed.streamed, observed.length) == (b'{"a": 1}', 200, False, 8)
        assert observed.headers() == plain.headers()
        assert [piece async for piece in observed.pieces()] == [b'{"a": 1}']


async def test_what_has_no_tokens_is_not_watched() -> None:
    sound = Made(b"RIFF", "audio/wav")
    throughput = Throughput()
    assert throughput.observed(sound, "m", "audio.speech", 0) is sound
    assert throughput.of("m") == Rates()


async def test_a_stream_that_is_left_counts_what_was_seen_of_it() -> None:
    throughput = Throughput()
    async with throughput.observed(stream(ROLE, *[TOKEN] * 9, END), "m", "chat.completions", 0) as observed:
        pieces = observed.pieces()
        for _ in range(6):
            await anext(pieces)
    assert throughput.of("m").generated_tokens == 5
    assert throughput.of("m").prompt_tokens == 0


async def test_a_broken_stream_counts_what_was_seen_and_breaks() -> None:
    throughput = Throughput()
    with pytest.raises(Reset):
        await passed(throughput, stream(ROLE, TOKEN, TOKEN, breaks=True))
    assert throughput.of("m").generated_tokens == 2


async def test_an_engine_that_says_no_figures_is_counted_by_its_events() -> None:
    throughput = Throughput()
    await passed(
        throughput,
        stream(ROLE, *[TOKEN * 3] * 5, b'data: {"choices":[{"finish_reason":"stop"}]}\n\n', b"data: [DONE]\n\n"),
    )
    assert throughput.of("m").generated_tokens == 15
    await passed(throughput, stream(*(piece.replace(b"\n", b"\r\n") for piece in (ROLE, TOKEN, TOKEN))))
    assert throughput.of("m").generated_tokens == 15  # what ends a stream is taken off here too


async def test_a_hostile_engine_s_figures_are_left_out() -> None:
    throughput = Throughput()
    for wrong in (b"-5", b"1e999", b'"many"', b"9" * 30, b"[" * 5000):
        await passed(throughput, Made(b'{"usage":{"prompt_tokens":%b,"completion_tokens":%b}}' % (wrong, wrong)))
    assert throughput.of("m") == Rates()


async def test_a_running_stream_shows_before_it_ends() -> None:
    clock, seen = Clock(), []
    throughput = Throughput(clock)

    async def slow() -> AsyncIterator[bytes]:
        for _ in range(30):
            clock.now += 1
            yield TOKEN
            seen.append(throughput.of("m").tokens_per_s * WINDOW_S)
        yield END

    await passed(throughput, Made(ROLE, EVENTS, slow()))
    assert seen == pytest.approx(list(range(1, 31)))
    assert throughput.of("m").tokens_per_s * WINDOW_S == pytest.approx(30)
    assert throughput.of("m").generated_tokens == 30


async def test_only_what_was_generated_in_the_last_minute_is_its_rate() -> None:
    clock = Clock()
    throughput = Throughput(clock)
    body = b'{"usage":{"prompt_tokens":1,"completion_tokens":600}}'
    await passed(throughput, Made(body), asked_at=clock.now - 120)  # two minutes, half of them too long ago
    assert throughput.of("m").tokens_per_s == pytest.approx(5, rel=0.02)
    clock.now += 30
    assert throughput.of("m").tokens_per_s == pytest.approx(2.5, rel=0.05)
    clock.now += 40
    assert throughput.of("m") == Rates(1, 600, 0, 0.0, None)


async def test_a_quick_answer_counts_once_and_at_once() -> None:
    clock = Clock()
    throughput = Throughput(clock)
    for _ in range(100):
        await passed(throughput, Made(b'{"usage":{"completion_tokens":6}}'), asked_at=clock.now)
    assert throughput.of("m").tokens_per_s == pytest.approx(10)


async def test_models_are_counted_apart() -> None:
    throughput = Throughput()
    for name in ("a", "b"):
        async with throughput.observed(Made(b'{"usage":{"completion_tokens":6}}'), name, "completions", 0):
            pass
    assert (throughput.of("a").generated_tokens, throughput.of("c").generated_tokens) == (6, 0)


async def test_little_of_an_answer_is_held_however_long_it_is() -> None:
    throughput, held = Throughput(), list[int]()

    async def long() -> AsyncIterator[bytes]:
        for size in (100, 70_000, 3_000_000, 5_000, 1):
            for _ in range(20):
                yield TOKEN + b": " + b"x" * size
                held.append(int(repr(observed).rpartition("held=")[2].partition(">")[0]))
        yield END

    async with throughput.observed(Made(ROLE, EVENTS, long()), "m", "chat.completions", 0) as observed:
        async for _ in observed.pieces():
            pass
    assert max(held) <= 32 * 1024
    assert throughput.of("m").generated_tokens == 30


async def test_leaving_the_observed_answer_leaves_the_engine_s() -> None:
    closed = []

    async def rest() -> AsyncIterator[bytes]:
        with contextlib.closing(_Told(closed)):
            yield TOKEN

    async with Throughput().observed(Made(ROLE, EVENTS, rest()), "m", "chat.completions", 0) as observed:
        pieces = observed.pieces()
        assert [await anext(pieces), await anext(pieces)] == [ROLE, TOKEN]
    assert closed == ["closed"]


class _Told:
    def __init__(self, where: list[str]) -> None:
        self._where = where

    def close(self) -> None:
        self._where.append("closed")
