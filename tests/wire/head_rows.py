"""Rows on a request's headers: names, values, line ends, Host, Connection, Upgrade and their number.

RFC 9112, sections 2.2, 3.2 and 5; RFC 9110, section 5.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.wire.rows import CHAT, HEALTH, HOST, Row, chat, got, message, posted, refused, taken

BARE_LF = "9112, 2.2 lets it pass; a bare LF is no line end to us"
BAD: dict[str, tuple[str | bytes, str]] = {
    "a space before the colon": ("A : b", "9112, 5.1: 400"),
    "a tab before the colon": ("A\t: b", "9112, 5.1: 400"),
    "a space in the name": ("A b: c", "9110, 5.6.2: no token"),
    "no colon": ("nonsense", "9112, 5"),
    "no name": (": b", "9110, 5.1"),
    "folded": ("A: b\r\n c", "9112, 5.2: 400"),
    "folded by a tab": ("A: b\r\n\tc", "9112, 5.2: 400"),
    "a bare CR in the value": ("A: b\rc", "9110, 5.5"),
    "a bare CR before a header": ("A: b\rContent-Length: 0", "9110, 5.5"),
    "a bare CR in the name": ("A\rb: c", "9110, 5.6.2"),
    "NUL in the value": ("A: b\x00c", "9110, 5.5"),
    "NUL in the name": ("A\x00: b", "9110, 5.6.2"),
    "a control character in the value": ("A: b\x01c", "9110, 5.5: may be refused"),
    "DEL in the value": ("A: b\x7fc", "9110, 5.5: may be refused"),
    "a vertical tab in the value": ("A: b\x0bc", "9110, 5.5: may be refused"),
    "a control character in the name": ("A\x01: b", "9110, 5.6.2"),
    "a high byte in the name": (b"caf\xe9: b", "9110, 5.6.2"),
    "UTF-8 in the name": ("naïve: b".encode(), "9110, 5.6.2"),
    "a bracket in the name": ("(a): b", "9110, 5.6.2"),
    "a slash in the name": ("a/b: c", "9110, 5.6.2"),
    "a quote in the name": ('"a": c', "9110, 5.6.2"),
    "an at in the name": ("a@b: c", "9110, 5.6.2"),
    "a bare LF before it": ("A: b\nC: d", BARE_LF),
    "a bare LF before a length": ("A: b\nContent-Length: 0", BARE_LF),
    "10,000 headers": ("\r\n".join(f"X-{number}: {number}" for number in range(10_000)), "9110, 5.4: 4xx"),
    "a value of 100,000": ("A: " + "a" * 100_000, "9110, 5.4: 4xx"),
    "a name of 100,000": ("a" * 100_000 + ": b", "9110, 5.4: 4xx"),
}
GOOD: dict[str, str | bytes] = {
    "an empty value": "A:",
    "only spaces": "A: \t ",
    "spaces around": "A: \t b \t ",
    "no space": "A:b",
    "high bytes in the value": b"A: caf\xe9 \xff",
    "a name of all that may be": "!#$%&'*+-.^_`|~09azAZ: b",
    "an underscore": "a_b: c",
    "a value of 4,000": "Authorization: Bearer " + "x" * 4000,
    "a colon in the value": "A: b: c",
    "twice the same": "A: b\r\nA: c",
    "a cookie": "Cookie: a=b; c=d",
    "50 headers": "\r\n".join(f"X-{number}: {number}" for number in range(50)),
    # what is offered and not taken up changes nothing: RFC 9110, 7.6 to 7.8
    "Connection, keep-alive": "Connection: keep-alive",
    "Connection, other case": "Connection: Keep-Alive\r\nKeep-Alive: timeout=5",
    "Connection, h2c": "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAA",
    "Upgrade without Connection": "Upgrade: h2c",
    "Upgrade to TLS": "Connection: Upgrade\r\nUpgrade: TLS/1.0",
    "Connection, a length": "Connection: Content-Length",
    "Connection, a host": "Connection: Host, keep-alive",
    "TE": "Connection: TE\r\nTE: trailers, deflate",
}
BAD_HOSTS: dict[str, tuple[str, ...]] = {
    "none": (),
    "two": (HOST, HOST),
    "two others": (HOST, "Host: elsewhere.example"),
    "a space": ("Host: a b",),
    "a slash": ("Host: a/b",),
    "a list": ("Host: a, b",),
    "a user": ("Host: a@b",),
    "a control character": ("Host: a\x01b",),
}
GOOD_HOSTS = {"an address": "127.0.0.1:80", "IPv6": "[::1]:80", "a port": "a.example:88", "empty": "", "dashes": "a-b"}


def rows() -> list[Row]:
    return [
        *_rows_of("get", got, None),
        *_rows_of("api", lambda *headers: posted("api", "word", *headers), "word"),
        *_first("get", got()),
        *_first("api", posted("api", "word")),
        *_hosts("get", f"GET {HEALTH} HTTP/1.1", b""),
        *_hosts("api", f"POST {CHAT} HTTP/1.1", chat("word")),
    ]


def _rows_of(at: str, build: Callable[..., bytes], word: str | None) -> list[Row]:
    found = []
    for name, (header, why) in BAD.items():
        found.append(refused(f"{at}: {name}", build(header), why, (400, 431) if "000" in name else (400,)))
    return found + [taken(f"{at}: {name}", build(header), "9110, 5", word) for name, header in GOOD.items()]


def _first(at: str, good: bytes) -> list[Row]:
    """What stands between the request line and the first header, and other line ends."""
    line, _, rest = good.partition(b"\r\n")
    head, _, body = good.partition(b"\r\n\r\n")
    why = "9112, 2.2: whitespace before the first header"
    starts = {"a space": b" A: b", "a tab": b"\tA: b", "a folded line": b" folded"}
    found = [refused(f"{at}: {name} first", b"\r\n".join([line, start, rest]), why) for name, start in starts.items()]
    ends = {"a bare LF": b"\r\n\n", "two bare LF": b"\n\n"}
    found += [refused(f"{at}: the end is {name}", head + end + body, BARE_LF) for name, end in ends.items()]
    found.append(refused(f"{at}: a bare LF throughout", head.replace(b"\r\n", b"\n") + b"\n\n" + body, BARE_LF))
    found.append(refused(f"{at}: the end is two bare CR", head + b"\r\r" + body, "9112, 2.2"))
    return found


def _hosts(at: str, line: str, body: bytes) -> list[Row]:
    rest = ("Content-Type: application/json", f"Content-Length: {len(body)}") if body else ()
    word = "word" if body else None
    found = [
        refused(f"{at}: Host, {name}", message(line, *given, *rest, body=body), "9112, 3.2: 400")
        for name, given in BAD_HOSTS.items()
    ]
    return found + [
        taken(f"{at}: Host, {name}", message(line, f"Host: {host}", *rest, body=body), "9110, 7.2", word)
        for name, host in GOOD_HOSTS.items()
    ]
