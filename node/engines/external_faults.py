"""What an external engine's error answers mean, and whose fault they are: the caller's, the engine's, or this node's.

What was good here and is refused there tells of this node's settings: the operator reads why in the log, the caller
only that it is so. Not here: sending (external).
"""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlsplit

import orjson

from relay.errors import ApiError, BadUpstream, Unavailable, from_upstream

log = logging.getLogger("waypost.node")

_SAID_MOST_CHARS = 300
_HIDDEN = "[hidden]"
# status -> what the caller is told, and where the operator looks
_OURS = {
    401: ("it does not take this node's key", "check key_file"),
    402: ("it asks this node for payment", "check the account of key_file"),
    403: ("it does not take this node's key", "check key_file"),
    404: ("it does not know the model or the endpoint", "check upstream_model and endpoints"),
    405: ("it does not know the endpoint", "check endpoints"),
    407: ("a proxy stands before it", "give a URL that needs none"),
}
_REDIRECTS = ("it points elsewhere", "redirects are not followed: give the URL that it points to")


class Faults:
    """Those of one engine. Neither its key nor its address is ever shown."""

    def __init__(self, name: str, url: str, key: str | None) -> None:
        self._name = name
        self._secrets = tuple(secret for secret in (key, urlsplit(url).netloc) if secret)

    def judged(self, status: int, body: bytes, retry_after: str | None) -> ApiError:
        """The engine's answer, as an error of ours with its message kept where the caller can do something about it."""
        error = from_upstream(status, _openai(body), retry_after)
        error.message = self._clean(error.message)
        if status < 400 or status in _OURS:
            return self._refused(status, error.message)
        if isinstance(error, Unavailable):
            error.code = error.code or "engine_not_ready"
        elif status >= 500:
            error.code = error.code or "engine_failed"
        return error

    def proxied(self, status: int, body: bytes, retry_after: str | None) -> ApiError:
        """The same for a path of the generic proxy, which is the caller's own: a 403, 404 or 405 tells of that."""
        if status in (403, 404, 405):
            error = from_upstream(status, _openai(body), retry_after)
            error.message = self._clean(error.message)
            return error
        return self.judged(status, body, retry_after)

    def _refused(self, status: int, said: str) -> ApiError:
        why, fix = _OURS.get(status, _REDIRECTS)
        log.error("%s: the engine refuses with status %d (%s); %s", self._name, status, _line(said), fix)
        text = f"The engine of {self._name} refuses what this node sends: {why}. Its operator must see to that."
        return BadUpstream(text, code="engine_refused")

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return text


def _line(said: str) -> str:
    """Nobody else writes lines of our log."""
    return " ".join(said.split())[:_SAID_MOST_CHARS]


def _openai(body: bytes) -> bytes:
    """An error answer without an `error` object, put into one: SGLang has a bare `message`, FastAPI a `detail`."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
    if not isinstance(said, dict) or "error" in said:
        return body
    if isinstance(said.get("message"), str):
        return orjson.dumps({"error": said})
    return orjson.dumps({"error": {"message": _detail(said.get("detail"))}})


def _detail(detail: Any) -> str | None:
    if isinstance(detail, str):
        return detail
    if not isinstance(detail, list) or not detail or not isinstance(detail[0], dict):
        return None
    where = detail[0].get("loc")
    path = ".".join(str(step) for step in where if step != "body") if isinstance(where, list) else ""
    message = str(detail[0].get("msg", "is not valid"))
    return f"{path}: {message}" if path else message
