"""The server as this house sets it up: ids, envelopes for everything, limits, and no trace of what went wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import orjson
import pytest
from aiohttp import web

from relay.errors import BadRequest, Unavailable
from relay.http import REQUEST_ID
from relay.options import parse_listen
from tests.programs import until
from tests.relay.serving import LIMIT_BYTES, Served, serving

SECRET = "secret-in-a-stack-trace"


async def _fine(request: web.Request) -> web.StreamResponse:
    return web.json_response({"id": request[REQUEST_ID]})


async def _refusing(_: web.Request) -> web.StreamResponse:
    raise BadRequest("Not like this.", param="n", code="odd")


async def _away(_: web.Request) -> web.StreamResponse:
    raise Unavailable("Later.", retry_after_s=5)


async def _broken(_: web.Request) -> web.StreamResponse:
    raise RuntimeError(SECRET)


async def _reading(request: web.Request) -> web.StreamResponse:
    return web.json_response({"size": len(await request.read())})


ROUTES = [
    web.get("/fine", _fine),
    web.get("/refusing", _refusing),
    web.get("/away", _away),
    web.get("/broken", _broken),
    web.post("/reading", _reading),
    web.put("/reading", _reading),
]


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving(ROUTES) as made:
        yield made


async def test_every_answer_has_a_request_id_and_the_fixed_headers(
    served: Served, session: aiohttp.ClientSession
) -> None:
    ids = set()
    for path in ("/fine", "/refusing", "/broken", "/nothing"):
        async with session.get(served.url + path) as response:
            ids.add(response.headers["X-Request-Id"])
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Server"] == "waypost"
    assert len(ids) == 4


async def test_a_clients_request_id_is_kept_if_it_is_well_formed(
    served: Served, session: aiohttp.ClientSession
) -> None:
    for given, kept in (
        ("abc-1.2_X", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("with space", False),
        ("é", False),
    ):
        async with session.get(f"{served.url}/fine", headers={"X-Request-Id": given}) as response:
            assert (response.headers["X-Request-Id"] == given) is kept
            assert (await response.json())["id"] == response.headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/refusing", 400, "odd"),
        ("GET", "/nothing", 404, "unknown_url"),
        ("GET", "/fine/", 404, "unknown_url"),
        ("DELETE", "/fine", 405, "method_not_allowed"),
        ("GET", "/broken", 500, None),
        ("GET", "/away", 503, None),
    ],
)
async def test_every_error_is_openais_envelope(
    served: Served, session: aiohttp.ClientSession, method: str, path: str, status: int, code: str | None
) -> None:
    async with session.request(method, served.url + path) as response:
        text = await response.text()
        assert (response.status, response.content_type) == (status, "application/json")
        error = orjson.loads(text)["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["code"] == code
        assert (response.headers.get("Retry-After") == "5") is (status == 503)


async def test_a_bug_is_a_bare_500(served: Served, session: aiohttp.ClientSession) -> None:
    async with session.get(f"{served.url}/broken") as response:
        text = await response.text()
    assert response.status == 500
    assert SECRET not in text
    assert "Traceback" not in text
    assert "RuntimeError" not in text


async def test_405_says_what_is_allowed(served: Served, session: aiohttp.ClientSession) -> None:
    async with session.get(f"{served.url}/reading") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "POST, PUT"
        assert "POST, PUT" in (await response.json())["error"]["message"]
    async with session.post(f"{served.url}/fine") as response:
        assert response.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(("path", "status"), [("/fine", 200), ("/refusing", 400), ("/nothing", 404), ("/reading", 405)])
async def test_head_answers_as_get_would_without_a_body(
    served: Served, session: aiohttp.ClientSession, path: str, status: int
) -> None:
    async with session.head(served.url + path) as response:
        assert response.status == status
        assert response.headers["X-Request-Id"]
        assert await response.read() == b""
    async with session.get(f"{served.url}/fine") as response:
        assert response.status == 200, "the connection is in order afterwards"


async def test_a_body_over_the_limit_is_413(served: Served, session: aiohttp.ClientSession) -> None:
    async with session.post(f"{served.url}/reading", data=b"x" * (LIMIT_BYTES + 1)) as response:
        assert response.status == 413
        assert (await response.json())["error"]["code"] == "body_too_large"


@pytest.mark.parametrize(
    "raw",
    [
        b"NONSENSE\r\n\r\n",
        b"GET /fine HTTP/9.9\r\n\r\n",
        b"GET /fine HTTP/1.1\r\nHost: x\r\nBroken header\r\n\r\n",
        b"GET /fine HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 20_000 + b"\r\n\r\n",
        b"POST /reading HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /fine HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: a-miracle\r\n\r\n",
    ],
    ids=["no HTTP", "a version", "a header", "a huge header", "a length", "an expectation"],
)
async def test_broken_http_is_the_clients_fault_and_openais_envelope(served: Served, raw: bytes) -> None:
    head, _, body = (await served.send(raw)).partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), head
    assert b"x-request-id" in head.lower()
    assert b"aiohttp" not in head
    assert set(orjson.loads(body)["error"]) == {"message", "type", "param", "code"}


async def test_each_request_is_observed_once_when_it_is_done(served: Served, session: aiohttp.ClientSession) -> None:
    for path in ("/fine", "/broken", "/nothing"):
        async with session.get(served.url + path):
            pass
    await until(
        lambda: served.observed == [("/fine", 200), ("/broken", 500), ("unknown", 404)], lambda: str(served.observed)
    )


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::1]:8800", ("::1", 8800)),
        ("localhost:65535", ("localhost", 65535)),
    ],
)
def test_listen_addresses(text: str, where: tuple[str, int]) -> None:
    assert parse_listen(text) == where


@pytest.mark.parametrize("text", ["", "8800", ":8800", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536"])
def test_what_is_no_listen_address_is_told_the_form(text: str) -> None:
    with pytest.raises(ValueError, match=r"write for example 127\.0\.0\.1:8800"):
        parse_listen(text)
