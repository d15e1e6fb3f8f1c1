"""One API request, read once: which endpoint, which model, and the raw body that travels on unchanged.

The shape is checked here, so that neither a node nor an engine is troubled with what cannot be answered. Not here: who
answers, and whether the model exists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from relay.embedding_input import check_embedding
from relay.errors import ApiError, BadRequest, TooLarge, UnsupportedMedia
from relay.http import REQUEST_ID

Check = Callable[[Mapping[str, Any]], None]
JSON_BODY_LIMIT_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class Endpoint:
    """One row of the protocol's table: `name` as offers write it, `path` below `/v1/`, and what may be retried."""

    name: str
    path: str
    check: Check
    retry_after_silence: bool
    done_marker: bytes = b""  # what a whole event stream ends with


@dataclass(frozen=True)
class Call:
    """A request that can be sent to any node which offers `model` on `endpoint`."""

    endpoint: Endpoint
    model: str
    body: bytes
    stream: bool
    request_id: str
    dimensions: int | None = None  # of an embedding, where they are asked for

    @classmethod
    async def read(cls, request: web.Request, endpoint: Endpoint, limit_bytes: int = JSON_BODY_LIMIT_BYTES) -> Call:
        """Read and check the request's JSON body. Raises ApiError 400, 413 or 415, naming the field and the fix."""
        if request.content_type != "application/json":
            raise UnsupportedMedia(
                f"Content-Type is {request.content_type!r}; send JSON with Content-Type: application/json.",
                code="unsupported_media_type",
            )
        _check_encoding(request)
        raw = await read_body(request, limit_bytes)
        body = parse_object(raw)
        model = _model(body)
        stream = body.get("stream")
        if stream is not None and not isinstance(stream, bool):
            raise BadRequest("'stream' must be true or false.", param="stream", code="invalid_type")
        _check_options(body)
        endpoint.check(body)
        dimensions = body.get("dimensions") if endpoint is EMBEDDINGS else None
        return cls(endpoint, model, raw, bool(stream), request[REQUEST_ID], dimensions)


def _check_encoding(request: web.Request) -> None:
    """aiohttp inflates silently, and the body would travel on without the header that said so."""
    for coding in ",".join(request.headers.getall("Content-Encoding", ["identity"])).split(","):
        if coding.strip().lower() not in ("", "identity"):
            raise UnsupportedMedia(
                "The body is compressed (Content-Encoding); send it as it is.", code="unsupported_encoding"
            )


async def read_body(request: web.Request, limit_bytes: int) -> bytes:
    """The whole body, at most `limit_bytes`. Raises ApiError 413, or 400 where the body is broken."""
    if request.content_length is not None and request.content_length > limit_bytes:
        raise _too_large(limit_bytes)
    read = bytearray()
    try:
        async for chunk in request.content.iter_any():
            read += chunk
            if len(read) > limit_bytes:
                raise _too_large(limit_bytes)
    except web.RequestPayloadError as error:
        raise BadRequest("The request body is broken: its framing or encoding is wrong.", code="broken_body") from error
    return bytes(read)


def parse_object(raw: bytes) -> dict[str, Any]:
    """A JSON object. Raises ApiError 400 for anything else, invalid UTF-8 and absurd nesting included."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The request body is not valid JSON: {error}.", code="invalid_json") from error
    if not isinstance(body, dict):
        raise BadRequest("The request body must be a JSON object.", code="invalid_json")
    return body


def _too_large(limit_bytes: int) -> ApiError:
    return TooLarge(f"The request body is larger than {limit_bytes} bytes, the limit here.", code="body_too_large")


def _model(body: Mapping[str, Any]) -> str:
    model = body.get("model")
    if model is None:
        raise BadRequest("You must provide a 'model'. GET /v1/models lists them.", param="model", code="missing_model")
    if not isinstance(model, str) or not model:
        raise BadRequest("'model' must be a non-empty string.", param="model", code="invalid_type")
    return model


_NUMBERS = ("temperature", "top_p", "frequency_penalty", "presence_penalty")
_INTEGERS = ("max_tokens", "max_completion_tokens", "n", "seed", "top_logprobs")
_OBJECTS = ("stream_options", "response_format", "logit_bias")


def _check_options(body: Mapping[str, Any]) -> None:
    for name in _NUMBERS:
        _require(body, name, lambda value: isinstance(value, int | float), "a number")
    for name in _INTEGERS:
        _require(body, name, lambda value: isinstance(value, int), "an integer")
    for name in _OBJECTS:
        _require(body, name, lambda value: isinstance(value, dict | list), "an object")
    _require(body, "tools", lambda value: isinstance(value, list), "a list")
    _require(body, "n", lambda value: value >= 1, "at least 1")
    _require(body, "stop", _is_stop, "a string or a list of strings")


def _require(body: Mapping[str, Any], name: str, good: Callable[[Any], bool], what: str) -> None:
    value = body.get(name)
    if value is not None and (isinstance(value, bool) or not good(value)):
        raise BadRequest(f"'{name}' must be {what}.", param=name, code="invalid_type")


def _is_stop(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(item, str) for item in value))


def _check_messages(body: Mapping[str, Any]) -> None:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("'messages' must be a non-empty list of messages.", param="messages", code="missing_messages")
    for index, message in enumerate(messages):
        _check_message(f"messages[{index}]", message)


def _check_message(where: str, message: Any) -> None:
    if not isinstance(message, dict):
        raise BadRequest(f"'{where}' must be an object with 'role' and 'content'.", param=where, code="invalid_type")
    role = message.get("role")
    if not isinstance(role, str) or not role:
        raise BadRequest(
            f"'{where}' needs a 'role', such as system, user or assistant.", param=f"{where}.role", code="missing_role"
        )
    content = message.get("content")
    if isinstance(content, list):
        good = all(isinstance(part, dict) and isinstance(part.get("type"), str) for part in content)
    else:
        good = content is None or isinstance(content, str)
    if not good:
        raise BadRequest(
            f"'{where}.content' must be a string or a list of typed parts.",
            param=f"{where}.content",
            code="invalid_type",
        )


def _check_prompt(body: Mapping[str, Any]) -> None:
    prompt = body.get("prompt")
    if prompt is None:
        raise BadRequest("You must provide a 'prompt'.", param="prompt", code="missing_prompt")
    if not (isinstance(prompt, str) or (isinstance(prompt, list) and prompt)):
        raise BadRequest("'prompt' must be a string or a non-empty list.", param="prompt", code="invalid_type")


CHAT = Endpoint("chat.completions", "chat/completions", _check_messages, True, b"data: [DONE]")
COMPLETIONS = Endpoint("completions", "completions", _check_prompt, True, b"data: [DONE]")
EMBEDDINGS = Endpoint("embeddings", "embeddings", check_embedding, True)
ENDPOINTS: Mapping[str, Endpoint] = {endpoint.name: endpoint for endpoint in (CHAT, COMPLETIONS, EMBEDDINGS)}
PREFIXES = ("/v1", "/v1-openai")
