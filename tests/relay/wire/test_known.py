"""A head is known again only where the parser would have found the same in it, but for the length of the body."""

from __future__ import annotations

import httptools
import pytest

from relay.wire.heads import headers_of
from relay.wire.known import Head, Known
from relay.wire.routes import REFUSED

BEFORE = b"POST /v1/chat/completions HTTP/1.1\r\nHost: waypost.example\r\nAuthorization: Bearer key\r\nContent-Length: "
AFTER = b"\r\nContent-Type: application/json\r\n\r\n"
HEAD = BEFORE + b"12" + AFTER
TELLING = [b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b":", b"\x00", b"0", b"-", b"+", b"_", b",", b"\xb2"]
TELLING += [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"\r\nContent-Length: 5", b"123456789", b""]


class Read:
    """What the parser finds in bytes that should be a whole head."""

    def __init__(self, raw: bytes) -> None:
        self.target = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.whole = False
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(raw)
        self.method = self._parser.get_method().decode()
        self.version = self._parser.get_http_version()

    def on_url(self, piece: bytes) -> None:
        self.target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.whole = True

    def head(self) -> Head:
        return Head(True, len(self.fields), REFUSED, self.method, self.version, headers_of(self.fields))

    def but_its_length(self) -> list[object]:
        fields = [field for field in self.fields if field[0].lower() != b"content-length"]
        return [self.whole, self.target, self.method, self.version, fields]


def known(raw: bytes = HEAD) -> Known | None:
    head = Read(raw).head()
    end = head.end_in(raw)
    return Known.of(raw[:end], head) if end is not None else None


def must_know(raw: bytes = HEAD) -> Known:
    found = known(raw)
    assert found is not None
    return found


@pytest.mark.parametrize("digits", [b"0", b"7", b"12", b"013", b"999999999"])
def test_the_same_head_with_another_length(digits: bytes) -> None:
    it = must_know()
    raw = BEFORE + digits + AFTER
    assert it.read(raw + b"{}") == (len(raw), int(digits))
    assert dict(it.headers) == dict(headers_of(Read(raw).fields))


def test_the_headers_of_a_request_stay_what_they_were() -> None:
    it = must_know()
    first = it.headers
    it.read(BEFORE + b"7" + AFTER)
    assert (first["Content-Length"], it.headers["Content-Length"]) == ("12", "7")


@pytest.mark.parametrize(
    "digits", [b"", b"+5", b"-5", b"5 ", b" 5", b"5x", b"1_0", b"5,5", b"\xb2", b"1234567890", b"5\n"]
)
def test_what_is_no_length_is_the_parsers(digits: bytes) -> None:
    assert must_know().read(BEFORE + digits + AFTER) is None


def test_part_of_it_is_the_parsers() -> None:
    it = must_know()
    assert [cut for cut in range(len(HEAD)) if it.read(HEAD[:cut]) is not None] == []


def test_wherever_it_is_changed_the_parser_would_find_the_same_or_is_asked() -> None:
    """Each place of the head, with what tells most put in there, and a byte or none left out."""
    expected = Read(HEAD).but_its_length()
    again = 0
    for at in range(len(HEAD)):
        for put_in in TELLING:
            for left_out in (0, 1, 2):
                raw = HEAD[:at] + put_in + HEAD[at + left_out :]
                read = must_know().read(raw + b"0123456789abcdef")
                if read is not None:
                    again += 1
                    start, length = read
                    found = Read((raw + b"0123456789abcdef")[:start])
                    assert found.but_its_length() == expected, raw
                    assert [int(value) for name, value in found.fields if name == b"Content-Length"] == [length], raw
    assert again > 100


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n",
        b"\r\n" + HEAD,
        HEAD.replace(b"waypost", b"w" * 4096),
        HEAD.replace(b"Content-Length: 12", b"Content-Length: 12 "),
    ],
    ids=["no length", "an empty line before it", "too long", "a space behind the length"],
)
def test_what_is_not_learnt(raw: bytes) -> None:
    assert known(raw) is None


def test_a_head_that_is_not_plain_has_no_end() -> None:
    head = Read(HEAD).head()
    assert head.end_in(HEAD + b"\r\n\r\n") == len(HEAD)
    assert head._replace(plain=False).end_in(HEAD) is None
    assert head._replace(fields=head.fields + 1).end_in(HEAD) is None
    assert head.end_in(HEAD[:-1]) is None
