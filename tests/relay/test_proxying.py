"""What may be asked behind `/model/proxy`, and when a request may go to another node: no socket needed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from relay.errors import (
    ApiError,
    BadRequest,
    BadUpstream,
    ConnectFailed,
    Reset,
    TooManyRequests,
    Unavailable,
    UpstreamTimeout,
)
from relay.proxying import Body, ProxyCall
from relay.target import Target


def target(raw: str) -> Target:
    """Of a request line."""
    request: web.Request = make_mocked_request("GET", raw)
    return Target.of(request)


@pytest.mark.parametrize(
    ("raw", "path", "sent"),
    [
        ("/model/proxy/embed", "/embed", "/embed"),
        ("/model/proxy/", "/", "/"),
        ("/model/proxy/a/", "/a/", "/a/"),
        ("/vm/slug/model/proxy/a", "/a", "/a"),
        ("http://host:1/model/proxy/a?b", "/a", "/a?b"),
        ("/model/proxy/%61%7e", "/a~", "/a~"),
        ("/model/proxy/%C3%BC%20x", "/ü x", "/%C3%BC%20x"),
        ("/model/proxy/a%3Fb%23c", "/a?b#c", "/a%3Fb%23c"),
        ("/model/proxy/a?q=%2e%2e/../%2F&&=?", "/a", "/a?q=%2e%2e/../%2F&&=?"),
        ("/model/proxy/model/proxy/x", "/model/proxy/x", "/model/proxy/x"),
    ],
)
def test_the_path_that_is_compared_is_the_one_that_is_sent(raw: str, path: str, sent: str) -> None:
    found = target(raw)
    assert (found.path, str(found.url("http://engine"))) == (path, "http://engine" + sent)


@pytest.mark.parametrize(
    "tail",
    [
        "..",
        "a/..",
        "%2e%2e",
        ".%2E",
        "a//b",
        "/a",
        "a%2Fb",
        "a%2fb",
        "a\\b",
        "a%5Cb",
        "%00",
        "%0a",
        "%7f",
        "%25",
        "%ff",
        "..;a/b",
    ],
)
def test_a_path_that_can_be_read_differently_is_none(tail: str) -> None:
    with pytest.raises(BadRequest) as caught:
        target(f"/model/proxy/{tail}")
    assert caught.value.code == "invalid_path"


@pytest.mark.parametrize("raw", ["/model/proxy", "/model%2Fproxy/a", "/other/model/proxy/a", "/model/proxy/ü"])
def test_what_is_not_behind_the_prefix_is_refused(raw: str) -> None:
    with pytest.raises(BadRequest):
        target(raw)


async def _pieces() -> AsyncIterator[bytes]:
    yield b"x"


def call(method: str, body: Body | None) -> ProxyCall:
    return ProxyCall(method, Target("/a"), "m", "id", body=body)


FAILURES: tuple[tuple[ApiError, bool, bool], ...] = (  # and whether it may go elsewhere: as POST, as GET
    (ConnectFailed("x"), True, True),
    (TooManyRequests("x"), True, True),
    (Reset("x"), False, True),
    (UpstreamTimeout("x"), False, True),
    (BadUpstream("x"), False, True),
    (Unavailable("x"), False, True),
    (BadRequest("x"), False, False),
)


@pytest.mark.parametrize(("error", "post", "get"), FAILURES, ids=lambda value: type(value).__name__)
async def test_only_what_cannot_have_been_done_is_asked_elsewhere(error: ApiError, post: bool, get: bool) -> None:
    held = Body(1, _pieces, flows=False)
    async for _ in held.pieces():
        assert held.untouched
    assert call("POST", held).may_go_elsewhere(error) is post
    for method in ("PUT", "DELETE", "OPTIONS"):
        assert call(method, None).may_go_elsewhere(error) is post
    for method in ("GET", "HEAD"):
        assert call(method, None).may_go_elsewhere(error) is get


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_body_that_has_begun_to_flow_is_never_asked_elsewhere(method: str) -> None:
    flowing = Body(None, _pieces, flows=True)
    assert call(method, flowing).may_go_elsewhere(ConnectFailed("x"))
    async for _ in flowing.pieces():
        assert not call(method, flowing).may_go_elsewhere(ConnectFailed("x"))
