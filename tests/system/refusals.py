"""What every refusal of a request must be like, whoever refuses it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

TRACES = ("Traceback", 'File "', "Errno", "<class ", "0x7f")


def refused(status: int, headers: Mapping[str, str], body: bytes, expected: int) -> dict[str, Any]:
    """The error of an answer that is one: OpenAI's envelope, with a reason, and nothing of our insides."""
    assert status == expected, body[:1000]
    assert headers["Content-Type"].partition(";")[0] == "application/json"
    assert headers["X-Request-Id"]
    assert headers["Server"] == "waypost"
    error: dict[str, Any] = orjson.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    assert isinstance(error["code"], str) or error["code"] is None
    assert isinstance(error["param"], str) or error["param"] is None
    assert not [trace for trace in TRACES if trace in error["message"]], error["message"]
    return error
