"""Every failure a caller can see, and the one place where it becomes OpenAI's envelope.

Each class says who is at fault by its status: 4xx the caller, 502 and 504 the upstream, 429 and 503 nobody for long.
Any other exception that reaches the server is a bug, and is answered with a bare 500.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar

import orjson

_SECONDS = re.compile(r"[0-9]{1,20}")
_RETRY_AFTER_MOST_S = 3600  # an upstream's word, not to be taken for more


class ApiError(Exception):
    """An answer that is an error: `status`, OpenAI's `type`, and what the caller should change.

    `param` names the offending field, `code` is machine-readable, `retry_after_s` becomes `Retry-After` (seconds).
    `says_when`: that was said, and is not what is usual. `theirs`: its words are an upstream's, and not ours.
    `upstream_status`: what that answered, where our status does not tell.
    """

    status: ClassVar[int] = 500
    type: str = "server_error"
    usual_retry_after_s: ClassVar[int | None] = None
    theirs: bool = False
    upstream_status: int | None = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.says_when = retry_after_s is not None
        self.retry_after_s = retry_after_s if self.says_when else self.usual_retry_after_s
        self.extra_headers = dict(headers or {})

    def headers(self) -> dict[str, str]:
        """The response headers that belong to this error."""
        found = dict(self.extra_headers)
        if self.retry_after_s is not None:
            found["Retry-After"] = str(self.retry_after_s)
        return found

    def envelope(self) -> dict[str, Any]:
        """OpenAI's error object."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": error}

    def body(self) -> bytes:
        """The envelope as JSON."""
        return orjson.dumps(self.envelope())


class BadRequest(ApiError):
    status = 400
    type = "invalid_request_error"


class Unauthorized(ApiError):
    status = 401
    type = "authentication_error"

    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": "Bearer", **super().headers()}


class Forbidden(ApiError):
    status = 403
    type = "permission_error"


class NotFound(ApiError):
    status = 404
    type = "invalid_request_error"


class MethodNotAllowed(ApiError):
    status = 405
    type = "invalid_request_error"


class RequestTimeout(ApiError):
    status = 408
    type = "invalid_request_error"


class TooLarge(ApiError):
    status = 413
    type = "invalid_request_error"


class UnsupportedMedia(ApiError):
    status = 415
    type = "invalid_request_error"


class ExpectationFailed(ApiError):
    status = 417
    type = "invalid_request_error"


class TooManyRequests(ApiError):
    status = 429
    type = "rate_limit_error"
    usual_retry_after_s = 1


class Internal(ApiError):
    """A bug of ours. Its cause is logged and never shown."""


class BadUpstream(ApiError):
    """The upstream broke: it answered nonsense, or failed for reasons of its own."""

    status = 502
    type = "upstream_error"


class ConnectFailed(BadUpstream):
    """No connection could be made, so the upstream has not seen the request."""


class Reset(BadUpstream):
    """The connection went away, and nobody knows what the upstream did with the request."""


class Unavailable(ApiError):
    status = 503
    type = "unavailable_error"
    usual_retry_after_s = 5


class UpstreamTimeout(ApiError):
    """A named time limit fired while waiting for the upstream."""

    status = 504
    type = "timeout_error"


_BY_STATUS: Mapping[int, type[ApiError]] = {
    kind.status: kind
    for kind in (
        BadRequest,
        Unauthorized,
        Forbidden,
        NotFound,
        MethodNotAllowed,
        RequestTimeout,
        TooLarge,
        UnsupportedMedia,
        ExpectationFailed,
        TooManyRequests,
        BadUpstream,
        Unavailable,
        UpstreamTimeout,
    )
}


def unsupported(model: str, endpoint: str, served: Iterable[str]) -> BadRequest:
    """A model that is there and does not serve what was asked of it."""
    text = f"The model {model!r} does not serve {endpoint}; it serves {', '.join(sorted(served))}."
    return BadRequest(text, param="model", code="unsupported_endpoint")


def body_too_large(limit_bytes: int) -> TooLarge:
    """A body beyond the limit."""
    return TooLarge(f"The request body is larger than {limit_bytes} bytes, the limit here.", code="body_too_large")


def from_status(status: int, message: str, **details: Any) -> ApiError:
    """The error of our tree for an HTTP status; statuses we do not use become their class's plainest one."""
    kind = _BY_STATUS.get(status) or (BadRequest if 400 <= status < 500 else BadUpstream)
    return kind(message, **details)


def from_upstream(status: int, body: bytes, retry_after: str | None = None) -> ApiError:
    """An upstream's error answer, rendered anew: its message, param and code are kept where they are well-formed."""
    error = _error_object(body)
    message = error.get("message")
    if not isinstance(message, str) or not message:
        message = f"The upstream answered with status {status}."
    param, code, kind = error.get("param"), error.get("code"), error.get("type")
    made = from_status(
        status,
        message,
        param=param if isinstance(param, str) else None,
        code=code if isinstance(code, str) else None,
        retry_after_s=_seconds(retry_after),
    )
    made.theirs = True
    if isinstance(kind, str) and kind and 400 <= status < 500:
        made.type = kind
    return made


def _seconds(retry_after: str | None) -> int | None:
    """From now on, whether it is written in seconds or as a date."""
    if not retry_after:
        return None
    if _SECONDS.fullmatch(retry_after):
        return min(int(retry_after), _RETRY_AFTER_MOST_S)
    try:
        left_s = parsedate_to_datetime(retry_after).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return min(max(math.ceil(left_s), 0), _RETRY_AFTER_MOST_S)


def _error_object(body: bytes) -> dict[str, Any]:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    error = parsed.get("error") if isinstance(parsed, dict) else None
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else {}
