"""Heads of requests and answers: what is wrong with one, where it leads, how one is written. Pure.

The grammar itself is the parser's (llhttp, strict). Not here: bodies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from multidict import CIMultiDict

from relay.errors import ApiError, BadRequest

LIMIT_BYTES = 64 * 1024
_TARGET_BYTES = 8 * 1024
_MOST_FIELDS = 128
_VERSIONS = ("1.1", "1.0")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+;=%-]*)(:[0-9]*)?")
_ABSOLUTE = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)

Field = tuple[bytes, bytes]
Headers = CIMultiDict[str]


def headers_of(fields: Iterable[Field]) -> Headers:
    """The fields, by their names in any case. Bytes beyond ASCII are kept."""
    return CIMultiDict([(name.decode("ascii"), value.decode("utf-8", "surrogateescape")) for name, value in fields])


def fault_of(method: bytes, target: bytes, version: str, headers: Headers) -> ApiError | None:
    """Why a request whose head is well-formed cannot be taken, if so."""
    if version not in _VERSIONS:
        return _broken(f"its version is {version}, and served are 1.0 and 1.1")
    if method == b"CONNECT":
        return _broken("CONNECT is for proxies, and this is none")
    if len(target) > _TARGET_BYTES:
        return _broken(f"its target is longer than {_TARGET_BYTES} bytes")
    if len(headers) > _MOST_FIELDS:
        return too_large()
    hosts = headers.getall("Host", ())
    if len(hosts) > 1 or (not hosts and version == "1.1"):
        return _broken("it must have one Host header")
    if hosts and not _HOST.fullmatch(hosts[0]):
        return _broken("its Host is not the name of one")
    if not headers.get("Expect", "").isascii():
        return _broken("its Expect is not ASCII")
    coding = headers.get("Transfer-Encoding")
    if coding is not None and (version != "1.1" or coding.strip().lower() != "chunked"):
        return _broken("its Transfer-Encoding is not chunked, the only one of HTTP/1.1 that is read here")
    return None


def too_large() -> ApiError:
    """A head that is beyond the limits, or has no end."""
    text = f"its head is larger than {LIMIT_BYTES} bytes, or has more than {_MOST_FIELDS} headers"
    return _broken(text)


def size_of(fields: Iterable[Field]) -> int:
    """Bytes of all fields as they are written."""
    return sum(len(name) + len(value) + 4 for name, value in fields)


def path_of(target: bytes) -> str:
    """The path of a request's target, as it stands there, without query and authority."""
    if not target.startswith(b"/"):
        target = _ABSOLUTE.sub(b"", target, count=1)
    return target.partition(b"?")[0].decode("latin-1")


def is_websocket(method: bytes, headers: Headers) -> bool:
    """Whether a request that asks for another protocol asks for one that is spoken here."""
    return method == b"GET" and headers.get("Upgrade", "").strip().lower() == "websocket"


def without_upgrade(fields: Iterable[Field], *, keep_alive: bool) -> list[Field]:
    """The fields of a request that asks for a protocol which is not spoken here, as if it did not ask."""
    kept = [field for field in fields if field[0].lower() not in (b"upgrade", b"connection", b"http2-settings")]
    return kept if keep_alive else [*kept, (b"Connection", b"close")]


def request_head(method: bytes, target: bytes, version: str, fields: Iterable[Field]) -> bytes:
    """The head of a request, written anew."""
    lines = [b"%b %b HTTP/%b\r\n" % (method, target, version.encode("ascii"))]
    lines += [b"%b: %b\r\n" % field for field in fields]
    return b"".join(lines) + b"\r\n"


@lru_cache(maxsize=64)  # few are ever given, and each message bears one
def media_type(content_type: str) -> str:
    """What such a header names, lower case, without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def question_head(path: str, authority: str, headers: Mapping[str, str]) -> bytes:
    """The head of a POST to an upstream. Raises ValueError for a header that would become two."""
    return f"POST {path} HTTP/1.1\r\nHost: {authority}\r\n{_lines(headers)}\r\n".encode("utf-8", "surrogateescape")


def answer_head(start: str, framing: str, headers: Mapping[str, str], rest: str) -> bytes:
    """The head of an answer: its first line and fixed headers, how long its body is, its own headers, and the rest.

    Raises ValueError for a header that would become two.
    """
    return f"{start}{framing}{_lines(headers)}{rest}\r\n".encode("utf-8", "surrogateescape")


def _lines(headers: Mapping[str, str]) -> str:
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers):
        raise ValueError("a header holds the end of a line")
    return lines


def _broken(why: str) -> BadRequest:
    return BadRequest(f"This is not HTTP: {why}.", code="invalid_http")
