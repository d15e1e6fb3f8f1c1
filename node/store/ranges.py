"""Pure: what to ask of a host for the rest of a file, and what its answer means for the part that is there.

The rule: bytes of two answers are put together only if the host itself says that both are of one file (a strong
validator), or a digest will tell in the end. Not here: sockets (site), the part on the disk (partial).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from node.store.patience import Broken

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_NUMBER = re.compile(r"\d{1,18}")
_AGAIN = (408, 425, 429)  # and all from 500 on
_MEANING = {
    401: "it asks who you are; for hf:// set HF_TOKEN, elsewhere download the file and give its path",
    403: "it does not let this machine have the file; for hf:// accept the model's licence and set HF_TOKEN",
    404: "there is no such file; check the URI",
    410: "the file is gone; check the URI",
}


class Stale(Exception):
    """The part that is there is no use: begin with the first byte. One line says why."""


class Refused(Exception):
    """Asking again would not help. One line says why, with the fix."""


@dataclass(frozen=True)
class Held:
    """The part that is there: its size and the file's, in bytes, and what told that file from others (if strong)."""

    size: int = 0
    total: int | None = None
    etag: str | None = None
    modified: str | None = None


@dataclass(frozen=True)
class Incoming:
    """A body to take. It begins at byte `begin` of the file; `end` is the one behind its last, if it was announced."""

    begin: int
    end: int | None
    total: int | None
    etag: str | None
    modified: str | None


def asked(held: Held, vouched: bool) -> dict[str, str]:
    """The headers of the next request. `vouched`: a digest will be checked in the end."""
    headers = {"Accept-Encoding": "identity"}
    validator = held.etag or held.modified
    if held.size and (validator or vouched):
        headers["Range"] = f"bytes={held.size}-"
        if validator:
            headers["If-Range"] = validator
    return headers


def read_answer(status: int, headers: Mapping[str, str], held: Held, vouched: bool) -> Incoming:
    """What comes, `held` being what was asked with. Raises Stale, Broken (try again) or Refused (do not)."""
    if status == HTTPStatus.PARTIAL_CONTENT and held.size:
        return _rest(headers, held, vouched)
    if status == HTTPStatus.OK:
        return _whole(headers, vouched)
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and held.size:
        raise Stale("its file is shorter than the part that has come")
    if status in _AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise Broken(f"it answered {status}", _retry_after_s(headers))
    raise Refused(f"it answered {status}: {_MEANING.get(status, 'this is no answer to build on; check the URI')}")


def _whole(headers: Mapping[str, str], vouched: bool) -> Incoming:
    _check_form(headers)
    length = headers.get("Content-Length")
    total = int(length) if length is not None and _NUMBER.fullmatch(length) else None
    if total == 0:
        raise Refused("the file there is empty; check the URI")
    if total is None and not vouched and "chunked" not in headers.get("Transfer-Encoding", "").lower():
        raise Refused("it does not say how long the file is; add #sha256= and its digest, so that a cut is noticed")
    return Incoming(0, total, total, _strong_etag(headers), _strong_date(headers))


def _rest(headers: Mapping[str, str], held: Held, vouched: bool) -> Incoming:
    _check_form(headers)
    match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    if match is None or int(match[1]) != held.size or int(match[2]) < held.size:
        raise Stale("it sent another range than was asked for")
    end = int(match[2]) + 1
    total = held.total if match[3] == "*" else int(match[3])
    if total is None or end > total or (held.total is not None and total != held.total):
        raise Stale("its file has another length now")
    etag = headers.get("ETag")
    if held.etag and etag != held.etag and (etag is not None or not vouched):
        raise Stale("its file has changed")
    if held.modified and headers.get("Last-Modified") not in (held.modified, None):
        raise Stale("its file has changed")
    length = headers.get("Content-Length")
    if length is not None and length != str(end - held.size):
        raise Stale("its Content-Length and Content-Range contradict each other")
    return Incoming(held.size, end, total, held.etag, held.modified)


def _check_form(headers: Mapping[str, str]) -> None:
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refused("it sends the file compressed though it was asked not to; use another host")
    if headers.get("Content-Type", "").lower().startswith("text/html"):
        raise Refused("it sends a web page, no weights; give the file's own URI (on a hub /resolve/, not /blob/)")


def _strong_etag(headers: Mapping[str, str]) -> str | None:
    etag = headers.get("ETag", "")
    return etag if len(etag) > 2 and etag.startswith('"') and etag.endswith('"') else None


def _strong_date(headers: Mapping[str, str]) -> str | None:
    """A date in whole seconds tells two files apart only if the last change was before the answer's second."""
    modified, now = _date(headers.get("Last-Modified")), _date(headers.get("Date"))
    return headers["Last-Modified"] if modified is not None and now is not None and modified < now else None


def _date(text: str | None) -> datetime | None:
    try:
        found = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    text = headers.get("Retry-After", "")
    if _NUMBER.fullmatch(text):
        return float(text)
    until = _date(text)
    return max(0.0, (until - datetime.now(UTC)).total_seconds()) if until is not None else None
