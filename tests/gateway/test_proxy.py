"""`/model/proxy` through a gateway and a node to an engine, and to another node where that may be."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from tests.gateway.adverts import offer
from tests.gateway.proxied_node import proxied_node
from tests.gateway.proxy_scene import BGE, MANNERS, METHODS, Scene, proxy_scene, refused
from tests.gateway.scene import new_scene
from tests.programs import waypost
from tests.stack import serve_gateway

UPLOAD_BYTES = 100 * 1024 * 1024
GROWTH_BYTES = 8 * 1024 * 1024


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with proxy_scene(tmp_path_factory.mktemp("proxy")) as made:
        yield made


@pytest.mark.parametrize("vm", [False, True])
async def test_the_peers_example_works_through_gateway_and_node(
    scene: Scene, session: aiohttp.ClientSession, vm: bool
) -> None:
    url = scene.url("/embed", f"/vm/{scene.node}" if vm else "")
    async with session.post(url, headers=BGE, json={"inputs": ["What is a dog?", "Woof"]}) as response:
        assert (response.status, response.headers["Waypost-Node"]) == (200, scene.node)
        assert [len(vector) for vector in await response.json()] == [4, 4]


async def test_the_model_may_stand_in_the_body_and_be_an_alias(scene: Scene, session: aiohttp.ClientSession) -> None:
    async with session.post(scene.url("/echo/x?y=%2F"), json={"model": "bge"}) as response:
        seen = await response.json()
        assert (response.status, seen["target"]) == (200, "/echo/x?y=/")
    form = aiohttp.FormData()
    form.add_field("file", b"x" * 2_000_000, filename="f")
    form.add_field("model", "bge-m3")
    async with session.post(scene.url("/sum"), data=form) as response:
        assert (response.status, (await response.json())["size"] > 2_000_000) == (200, True)


async def test_a_path_that_is_not_open_is_told_by_the_node(scene: Scene, session: aiohttp.ClientSession) -> None:
    async with session.post(scene.url("/secret"), headers=BGE, json={}) as response:
        status, code, message = await refused(response)
    assert (status, code) == (403, "path_not_allowed")
    assert 'proxy = ["/secret"]' in message


async def test_the_engines_words_come_through_both_hops(scene: Scene, session: aiohttp.ClientSession) -> None:
    for status, ours in ((404, 404), (422, 400), (401, 502), (500, 502)):
        async with session.post(scene.url(f"/status/{status}"), headers=BGE, json={}) as response:
            found = await refused(response)
        assert found[0] == ours
        assert ("so it is" if status != 401 else "does not take this node's key") in found[2]


@pytest.mark.parametrize(
    ("headers", "path", "status", "code"),
    [
        ({}, "/embed", 400, "missing_model"),
        ({"X-Waypost-Model": "nobody"}, "/embed", 404, "model_not_found"),
        ({"X-Waypost-Model": "chat-only"}, "/embed", 400, "unsupported_endpoint"),
        (BGE, "/a%2Fb", 400, "invalid_path"),
    ],
)
async def test_bad_requests_reach_no_node(
    scene: Scene, session: aiohttp.ClientSession, headers: dict[str, str], path: str, status: int, code: str
) -> None:
    async with session.get(URL(scene.url(path), encoded=True), headers=headers) as response:
        assert (await refused(response))[:2] == (status, code)


UNHARMED = ("429", "dead")  # had nothing to do with the request
FAILED = {"drop": 502, "500": 502, "503": 503, "429": 429, "401": 502, "403": 502, "404": 404, "dead": 503}


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("method", METHODS)
async def test_another_node_is_asked_as_far_as_the_table_says(
    scene: Scene, session: aiohttp.ClientSession, method: str, manner: str
) -> None:
    again = manner in UNHARMED or (method in ("GET", "HEAD") and manner != "404")
    before = len(scene.good.asked)
    url, headers = scene.url("/a"), {"X-Waypost-Model": f"{manner}-or-good"}
    seen = []
    for _ in range(2):  # one of them goes to the bad one first
        async with session.request(method, url, headers=headers) as response:
            seen.append(response.status)
    assert set(seen) <= {200, FAILED[manner]}
    assert (200 in seen) and (len(scene.good.asked) > before)
    if again:
        assert seen == [200, 200]
    async with session.request(method, url, headers={"X-Waypost-Model": f"{manner}-only-{method}"}) as response:
        assert response.status == FAILED[manner]


async def test_a_body_that_was_sent_in_part_is_not_sent_again(scene: Scene, session: aiohttp.ClientSession) -> None:
    asked = len(scene.good.asked)
    headers = {"X-Waypost-Model": "429-only-POST"}
    async with session.post(scene.url("/a"), headers=headers, data=b"once") as response:
        assert response.status == 429
    assert scene.bad["429"].asked.count("POST once") == 1
    assert len(scene.good.asked) == asked


async def test_bytes_stream_both_ways_at_once(scene: Scene, session: aiohttp.ClientSession) -> None:
    to_send: asyncio.Queue[bytes] = asyncio.Queue()

    async def pieces() -> AsyncIterator[bytes]:
        while piece := await to_send.get():
            yield piece

    await to_send.put(b"one")
    async with session.post(scene.url("/both"), headers=BGE, data=pieces()) as response:
        assert await response.content.readany() == b"ONE"
        await to_send.put(b"two")
        assert await response.content.readany() == b"TWO"
        await to_send.put(b"")
        assert await response.read() == b""


async def test_a_large_upload_and_a_slow_reader_cost_no_memory(scene: Scene, session: aiohttp.ClientSession) -> None:
    digest = hashlib.sha256()

    async def pieces() -> AsyncIterator[bytes]:
        block = bytes(range(256)) * 1024
        for _ in range(UPLOAD_BYTES // len(block)):
            digest.update(block)
            yield block

    before = scene.peak_bytes()
    async with session.post(scene.url("/sum"), headers=BGE, data=pieces()) as response:
        assert await response.json() == {"size": UPLOAD_BYTES, "sha256": digest.hexdigest()}
    async with session.get(scene.url("/flood?pieces=1600"), headers=BGE) as response:
        await response.content.readany()
        await scene.engine.is_held_up()
    assert scene.peak_bytes() - before < GROWTH_BYTES
    await scene.engine.has_open(0)


async def test_an_answer_that_breaks_off_never_looks_complete(scene: Scene, session: aiohttp.ClientSession) -> None:
    for path in ("/cut", "/hold"):
        async with session.get(scene.url(path), headers=BGE) as response:
            with pytest.raises((aiohttp.ClientPayloadError, ConnectionError)):
                await response.read()


async def test_a_client_that_leaves_ends_the_work_at_the_engine(scene: Scene, session: aiohttp.ClientSession) -> None:
    async with session.get(scene.url("/hold"), headers=BGE) as response:
        assert await response.content.readany() == b"begun"
        await scene.engine.has_open(1)
    await scene.engine.has_open(0)


async def test_a_key_opens_its_models_alone(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    stack, operator = new_scene(tmp_path)
    words = ("gateway", "key", "new", "guest", "--api-keys", "keys.json", "--models", "mine")
    key = (await waypost(*words, cwd=tmp_path)).split()[0]
    async with proxied_node("200") as node:
        offers = [offer(name, endpoints=["proxy"]) for name in ("mine", "theirs")]
        await operator.post(operator.sign(node.key, node.url, offers=offers))
        async with serve_gateway(stack, ("--api-keys", str(tmp_path / "keys.json")), proven=1):
            for shown, model, status in (("", "mine", 401), (key, "mine", 200), (key, "theirs", 403)):
                headers = {"X-Waypost-Model": model, "Authorization": f"Bearer {shown}"}
                url = f"{stack.gateway_url}/model/proxy/a"
                async with session.post(url, headers=headers, data=b"x") as response:
                    assert response.status == status
    assert node.asked == ["POST x"]
