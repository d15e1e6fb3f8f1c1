"""Faults before the first token, one a row: what the node does, and what a client gets where there is no other node.

To add one: a row here. Not here: streams that break later (late_rows).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.reliability.cast import Step, do

AWAY = (503, "model_unavailable")
LONG_AFTER = "Fri, 31 Dec 2999 23:59:59 GMT"
HTML = "<html><body>It works!</body></html>"


@dataclass(frozen=True)
class Row:
    """`streams`: True where only a stream is broken like this, False where only a whole answer is. `code` is what the
    client gets of the one and of the other. `left_alone`: the next request does not go there either."""

    step: Step
    status: int = 502
    code: str | tuple[str, str] | None = None
    streams: bool | None = None
    door: str = "open"
    left_alone: bool = False

    def told(self, stream: bool) -> tuple[int, str | None]:
        """Status and code."""
        return self.status, self.code[not stream] if isinstance(self.code, tuple) else self.code


def _silent(after: str, streams: bool | None = None) -> Row:
    return Row(do("silent", after=after), 504, ("first_token_timeout", "head_timeout"), streams)


ELSEWHERE: Mapping[str, Row] = {  # another node is asked
    "429": Row(do("status", status=429, code="busy"), 429, "busy"),
    "429-for-an-hour": Row(do("status", status=429, code="busy", retry_after="3600"), 429, "busy", left_alone=True),
    "429-till-a-date": Row(do("status", status=429, retry_after=LONG_AFTER), 429, left_alone=True),
    "503": Row(do("status", status=503, code="loading", retry_after="120"), 503, "loading", left_alone=True),
    "500": Row(do("status", status=500, code="oom"), 502, "oom"),
    "502-html": Row(do("html", status=502)),
    "503-html": Row(do("html", status=503), 503),
    "504": Row(do("status", status=504), 504),
    "529": Row(do("status", status=529), 502),
    "599": Row(do("status", status=599), 502),
    "401": Row(do("status", status=401), code="upstream_refused", left_alone=True),
    "403": Row(do("status", status=403, code="gateway_not_allowed"), code="upstream_refused", left_alone=True),
    "404": Row(do("status", status=404), code="upstream_refused", left_alone=True),
    "405": Row(do("status", status=405), code="upstream_refused", left_alone=True),
    "415": Row(do("status", status=415), code="upstream_refused", left_alone=True),
    "307": Row(do("redirect"), code="upstream_refused", left_alone=True),
    "refused": Row(do("fine"), *AWAY, door="shut", left_alone=True),
    "slammed": Row(do("fine"), code="upstream_reset", door="slam", left_alone=True),
    "reset": Row(do("reset"), code="upstream_reset"),
    "reset-in-the-head": Row(do("reset", after="half"), code="upstream_reset"),
    "reset-after-the-head": Row(do("reset", after="head"), code="upstream_broken", streams=True),
    "reset-in-a-chunk": Row(do("reset", after="chunk"), code="upstream_broken", streams=True),
    "closed": Row(do("closed"), code="upstream_reset"),
    "closed-in-the-head": Row(do("closed", after="half"), code="upstream_reset"),
    "closed-after-the-head": Row(do("closed", after="head"), code="upstream_broken", streams=True),
    "silent": _silent("request"),
    "silent-in-the-head": _silent("half"),
    "silent-after-the-head": _silent("head", streams=True),
    "silent-after-the-role": _silent("role", streams=True),
    "empty": Row(do("empty"), code=("upstream_broken", "upstream_garbage")),
    "204": Row(do("empty", what="no content"), code="upstream_garbage"),
    "role-alone": Row(do("empty", what="role"), code="upstream_broken", streams=True),
    "done-alone": Row(do("empty", what="done"), code="upstream_broken", streams=True),
    "half-a-json": Row(do("body", text='{"choices": [{"message": '), code="upstream_garbage"),
    "no-object": Row(do("body", text='["choices"]'), code="upstream_garbage"),
    "error-with-200": Row(do("body", text='{"error": {"message": "out of memory", "code": 500}}'), 502, streams=False),
    "html-with-200": Row(do("body", text=HTML, kind="text/html"), code="upstream_garbage"),
    "html-as-a-stream": Row(
        do("body", text=HTML, kind="text/event-stream"), code=("upstream_broken", "upstream_garbage")
    ),
    "not-streamed": Row(do("unstreamed"), code="upstream_garbage", streams=True),
    "not-said-to-be-a-stream": Row(do("untyped"), code="upstream_garbage", streams=True),
    "short": Row(do("short"), code="upstream_broken", streams=False),
    "short-and-reset": Row(do("short", then="reset"), code="upstream_broken", streams=False),
    "short-and-silent": Row(do("short", then="silent"), 504, "gap_timeout", streams=False),
    "compressed": Row(do("compressed"), code="upstream_encoding"),
    "not-http": Row(do("raw", text="SSH-2.0-OpenSSH_9.2\r\n"), code="upstream_reset"),
    "bad-status-line": Row(do("raw", text="HTTP/1.1 OK 200\r\n\r\n"), code="upstream_reset"),
    "bad-length": Row(do("raw", text="HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"), code="upstream_reset"),
    "endless-head": Row(do("endless_head"), code="upstream_reset"),
    "error-first": Row(do("breaks", how="error", at="start"), code=None, streams=True),
    "error-text-first": Row(do("breaks", how="error text", at="start"), code=None, streams=True),
    "malformed-first": Row(do("breaks", how="malformed", at="start"), code="upstream_garbage", streams=True),
    "utf8-first": Row(do("breaks", how="utf8", at="start"), code="upstream_garbage", streams=True),
    "error-after-the-role": Row(do("breaks", how="error", at=0), code=None, streams=True),
    "bad-chunk-first": Row(do("breaks", how="bad chunk", at="start"), code="upstream_broken", streams=True),
}

THE_CLIENTS: Mapping[str, Row] = {  # nobody else is asked, and the node's reason is told
    "400": Row(do("status", status=400, code="bad_tools"), 400, "bad_tools"),
    "409": Row(do("status", status=409, code="conflict"), 400, "conflict"),
    "413": Row(do("status", status=413, code="too_large"), 413, "too_large"),
    "422": Row(do("status", status=422, code="unprocessable"), 400, "unprocessable"),
    "400-of-content": Row(do("status", status=400, code="content_filter"), 400, "content_filter"),
    "403-of-content": Row(do("status", status=403, code="content_filter"), 403, "content_filter"),
}
