"""The error tree: one envelope, one place for headers, and what is kept of an upstream's own error. No socket."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from relay import errors
from relay.errors import ApiError, BadRequest, BadUpstream, from_status, from_upstream
from relay.events import CHAT_EVENTS

STATUSES = {
    errors.BadRequest: (400, "invalid_request_error"),
    errors.Unauthorized: (401, "authentication_error"),
    errors.Forbidden: (403, "permission_error"),
    errors.NotFound: (404, "invalid_request_error"),
    errors.MethodNotAllowed: (405, "invalid_request_error"),
    errors.TooLarge: (413, "invalid_request_error"),
    errors.UnsupportedMedia: (415, "invalid_request_error"),
    errors.TooManyRequests: (429, "rate_limit_error"),
    errors.Internal: (500, "server_error"),
    errors.BadUpstream: (502, "upstream_error"),
    errors.ConnectFailed: (502, "upstream_error"),
    errors.Reset: (502, "upstream_error"),
    errors.Unavailable: (503, "unavailable_error"),
    errors.UpstreamTimeout: (504, "timeout_error"),
}


@pytest.mark.parametrize("kind", STATUSES)
def test_each_error_has_its_status_and_type(kind: type[ApiError]) -> None:
    error = kind("What went wrong.", param="model", code="some_code")
    assert (error.status, error.type) == STATUSES[kind]
    assert error.envelope() == {
        "error": {"message": "What went wrong.", "type": error.type, "param": "model", "code": "some_code"}
    }
    assert orjson.loads(error.body()) == error.envelope()


def test_the_envelope_always_has_all_four_fields() -> None:
    assert BadRequest("No.").envelope()["error"] == {
        "message": "No.",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }


def test_an_event_is_one_line_even_where_the_message_has_several() -> None:
    event = CHAT_EVENTS.error(BadUpstream("One\nand two"))
    assert event.startswith(b"data: {")
    assert event.endswith(b"\n\n")
    assert b"\n" not in event[:-2]


def test_headers_tell_when_to_come_back_and_how_to_authenticate() -> None:
    assert errors.TooManyRequests("Later.", retry_after_s=7).headers() == {"Retry-After": "7"}
    assert errors.Unauthorized("Who?").headers() == {"WWW-Authenticate": "Bearer"}
    assert errors.MethodNotAllowed("No.", headers={"Allow": "POST"}).headers() == {"Allow": "POST"}
    assert BadRequest("No.").headers() == {}


@pytest.mark.parametrize("kind", [errors.TooManyRequests, errors.Unavailable])
def test_whoever_must_come_back_later_is_always_told_when(kind: type[ApiError]) -> None:
    assert int(kind("Later.").headers()["Retry-After"]) >= 1
    assert int(from_upstream(kind.status, b"").headers()["Retry-After"]) >= 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, 400),
        (401, 401),
        (404, 404),
        (409, 400),
        (422, 400),
        (429, 429),
        (500, 502),
        (501, 502),
        (503, 503),
        (504, 504),
        (599, 502),
        (302, 502),
    ],
)
def test_statuses_that_are_not_ours_become_the_plainest_of_their_class(status: int, kind: int) -> None:
    assert from_status(status, "x").status == kind


def _upstream(error: Any, status: int = 400, retry_after: str | None = None) -> ApiError:
    return from_upstream(status, orjson.dumps({"error": error}), retry_after)


def test_what_an_engine_says_is_kept() -> None:
    error = _upstream(
        {"message": "the prompt is too long", "type": "exceed_context", "param": "prompt", "code": "long"}
    )
    assert error.envelope()["error"] == {
        "message": "the prompt is too long",
        "type": "exceed_context",
        "param": "prompt",
        "code": "long",
    }


def test_an_integer_code_such_as_llama_servers_is_no_code() -> None:
    error = _upstream({"message": "failed to parse", "type": "invalid_request_error", "code": 400})
    assert error.code is None
    assert error.message == "failed to parse"


def test_an_engines_type_is_not_kept_where_it_is_at_fault_itself() -> None:
    assert _upstream({"message": "boom", "type": "server_error"}, status=500).type == "upstream_error"


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[1]", b"null", b'{"error": 7}', b'{"error": {"message": 7}}', b'{"error": {"message": ""}}',
     b'{"detail": "x"}', b"\xff\xfe", b"[" * 2000],
)  # fmt: skip
def test_an_error_that_is_no_envelope_gets_a_message_of_ours(body: bytes) -> None:
    error = from_upstream(400, body)
    assert error.status == 400
    assert error.message == "The upstream answered with status 400."


def test_an_error_that_is_a_text_is_its_message() -> None:
    assert _upstream("plain words").message == "plain words"


@pytest.mark.parametrize("value", [None, "", "soon", "-1", "1.5", "٣", "Wed, 99 Oct 2030 07:28:00 GMT"])
def test_a_retry_after_that_says_no_time_is_not_passed_on(value: str | None) -> None:
    assert _upstream({}, status=400, retry_after=value).headers() == {}


def test_a_retry_after_may_be_a_date() -> None:
    assert _upstream({}, status=429, retry_after="Fri, 31 Dec 2999 23:59:59 GMT").headers() == {"Retry-After": "3600"}
    assert _upstream({}, status=429, retry_after="Wed, 21 Oct 2015 07:28:00 GMT").headers() == {"Retry-After": "0"}


def test_a_retry_after_is_kept_within_reason() -> None:
    assert _upstream({}, status=429, retry_after="12").headers() == {"Retry-After": "12"}
    hostile = _upstream({}, status=429, retry_after="9" * 5000)
    assert int(hostile.headers()["Retry-After"]) <= 86_400
