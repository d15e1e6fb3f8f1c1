"""Good requests with some bytes changed, left out, doubled or put in: whatever that makes of them, all that is answered
is HTTP, nothing is our fault, and what reaches the upstream is a request that somebody sent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.wire.server import Pace
from tests.wire.rows import got, posted
from tests.wire.scene import Scene
from tests.wire.scene import scene as make_scene
from tests.wire.test_splits import in_chunks

PACE = Pace(head_s=0.1, body_s=0.1, idle_s=0.1, linger_s=0.1)
LAST = got("Connection: close")
TELLING = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b":",
    b"\x00",
    b"\x0b",
    b"0",
    b"-",
    b"+",
    b",",
    b";",
    b"\xff",
]
TELLING += [
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"0\r\n\r\n",
    b"GET / HTTP/1.1\r\n",
    b"HTTP/1.0",
]
ALL = (
    posted("api", "word") + in_chunks("api", "chunked") + got() + in_chunks("proxy", "other") + posted("proxy", "last")
)

changes = st.tuples(st.integers(0, len(ALL) - 1), st.integers(0, 4), st.sampled_from(TELLING) | st.binary(max_size=3))


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with make_scene(tmp_path_factory.mktemp("mutations"), pace=PACE) as made:
        yield made


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(changes, min_size=1, max_size=3), st.lists(st.integers(1, len(ALL)), max_size=4))
async def test_whatever_comes(scene: Scene, changed: list[tuple[int, int, bytes]], cuts: list[int]) -> None:
    raw = bytearray(ALL)
    for at, left_out, put_in in changed:
        raw[at : at + left_out] = put_in
    async with scene.connect() as client:
        await client.send(bytes(raw) + LAST, [cut for cut in cuts if cut < len(raw)])
        answers = await client.answers()
    for answer in answers:
        assert answer.status < 500 or answer.status == 505, answer
        assert answer.status == 200 or answer.error["message"]
    assert all(not answer.closes for answer in answers[:-1]), answers
    await scene.calm()
    assert not scene.upstream.broken, scene.upstream.broken
