"""However the bytes of requests are cut into packets, each request is answered whole, once and in its turn."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.wire.rows import HOST, PLANES, chunked, got, lines, message, payload, posted
from tests.wire.scene import Scene

PLANE = pytest.mark.parametrize("plane", PLANES)


def in_chunks(plane: str, word: str) -> bytes:
    body = payload(plane, word)
    return message(*lines(plane), "Transfer-Encoding: chunked", body=chunked(body[:3], body[3:10], body[10:]))


def requests(plane: str, word: str) -> dict[str, bytes]:
    return {"length": posted(plane, word), "chunked": in_chunks(plane, word)}


async def answered(scene: Scene, raw: bytes, words: list[str], cuts: list[int]) -> None:
    """One connection, these bytes, and an answer for each word in order; an empty one is of GET /health."""
    async with scene.connect() as client:
        await client.send(raw, cuts)
        for word in words:
            answer = await client.answer()
            assert (answer.status, answer.closes) == (200, False), (answer, cuts)
            assert word.encode() in answer.body, (word, answer.body, cuts)
            if word:
                assert not [other for other in words if other not in word and other.encode() in answer.body], answer
    assert sorted(scene.reached()) == sorted(filter(None, words)), cuts


@PLANE
@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_request_in_two_packets_cut_anywhere(scene: Scene, plane: str, framing: str) -> None:
    raw = requests(plane, "first-word")[framing]
    async with scene.connect() as client:
        for cut in range(1, len(raw)):
            await client.send(raw, [cut])
            answer = await client.answer("POST")
            assert (answer.status, answer.closes) == (200, False), (cut, answer)
            assert scene.reached() == ["first-word"], cut
    await scene.assert_alive()


async def test_a_get_in_two_packets_cut_anywhere(scene: Scene) -> None:
    raw = got("Accept: application/json")
    async with scene.connect() as client:
        for cut in range(1, len(raw)):
            await client.send(raw, [cut])
            answer = await client.answer()
            assert (answer.status, answer.closes) == (200, False), (cut, answer)
    await scene.assert_alive()


@PLANE
@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_packet_for_each_byte(scene: Scene, plane: str, framing: str) -> None:
    raw = requests(plane, "first-word")[framing]
    await answered(scene, raw, ["first-word"], list(range(len(raw))))
    await scene.assert_alive()


TRAINS = {
    "api api": ["one", "two"],
    "get api": ["", "two"],
    "api get": ["one", ""],
    "get get": ["", ""],
    "api api api": ["one", "two", "three"],
    "get api get": ["", "two", ""],
    "api get api": ["one", "", "three"],
    "proxy api": ["proxy-one", "two"],
    "api proxy": ["one", "proxy-two"],
    "proxy get proxy": ["proxy-one", "", "proxy-three"],
    "proxy api get": ["proxy-one", "two", ""],
}


def train(words: list[str], framing: str) -> bytes:
    """Requests one behind the other."""
    planes = ["proxy" if word.startswith("proxy") else "api" for word in words]
    return b"".join(
        requests(plane, word)[framing] if word else got() for plane, word in zip(planes, words, strict=True)
    )


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("name", TRAINS)
async def test_requests_in_one_packet_are_answered_in_order_each_whole(scene: Scene, name: str, framing: str) -> None:
    await answered(scene, train(TRAINS[name], framing), TRAINS[name], [])
    await scene.assert_alive()


@pytest.mark.parametrize("name", ["api api", "get api", "api get", "proxy api", "api proxy"])
async def test_a_pair_cut_anywhere(scene: Scene, name: str) -> None:
    words = TRAINS[name]
    raw = train(words, "length")
    async with scene.connect() as client:
        for cut in range(1, len(raw)):
            await client.send(raw, [cut])
            for word in words:
                answer = await client.answer()
                assert answer.status == 200 and word.encode() in answer.body, (cut, answer)
            assert scene.reached() == [word for word in words if word], cut
    await scene.assert_alive()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_trains_cut_at_random(scene: Scene, data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(["", "api", "proxy"]), min_size=1, max_size=4))
    words = [f"{kind}-{number}" if kind else "" for number, kind in enumerate(kinds)]
    raw = train(words, data.draw(st.sampled_from(["length", "chunked"])))
    await answered(scene, raw, words, data.draw(st.lists(st.integers(1, len(raw) - 1), max_size=12)))


async def test_many_requests_in_one_packet(scene: Scene) -> None:
    words = [f"word-{number:03}" if number % 3 else "" for number in range(100)]
    await answered(scene, train(words, "length"), words, [])
    await scene.assert_alive()


async def test_the_least_that_a_request_can_be(scene: Scene) -> None:
    await answered(scene, b"GET /health HTTP/1.1\r\n%s\r\n\r\n" % HOST.encode(), [""], [])
