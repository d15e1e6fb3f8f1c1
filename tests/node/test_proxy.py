"""`/model/proxy` on a node: what passes to a model's own engine, what comes back, and what never passes."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from yarl import URL

from tests.fakes.external import External, external
from tests.node.agent import Agent, agent

PATHS = [
    "/embed", "/echo", "/echo/*", "/sum", "/both", "/hold", "/cut", "/flood", "/moved", "/packed", "/events",
    "/status/*", "/drop", "/ws",
]  # fmt: skip
BGE = {"X-GPUStack-Model": "bge-m3"}
SMOL = {"X-Waypost-Model": "smol"}
KEY = "engine-key"
LIMIT_BYTES = 16 * 1024 * 1024
GROWTH_BYTES = 8 * 1024 * 1024


class Scene:
    """A node with an external engine, and one of its own."""

    def __init__(self, node: Agent, engine: External, session: aiohttp.ClientSession) -> None:
        self.node = node
        self.engine = engine
        self.session = session

    def ask(self, method: str, path: str, **more: Any) -> Any:
        more.setdefault("headers", BGE)
        return self.session.request(method, URL(f"{self.node.url}/model/proxy{path}", encoded=True), **more)

    async def send(self, line: str) -> bytes:
        """A request line as it stands, which no client would write; returns the whole answer."""
        url = URL(self.node.url)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        head = f"{line}\r\nHost: x\r\nConnection: close\r\nX-Waypost-Model: bge-m3\r\nContent-Length: 0\r\n\r\n"
        writer.write(head.encode("latin-1"))
        answer = await asyncio.wait_for(reader.read(), 90)
        writer.close()
        return answer

    def peak_bytes(self) -> int:
        """The most memory that the node's process has ever had."""
        status = Path(f"/proc/{self.node.program.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024

    async def told(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        async with self.ask(method, path, **more) as response:
            return response.status, await response.json()

    async def refused(self, method: str, path: str, **more: Any) -> tuple[int, str | None, str]:
        async with self.ask(method, path, **more) as response:
            error = (await response.json())["error"]
            assert set(error) == {"message", "type", "param", "code"}
            return response.status, error["code"], error["message"]


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> AsyncIterator[Scene]:
    folder = tmp_path_factory.mktemp("proxy")
    async with external(folder) as engine:
        (folder / "key").write_text(KEY)
        theirs = {"uri": f"openai+{engine.url}", "proxy": PATHS, "key_file": str(folder / "key"), "aliases": ["bge"]}
        models: dict[str, dict[str, Any]] = {
            "bge-m3": theirs,
            "smol": {"uri": str(weights)},
            "closed": {"uri": f"openai+{engine.url}"},
        }
        async with agent(folder, models, gap_s=2.0, upload_limit_bytes=LIMIT_BYTES) as node, session() as client:
            yield Scene(node, engine, client)


@contextlib.asynccontextmanager
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that decodes nothing and follows nothing of its own accord."""
    async with aiohttp.ClientSession(auto_decompress=False) as made:
        yield made


async def test_the_peers_example_works(scene: Scene) -> None:
    status, vectors = await scene.told("POST", "/embed", json={"inputs": ["a", "b"]})
    assert (status, len(vectors), len(vectors[0])) == (200, 2, 4)


async def test_tokens_make_the_round_trip_through_llama_server(scene: Scene) -> None:
    for text in ("Hello, world!", "Grüße aus Köln 🙂", "  two  spaces\n"):
        status, made = await scene.told("POST", "/tokenize", headers=SMOL, json={"content": text})
        assert status == 200
        assert all(isinstance(token, int) for token in made["tokens"])
        status, back = await scene.told("POST", "/detokenize", headers=SMOL, json={"tokens": made["tokens"]})
        assert (status, back["content"]) == (200, text)


async def test_a_template_is_rendered_by_llama_server(scene: Scene) -> None:
    body = {"model": "smol", "messages": [{"role": "user", "content": "Hi there"}]}
    status, made = await scene.told("POST", "/apply-template", headers={}, json=body)
    assert status == 200
    assert "<|im_start|>user\nHi there<|im_end|>" in made["prompt"]


async def test_what_llama_server_says_of_a_bad_request_is_the_callers_fault(scene: Scene) -> None:
    status, _, message = await scene.refused("POST", "/detokenize", headers=SMOL, data=b"{")
    assert (status, bool(message)) == (400, True)
    assert (await scene.told("POST", "/tokenize", headers=SMOL, json={"content": "x"}))[0] == 200


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/cat.png", "file:///etc/passwd"])
async def test_media_is_named_by_no_address_here_either(scene: Scene, url: str) -> None:
    content = [{"type": "image_url", "image_url": {"url": url}}]
    body = orjson.dumps({"messages": [{"role": "user", "content": content}]})
    for kind in ("application/json", "text/plain"):
        headers = {**SMOL, "Content-Type": kind}
        status, code, _ = await scene.refused("POST", "/apply-template", headers=headers, data=body)
        assert (status, code) == (400, "remote_media")


@pytest.mark.parametrize("path", ["/slots", "/props", "/v1/chat/completions", "/health", "/metrics", "/tokenize/x"])
async def test_nothing_else_of_llama_server_is_open(scene: Scene, path: str) -> None:
    status, code, message = await scene.refused("POST", path, headers=SMOL, json={})
    assert (status, code) == (403, "path_not_allowed")
    assert f'proxy = ["{path}"]' in message


async def test_a_model_with_no_open_path_has_no_proxy(scene: Scene) -> None:
    status, code, _ = await scene.refused("POST", "/embed", headers={"X-Waypost-Model": "closed"}, json={})
    assert (status, code) == (400, "unsupported_endpoint")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_all_methods_pass_with_query_and_body_unchanged(scene: Scene, method: str) -> None:
    target = "/echo/a;b=%C3%BC/c+d?q=%2F..%2f&x=a+b&&y"
    body = bytes(range(256))
    status, seen = await scene.told(method, target, data=body, headers={**BGE, "Content-Type": "application/x-own"})
    assert (status, seen["method"], seen["target"]) == (200, method, target)
    assert base64.b64decode(seen["body"]) == body
    assert seen["headers"]["Content-Type"] == "application/x-own"
    assert (await scene.told(method, "/echo"))[1]["body"] == "", "and without a body"


async def test_head_has_no_body_and_the_length_that_get_has(scene: Scene) -> None:
    async with scene.ask("HEAD", "/echo") as response:
        assert (response.status, await response.read()) == (200, b"")
        assert int(response.headers["Content-Length"]) > 100


async def test_only_named_headers_pass_in_either_direction(scene: Scene) -> None:
    sent = {
        **BGE, "Authorization": "Bearer secret", "Cookie": "c=1", "X-Waypost-Token": "x", "X-Forwarded-For": "1.2.3.4",
        "Accept": "text/x", "X-Request-Id": "my-id", "User-Agent": "me",
    }  # fmt: skip
    async with scene.ask("POST", "/echo", headers=sent, data=b"x") as response:
        seen = {name.lower(): value for name, value in (await response.json())["headers"].items()}
        assert not {"Set-Cookie", "Location", "Access-Control-Allow-Origin", "X-Own"} & set(response.headers)
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Waypost-Node"] == scene.node.key
    named = {"accept", "authorization", "content-length", "content-type", "x-request-id"}
    assert set(seen) - {"host", "connection", "accept-encoding"} == named
    assert (seen["accept"], seen["x-request-id"], seen["authorization"]) == ("text/x", "my-id", f"Bearer {KEY}")


def multipart(*fields: tuple[str, str]) -> tuple[bytes, dict[str, str]]:
    parts = (f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in fields)
    return "".join(parts).encode() + b"--b--\r\n", {"Content-Type": 'multipart/form-data; boundary="b"'}


async def test_the_model_is_found_in_a_header_then_in_json_then_in_a_form(scene: Scene) -> None:
    body = b'{"x": 1,  "model":"bge" }'
    status, seen = await scene.told("POST", "/echo", data=body, headers={"Content-Type": "application/json"})
    assert (status, base64.b64decode(seen["body"])) == (200, body)
    form, headers = multipart(("x", "1"), ("model", "bge-m3"), ("x", "2"))
    status, seen = await scene.told("POST", "/echo", data=form, headers=headers)
    assert (status, base64.b64decode(seen["body"]), seen["headers"]["Content-Type"]) == (
        200,
        form,
        headers["Content-Type"],
    )
    both = {"X-Waypost-Model": "bge-m3", "X-GPUStack-Model": "nobody"}
    assert (await scene.told("POST", "/echo", headers=both, json={"model": "no matter"}))[0] == 200


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"", {}, 400, "missing_model"),
        (b"x", {"Content-Type": "text/plain"}, 400, "missing_model"),
        (b"{}", {"Content-Type": "application/json"}, 400, "missing_model"),
        (b'{"model": 7}', {"Content-Type": "application/json"}, 400, "invalid_type"),
        (b"[]", {"Content-Type": "application/json"}, 400, "invalid_json"),
        (b"{", {"Content-Type": "application/json"}, 400, "invalid_json"),
        (*multipart(("x", "1")), 400, "missing_model"),
        (b"x", BGE | {"Content-Encoding": "gzip"}, 415, "unsupported_encoding"),
        (b"x", {"X-Waypost-Model": "nobody"}, 404, "model_not_found"),
        (b"x" * (LIMIT_BYTES + 1), BGE, 413, "body_too_large"),
    ],
    ids=["nothing", "text", "no field", "a number", "a list", "half", "no part", "gzip", "unknown", "too large"],
)
async def test_bad_requests_are_refused_before_the_engine_is_asked(
    scene: Scene, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    before = await scene.engine.asked()
    found = await scene.refused("POST", "/echo", data=body, headers=headers)
    assert found[:2] == (status, code), found
    assert await scene.engine.asked() == before


async def test_a_streamed_body_is_cut_off_at_the_limit(scene: Scene) -> None:
    async def endless() -> AsyncIterator[bytes]:
        with contextlib.suppress(ConnectionError):
            for _ in range(2 * LIMIT_BYTES // 65536):
                yield b"x" * 65536

    assert (await scene.refused("POST", "/sum", data=endless()))[:2] == (413, "body_too_large")


@pytest.mark.parametrize(
    "path",
    [
        "/echo/../secret", "/echo/%2e%2e/secret", "/echo/..%2fsecret", "/echo/%2Fsecret", "//secret", "/echo//x",
        "/echo/..;/secret", "/echo/%5c..%5csecret", "/echo/a%00b", "/echo/%252e%252e/secret", "/echo/%ff", "/echo/.",
        "/echo/a%0d%0ab",
    ],
)  # fmt: skip
async def test_paths_that_could_be_read_differently_are_refused(scene: Scene, path: str) -> None:
    before = await scene.engine.asked()
    raw = await scene.send(f"POST /model/proxy{path} HTTP/1.1")
    assert raw.startswith(b"HTTP/1.1 400 "), raw
    assert b'"code":"invalid_path"' in raw
    assert await scene.engine.asked() == before


async def test_a_redirect_is_not_followed(scene: Scene) -> None:
    before = await scene.engine.asked()
    assert (await scene.refused("GET", "/moved"))[:2] == (502, "redirected")
    assert await scene.engine.asked() == [*before, "GET /moved"]


async def test_an_answer_that_is_compressed_unasked_is_no_answer(scene: Scene) -> None:
    assert (await scene.refused("GET", "/packed"))[:2] == (502, "upstream_encoding")


@pytest.mark.parametrize(
    ("status", "ours"), [(400, 400), (404, 404), (409, 400), (422, 400), (429, 429), (401, 502), (500, 502), (503, 503)]
)
async def test_the_engines_errors_are_rendered_anew(scene: Scene, status: int, ours: int) -> None:
    found = await scene.refused("POST", f"/status/{status}", json={})
    assert found[0] == ours
    assert ("so it is" if status != 401 else "does not take this node's key") in found[2]


async def test_errors_in_the_words_of_tei_are_kept(scene: Scene) -> None:
    status, _, message = await scene.refused("POST", "/embed", json={"inputs": []})
    assert (status, message) == (400, "`inputs` cannot be empty")


async def test_bytes_stream_both_ways_at_once(scene: Scene) -> None:
    to_send: asyncio.Queue[bytes] = asyncio.Queue()

    async def pieces() -> AsyncIterator[bytes]:
        while piece := await to_send.get():
            yield piece

    await to_send.put(b"one")
    async with scene.ask("POST", "/both", data=pieces()) as response:
        assert await response.content.readany() == b"ONE"
        await to_send.put(b"two")
        assert await response.content.readany() == b"TWO", "the second piece was sent after the first had come back"
        await to_send.put(b"")
        assert await response.read() == b""


async def test_events_pass_as_they_come(scene: Scene) -> None:
    async with scene.ask("GET", "/events") as response:
        assert response.content_type == "text/event-stream"
        assert response.headers["X-Accel-Buffering"] == "no"
        assert await response.read() == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"


async def test_an_answer_that_breaks_off_never_looks_complete(scene: Scene) -> None:
    for path in ("/cut", "/hold"):
        async with scene.ask("GET", path) as response:
            assert response.status == 200
            with pytest.raises((aiohttp.ClientPayloadError, ConnectionError)):
                await response.read()


async def test_a_post_that_the_engine_drops_is_not_sent_twice(scene: Scene) -> None:
    for method in ("POST", "PUT", "DELETE"):
        before = await scene.engine.asked()
        assert (await scene.refused(method, "/drop", json={}))[0] == 502
        assert await scene.engine.asked() == [*before, f"{method} /drop"]


async def test_a_client_that_leaves_ends_the_engines_work(scene: Scene) -> None:
    async with scene.ask("GET", "/hold") as response:
        assert await response.content.readany() == b"begun"
        await scene.engine.has_open(1)
    await scene.engine.has_open(0)


async def test_a_slow_reader_holds_the_engine_up_and_costs_no_memory(scene: Scene) -> None:
    before = scene.peak_bytes()
    async with scene.ask("GET", "/flood?pieces=1600") as response:  # 100 MiB that nobody reads
        await response.content.readany()
        await scene.engine.is_held_up()
        assert scene.peak_bytes() - before < GROWTH_BYTES


async def test_a_large_body_passes_whole_and_costs_no_memory(scene: Scene) -> None:
    before = scene.peak_bytes()
    for _ in range(3):
        status, seen = await scene.told("POST", "/sum", data=b"x" * LIMIT_BYTES)
        assert (status, seen) == (200, {"size": LIMIT_BYTES, "sha256": hashlib.sha256(b"x" * LIMIT_BYTES).hexdigest()})
    assert scene.peak_bytes() - before < GROWTH_BYTES
