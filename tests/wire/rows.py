"""What a row of these tables is: bytes that a client sends, and what becomes of them, by the RFC or by nginx.

Not here: the rows (`*_rows`), and their tests.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import orjson

MODEL = "m"
HOST = "Host: waypost.example"
CHAT = "/v1/chat/completions"
ECHO = "/model/proxy/echo"
HEALTH = "/health"
PLANES = ("api", "proxy")  # a body on its way through our own framing, and through aiohttp's


@dataclass(frozen=True)
class Row:
    """`raw` is answered with one of `statuses`; where it is not taken, the connection ends with that.

    `taken`: it is a good request, and whatever follows it on the connection is one too. `word`: what reaches the
    upstream of it. `why` names the rule, a section of RFC 9110 or 9112 mostly.
    """

    name: str
    raw: bytes
    statuses: Collection[int]
    why: str
    taken: bool = False
    word: str | None = None

    def __repr__(self) -> str:
        return f"<{self.name}: {self.raw[:300]!r}>"

    @property
    def followed(self) -> bytes:
        """The row, and behind it a request that is one, unless it stands in no place for one."""
        return self.raw + (got() if self.taken else posted("api", "smuggled"))


def refused(name: str, raw: bytes, why: str, statuses: Collection[int] = (400,)) -> Row:
    """Its framing is lost: one error, and the end of the connection."""
    return Row(name, raw, statuses, why)


def taken(name: str, raw: bytes, why: str, word: str | None = None) -> Row:
    """A good request, if an odd one."""
    return Row(name, raw, (200,), why, True, word)


def message(line: str, *headers: str | bytes, body: bytes = b"") -> bytes:
    """A request: its lines as they are given, without any that is not."""
    lines = [line, *headers, "", ""]
    return b"\r\n".join(each if isinstance(each, bytes) else each.encode("latin-1") for each in lines) + body


def chat(word: str, **more: object) -> bytes:
    """The body of a chat."""
    return orjson.dumps({"model": MODEL, "messages": [{"role": "user", "content": word}], **more})


def payload(plane: str, word: str) -> bytes:
    """A body that brings the word to the upstream."""
    return chat(word) if plane == "api" else word.encode()


def lines(plane: str, version: str = "1.1") -> tuple[str, ...]:
    """The lines of a good request, but for its framing."""
    if plane == "api":
        return (f"POST {CHAT} HTTP/{version}", HOST, "Content-Type: application/json")
    return (f"POST {ECHO} HTTP/{version}", HOST, "Content-Type: text/plain", f"X-GPUStack-Model: {MODEL}")


def posted(plane: str, word: str, *headers: str | bytes, version: str = "1.1") -> bytes:
    """A good request with a Content-Length, and these headers too."""
    body = payload(plane, word)
    return message(*lines(plane, version), f"Content-Length: {len(body)}", *headers, body=body)


def got(*headers: str | bytes, target: str = HEALTH, version: str = "1.1") -> bytes:
    """A good GET, and these headers too."""
    return message(f"GET {target} HTTP/{version}", HOST, *headers)


def chunked(*pieces: bytes) -> bytes:
    """The pieces that are not empty as chunks, and the last one."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (*filter(None, pieces), b""))
