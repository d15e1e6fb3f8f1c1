"""The HTTP server and client as this house uses them: every aiohttp default is chosen here and nowhere else.

Not here: what a request means (`call`), how bytes are relayed (`stream`), which routes exist (node and gateway).
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import aiohttp
from aiohttp import web

from relay.errors import ApiError, Internal, MethodNotAllowed, NotFound, TooLarge, from_status

log = logging.getLogger("waypost.http")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Observer = Callable[[str, str, int, float], None]

MODEL = web.RequestKey("model", str)
REQUEST_ID = web.RequestKey("request_id", str)
NODE_HEADER = "Waypost-Node"
ANSWERING_MODEL_HEADER = "Waypost-Model"
MODEL_HEADER = "X-Waypost-Model"
LOAD_HEADER = "Waypost-Load"
EXTRA = web.RequestKey("extra", dict[str, str])  # headers of this one answer
FIXED = web.AppKey("fixed", Mapping[str, str])
TOKEN_HEADER = "X-Waypost-Token"  # noqa: S105 - a header's name

_CLIENT_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_KEEPALIVE_CLIENT_S = 15.0  # well under the server's, so that a pooled connection is not closed as we send
_BUFFER_BYTES = 64 * 1024
_HEADERS = {"Server": "waypost", "X-Content-Type-Options": "nosniff"}
_POLLED = ("/health", "/metrics")  # asked again and again by machines


def make_app(
    routes: Sequence[web.AbstractRouteDef],
    *,
    body_limit_bytes: int,
    headers: Mapping[str, str] | None = None,
    observe: Observer | None = None,
) -> web.Application:
    """An application whose every answer carries a request id and whose every error is OpenAI's envelope.

    `headers` go onto every response. `observe(route, model, status, seconds)` is told of each finished request; the
    model is empty where none was found.
    """
    app = web.Application(client_max_size=body_limit_bytes, middlewares=[_middleware(observe)])
    app.add_routes(routes)
    fixed = {**_HEADERS, **(headers or {})}
    app[FIXED] = fixed

    async def finish_headers(request: web.Request, response: web.StreamResponse) -> None:
        if isinstance(response, web.HTTPException):  # raised by aiohttp before our middleware: an unknown Expect
            _say_anew(response, _translate(request, response))
        response.headers["X-Request-Id"] = request.get(REQUEST_ID) or request_id(request.headers)
        response.headers.update(fixed)
        response.headers.update(request.get(EXTRA) or {})
        if request.body_exists and not request.content.is_eof():
            response.headers["Connection"] = "close"  # what is still to come of the body will not be read
            response.force_close()

    app.on_response_prepare.append(finish_headers)
    return app


def _middleware(
    observe: Observer | None,
) -> Callable[..., Awaitable[web.StreamResponse]]:
    @web.middleware
    async def errors_and_ids(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.monotonic()
        request[REQUEST_ID] = request_id(request.headers)
        status = 499  # the client left: nobody is there to read another one
        try:
            response = await _answer(request, handler)
            status = response.status
            return response
        finally:
            seconds = time.monotonic() - started
            level = logging.DEBUG if request.path in _POLLED else logging.INFO
            log.log(
                level,
                "%s %s %s %d %.3fs",
                request[REQUEST_ID],
                request.method,
                request.rel_url.raw_path,
                status,
                seconds,
            )
            if observe is not None:
                observe(_route_of(request), request.get(MODEL, ""), status, seconds)

    return errors_and_ids


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ApiError as error:
        return error_response(error)
    except web.HTTPException as error:
        # aiohttp keeps the exception, whose traceback leads to where that is kept: a circle, with all of the connection
        return error_response(_translate(request, error.with_traceback(None)))
    except ConnectionError:
        raise  # the client is gone
    except Exception as error:
        log.exception("%s failed", request[REQUEST_ID])
        if request.writer.output_size:  # an answer has begun: another one would stand in its middle
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionAbortedError("the answer broke off") from error
        return error_response(Internal("The server failed to handle this request. It has been logged."))


def error_response(error: ApiError) -> web.Response:
    """The error as an HTTP response."""
    return web.Response(
        status=error.status, body=error.body(), content_type="application/json", headers=error.headers()
    )


def _translate(request: web.Request, error: web.HTTPException) -> ApiError:
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        message = f"{request.method} is not allowed on {request.path}; use {allowed}."
        return MethodNotAllowed(message, code="method_not_allowed", headers={"Allow": allowed})
    if isinstance(error, web.HTTPNotFound):
        return NotFound(f"There is nothing at {request.method} {request.path}.", code="unknown_url")
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return TooLarge("The request body is too large.", code="body_too_large")
    return from_status(error.status, error.reason)


def _say_anew(response: web.Response, error: ApiError) -> None:
    response.body = error.body()
    response.content_type = "application/json"
    response.headers["Content-Length"] = str(len(error.body()))


def request_id(headers: Mapping[str, str]) -> str:
    """The client's own, if it is well-formed, else a new one."""
    given = headers.get("X-Request-Id", "")
    return given if _CLIENT_REQUEST_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"


def _route_of(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unknown"


def make_session(connector: aiohttp.BaseConnector, *, connect_s: float) -> aiohttp.ClientSession:
    """A client that adds nothing of its own: no cookies, no redirects by default, no decoding, no total time limit."""
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_s),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        read_bufsize=_BUFFER_BYTES,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
    )


def make_connector(resolver: aiohttp.abc.AbstractResolver | None = None) -> aiohttp.TCPConnector:
    """Pooled TCP connections to upstreams, as many as there are requests."""
    return aiohttp.TCPConnector(
        limit=0,
        keepalive_timeout=_KEEPALIVE_CLIENT_S,
        resolver=resolver,
        use_dns_cache=False,
        happy_eyeballs_delay=None,
    )


async def read_at_most(response: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    """The whole body, however many pieces it comes in. Raises aiohttp.ClientPayloadError for a longer one."""
    read = bytearray()
    async for piece in response.content.iter_any():
        read += piece
        if len(read) > limit_bytes:
            raise aiohttp.ClientPayloadError(f"more than {limit_bytes} bytes")
    return bytes(read)
