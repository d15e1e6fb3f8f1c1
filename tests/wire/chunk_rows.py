"""Rows on chunked bodies: sizes, extensions, data and trailers. RFC 9112, section 7.1."""

from __future__ import annotations

from tests.wire.rows import PLANES, Row, chunked, lines, message, payload, refused, taken

_END = b"\r\n0\r\n\r\n"

GOOD_TRAILERS = {  # they never become headers (RFC 9110, 6.5.1), so a well-formed one does nothing
    "one": b"X-Checksum: 1\r\n",
    "some": b"A: 1\r\nB: 2\r\n",
    "a request id": b"X-Request-Id: smuggled\r\n",
    "a host": b"Host: elsewhere.example\r\n",
    "an expectation": b"Expect: a-miracle\r\n",
}
BAD_TRAILERS = {
    "no colon": b"nonsense\r\n",
    "a space before the colon": b"A : 1\r\n",
    "a request line": b"GET /v1/models HTTP/1.1\r\n",
    "NUL": b"A: \x00\r\n",
    "a length": b"Content-Length: 5\r\n",  # nobody may send these
    "a coding": b"Transfer-Encoding: chunked\r\n",
}


def rows() -> list[Row]:
    return [row for plane in PLANES for row in (*_good(plane), *_sizes(plane), *_data(plane), *_trailers(plane))]


def _good(plane: str) -> list[Row]:
    data = payload(plane, "word")
    size = b"%x" % len(data)
    bodies = {
        "a chunk for each byte": chunked(*(data[at : at + 1] for at in range(len(data)))),
        "upper case": size.upper() + b"\r\n" + data + _END,
        "leading zeros": b"0000" + size + b"\r\n" + data + b"\r\n0000\r\n\r\n",
        "an extension": size + b";name\r\n" + data + b"\r\n0;last\r\n\r\n",
        "extensions with values": size + b';a=b;c="d e"\r\n' + data + b"\r\n0;a=b\r\n\r\n",
        "a semicolon in an extension": size + b';c=";\\""\r\n' + data + _END,
    }
    return [taken(f"{plane}: chunks, {name}", _whole(plane, body), "7.1", "word") for name, body in bodies.items()]


def _sizes(plane: str) -> list[Row]:
    data = payload(plane, "word")
    size = b"%x" % len(data)
    odd = {
        "0x": b"0x" + size,
        "plus": b"+" + size,
        "minus": b"-" + size,
        "minus one": b"-1",
        "underscore": size[:1] + b"_" + size[1:],
        "space before": b" " + size,
        "space inside": b"1 0",
        "nothing": b"",
        "only an extension": b";a=b",
        "no hex": b"xyz",
        "hex and then none": size + b"g",
        "overflow of 64 bits": b"1" + b"0" * 16,
        "overflow and a few": b"1" + size.zfill(16),
        "40 digits": b"1" * 40,
        "NUL": size + b"\x00",
        "a bare CR": size + b"\rX",
        "a bare CR in an extension": size + b";a\rb",
        "a bare LF in an extension": size + b";a\nb",
    }
    return [
        refused(f"{plane}: chunk size, {name}", _whole(plane, line + b"\r\n" + data + _END), "7.1", (400, 413))
        for name, line in odd.items()
    ]


def _data(plane: str) -> list[Row]:
    data = payload(plane, "word")
    size = b"%x" % len(data)
    bodies = {
        "longer than it says": size + b"\r\n" + data + b"x" + _END,
        "no line end after the data": size + b"\r\n" + data + b"0\r\n\r\n",
        "a bare LF after the size": size + b"\n" + data + _END,
        "a bare LF after the data": size + b"\r\n" + data + b"\n0\r\n\r\n",
        "a bare LF after the last size": size + b"\r\n" + data + b"\r\n0\n\r\n",
        "a bare CR after the data": size + b"\r\n" + data + b"\r0\r\n\r\n",
        "two bytes in place of a line end": size + b"\r\n" + data + b"XX0\r\n\r\n",
    }
    return [refused(f"{plane}: chunks, {name}", _whole(plane, body), "2.2 and 7.1") for name, body in bodies.items()]


def _trailers(plane: str) -> list[Row]:
    start = chunked(payload(plane, "word"))[:-2]
    found = [
        taken(f"{plane}: trailers, {name}", _whole(plane, start + trailers + b"\r\n"), "9110, 6.5.1", "word")
        for name, trailers in GOOD_TRAILERS.items()
    ]
    return found + [
        refused(f"{plane}: trailers, {name}", _whole(plane, start + trailers + b"\r\n"), "9112, 5; 9110, 6.5.1")
        for name, trailers in BAD_TRAILERS.items()
    ]


def _whole(plane: str, body: bytes) -> bytes:
    return message(*lines(plane), "Transfer-Encoding: chunked", body=body)
