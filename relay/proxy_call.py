"""One request to the generic proxy, read: which model, which path, and a body that is sent on.

The body streams where a header names the model; else it must be read first, and so it is held. Not here: sending it
(proxying).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from aiohttp import web

from relay.call import BodyLimits, parse_object
from relay.errors import ApiError, BadRequest, ConnectFailed, MethodNotAllowed, TooManyRequests, body_too_large
from relay.form import read_form
from relay.http import MODEL_HEADER
from relay.incoming import Incoming, Taken, check_encoding, next_piece, read_body
from relay.target import Target

PEERS_MODEL_HEADER = "X-GPUStack-Model"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
SAFE = ("GET", "HEAD")
_PASSED_ON = ("Accept", "Accept-Language", "Content-Language", "Content-Type", "Last-Event-ID")
_FIX = (
    f'Name the model: in the header {MODEL_HEADER} or {PEERS_MODEL_HEADER}, as "model" in a JSON body, or as the field '
    "model of a multipart form."
)


class Body:
    """What is sent on. `pieces` may be asked for again while it is `untouched`: what is held always is."""

    def __init__(self, length: int | None, source: Callable[[], AsyncIterator[bytes]], *, flows: bool) -> None:
        self.length = length
        self.untouched = True
        self.failure: ApiError | None = None  # what is wrong with it, where that was found while it was sent
        self.on_piece: Callable[[], None] = lambda: None
        self._source = source
        self._flows = flows

    async def pieces(self) -> AsyncIterator[bytes]:
        """Its bytes. Raises ApiError where they break off."""
        self.untouched = self.untouched and not self._flows
        try:
            async for piece in self._source():
                self.on_piece()
                yield piece
        except ApiError as error:
            self.failure = error
            raise


@dataclass(frozen=True)
class ProxyCall:
    """One request to an engine. `headers` are the few that pass on; a websocket is a GET without a body."""

    method: str
    target: Target
    model: str
    request_id: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    websocket: bool = False

    def may_go_elsewhere(self, error: ApiError) -> bool:
        """Whether another node may be asked after this failure."""
        if self.body is not None and not self.body.untouched:
            return False
        if isinstance(error, ConnectFailed | TooManyRequests):
            return True
        return self.method in SAFE and error.status >= 500


@asynccontextmanager
async def read(request: web.Request, limits: BodyLimits, stalled_s: float) -> AsyncIterator[ProxyCall]:
    """The request, for as long as the context lasts. Raises ApiError 400, 405, 413 or 415 that names the fix."""
    target = Target.of(request)
    if request.method not in METHODS:
        allowed = ", ".join(METHODS)
        text = f"{request.method} is not proxied; use {allowed}."
        raise MethodNotAllowed(text, code="method_not_allowed", headers={"Allow": allowed})
    incoming = Taken(request, stalled_s)
    check_encoding(request.headers)
    headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
    named = request.headers.get(MODEL_HEADER) or request.headers.get(PEERS_MODEL_HEADER)
    if named:
        body = _flowing(incoming, limits.upload_bytes) if request.body_exists else None
        websocket = is_websocket(request)
        yield ProxyCall(request.method, target, named, incoming.request_id, headers, body, websocket)
    elif request.content_type == "multipart/form-data":
        with await read_form(incoming, limits.upload_bytes) as form:
            body = Body(form.size, form.pieces, flows=False)
            headers["Content-Type"] = form.content_type
            yield ProxyCall(request.method, target, _model(form.text("model")), incoming.request_id, headers, body)
    elif request.content_type == "application/json" and request.body_exists:
        raw = await read_body(incoming, limits.json_bytes)
        body = Body(len(raw), lambda: once(raw), flows=False)
        model = _model(parse_object(raw).get("model"))
        yield ProxyCall(request.method, target, model, incoming.request_id, headers, body)
    else:
        raise _model_missing()


async def checked(call: ProxyCall, check: Callable[[bytes], None], limit_bytes: int) -> ProxyCall:
    """The call with its body held, once `check` has seen all of it. Raises ApiError as that does, or 413."""
    if call.body is None or call.method in SAFE:
        return replace(call, body=None)
    raw = bytearray()
    async for piece in call.body.pieces():
        raw += piece
        if len(raw) > limit_bytes:
            raise body_too_large(limit_bytes)
    whole = bytes(raw)
    check(whole)
    return replace(call, body=Body(len(whole), lambda: once(whole), flows=False))


def is_websocket(request: web.Request) -> bool:
    """Whether the client wants to go on with a websocket."""
    return request.method == "GET" and request.headers.get("Upgrade", "").lower() == "websocket"


def _flowing(incoming: Incoming, limit_bytes: int) -> Body:
    if (incoming.content_length or 0) > limit_bytes:
        raise body_too_large(limit_bytes)

    async def pieces() -> AsyncIterator[bytes]:
        read = 0
        while piece := await next_piece(incoming):
            read += len(piece)
            if read > limit_bytes:
                raise body_too_large(limit_bytes)
            yield piece

    return Body(incoming.content_length, pieces, flows=True)


async def once(raw: bytes) -> AsyncIterator[bytes]:
    """The bytes in one piece, if there are any."""
    if raw:
        yield raw


def _model(given: object) -> str:
    if given is not None and not isinstance(given, str):
        raise BadRequest("'model' must be a string.", param="model", code="invalid_type")
    if not given:
        raise _model_missing()
    return given


def _model_missing() -> BadRequest:
    return BadRequest(_FIX, param="model", code="missing_model")
