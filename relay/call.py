"""One API request, read once: which endpoint, which model, and the raw body that travels on unchanged.

The shape is checked here, so that neither a node nor an engine is troubled with what cannot be answered. Not here: who
answers, and whether the model exists.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import orjson

from relay.endpoints import JSON_BODY_LIMIT_BYTES, UPLOAD_LIMIT_BYTES, Endpoint
from relay.errors import (
    ApiError,
    BadRequest,
    Reset,
    TooManyRequests,
    UnsupportedMedia,
    UpstreamTimeout,
)
from relay.form import Form, read_form
from relay.incoming import Incoming, check_encoding, read_body

MOST_MODELS = 8  # that a request may name in `models`


@dataclass(frozen=True)
class BodyLimits:
    """Of one server, in bytes. An endpoint may have a smaller one."""

    json_bytes: int = JSON_BODY_LIMIT_BYTES
    upload_bytes: int = UPLOAD_LIMIT_BYTES

    def of(self, endpoint: Endpoint) -> int:
        return min(self.upload_bytes if endpoint.takes_form else self.json_bytes, endpoint.limit_bytes)


@dataclass(frozen=True)
class Call:
    """A request that can be sent to any node which offers `model` on `endpoint`. Leaving its context ends its form.

    `body` are the bytes of a JSON body; a multipart one is its `form`. `fields` is the JSON object. `fallbacks` are the
    models that may answer in the place of `model`, best first: a gateway's affair, and no node's.
    """

    endpoint: Endpoint
    model: str
    stream: bool
    request_id: str
    body: bytes = b""
    form: Form | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    fallbacks: tuple[str, ...] = ()

    @classmethod
    async def read(
        cls, incoming: Incoming, endpoint: Endpoint, limits: BodyLimits, *, keep_fields: bool = True
    ) -> Call:
        """Read and check the request's body. Raises ApiError 400, 413 or 415, naming the field and the fix.

        Without `keep_fields` the JSON object is forgotten once it is checked: it may take several times the room of
        the body.
        """
        if endpoint.takes_form:
            return await _read_form(incoming, endpoint, limits.of(endpoint))
        return await _read_json(incoming, endpoint, limits.of(endpoint), keep_fields)

    @property
    def content_type(self) -> str:
        return self.form.content_type if self.form is not None else "application/json"

    @property
    def size(self) -> int:
        """Of the body, in bytes."""
        return self.form.size if self.form is not None else len(self.body)

    def payload(self) -> bytes | AsyncIterator[bytes]:
        """The body, byte for byte, to be sent once; may be asked for again."""
        return self.form.pieces() if self.form is not None else self.body

    def may_go_elsewhere(self, error: ApiError) -> bool:
        """Whether another node may be asked after this failure: not where this one may still be at work on it."""
        if isinstance(error, Reset | UpstreamTimeout) and not self.endpoint.retry_after_silence:
            return False
        return error.status >= 500 or isinstance(error, TooManyRequests)

    def __enter__(self) -> Call:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.form is not None:
            self.form.close()


async def _read_json(incoming: Incoming, endpoint: Endpoint, limit_bytes: int, keep_fields: bool) -> Call:
    content_type = incoming.content_type
    if content_type != "application/json":
        raise UnsupportedMedia(
            f"Content-Type is {content_type!r}; send JSON with Content-Type: application/json.",
            code="unsupported_media_type",
        )
    check_encoding(incoming.headers)
    raw = await read_body(incoming, limit_bytes)
    body = parse_object(raw)
    model, *fallbacks = check_models(body)
    stream = body.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise BadRequest("'stream' must be true or false.", param="stream", code="invalid_type")
    assert endpoint.check is not None
    endpoint.check(body)
    fields = {name: value for name, value in body.items() if name not in endpoint.unkept} if keep_fields else {}
    return Call(endpoint, model, bool(stream), incoming.request_id, body=raw, fields=fields, fallbacks=tuple(fallbacks))


async def _read_form(incoming: Incoming, endpoint: Endpoint, limit_bytes: int) -> Call:
    form = await read_form(incoming, limit_bytes)
    try:
        model = check_model(form.text("model"))
        assert endpoint.check_form is not None
        endpoint.check_form(form)
    except BaseException:
        form.close()
        raise
    stream = (form.text("stream") or "").strip().lower() in ("true", "1")
    return Call(endpoint, model, stream, incoming.request_id, form=form)


def parse_object(raw: bytes) -> dict[str, Any]:
    """A JSON object. Raises ApiError 400 for anything else, invalid UTF-8 and absurd nesting included."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The request body is not valid JSON: {error}.", code="invalid_json") from error
    if not isinstance(body, dict):
        raise BadRequest("The request body must be a JSON object.", code="invalid_json")
    return body


def check_models(body: Mapping[str, Any]) -> list[str]:
    """What a request names as its model, and then, by `models`, what may answer instead; each once.

    The first of `models` is the model where `model` is left out. Raises BadRequest.
    """
    named = body.get("models")
    if named is None:
        return [check_model(body.get("model"))]
    if not isinstance(named, list) or len(named) > MOST_MODELS:
        message = f"'models' must be a list of at most {MOST_MODELS} names, best first."
        raise BadRequest(message, param="models", code="invalid_type")
    for index, name in enumerate(named):
        if not isinstance(name, str) or not name:
            where = f"models[{index}]"
            raise BadRequest(f"'{where}' must be a non-empty string.", param=where, code="invalid_type")
    first = named[0] if named and "model" not in body else check_model(body.get("model"))
    return list(dict.fromkeys([first, *named]))


def check_model(model: Any) -> str:
    """What a request names as its model. Raises BadRequest."""
    if model is None:
        raise BadRequest("You must provide a 'model'. GET /v1/models lists them.", param="model", code="missing_model")
    if not isinstance(model, str) or not model:
        raise BadRequest("'model' must be a non-empty string.", param="model", code="invalid_type")
    return model
