"""Rows on how long a request's body is: Content-Length, Transfer-Encoding, and both.

RFC 9112, section 6: where a length cannot be told for certain, the message is refused and the connection closed. Behind
the bodies here stands a request, so that whoever reads a shorter body than was meant finds it.
"""

from __future__ import annotations

from tests.wire.rows import PLANES, Row, chunked, lines, message, payload, posted, refused, taken

INSIDE = posted("api", "smuggled")
CODING = "Transfer-Encoding: chunked"
NO_CODING = (400, 501)  # RFC 9112, 6.1: 501 for a coding that is not known; 6.3: 400 where chunked is not the last

BAD_LENGTHS: dict[str, str | bytes] = {
    "plus": "+10",
    "minus": "-1",
    "minus zero": "-0",
    "list of equals": "10, 10",
    "list of others": "10,5",
    "list without space": "5,5",
    "hex": "0x10",
    "underscore": "1_0",
    "space inside": "1 0",
    "fraction": "10.0",
    "exponent": "1e1",
    "letters": "ten",
    "nothing": "",
    "semicolon": "10;",
    "quoted": '"10"',
    "arabic digits": "٣".encode(),
}
HUGE_LENGTHS = {"2^63": 2**63, "2^64": 2**64, "2^64 and a few": 2**64 + 9, "30 digits": 10**30, "400 digits": 10**400}
LENGTHS_TWICE = {"equal": (10, 10), "different": (10, 5), "first 0": (0, 10), "second 0": (10, 0)}
GOOD_CODINGS = (CODING, "TRANSFER-ENCODING: ChUnKeD", "Transfer-Encoding:chunked", "Transfer-Encoding:   chunked  ")
BAD_CODINGS = (
    "gzip, chunked", "gzip", "identity", "identity, chunked", "chunked, identity", "chunked, chunked", "chunked,",
    ", chunked", "xchunked", "chunkedx", "x chunked", "chunked;q=1", '"chunked"', "chunke", "chun\\ked", "",
    "\x0bchunked", "chunked\x0b", "chunked\x00", "\xa0chunked",
    "chunked\t",  # white space to the RFC, but not to everybody
)  # fmt: skip
CODINGS_TWICE = {
    "twice": (CODING, CODING),
    "then another": (CODING, "Transfer-Encoding: identity"),
    "after another": ("Transfer-Encoding: identity", CODING),
}
HIDDEN_CODINGS = {
    "space before colon": ("Transfer-Encoding : chunked", "9112, 5.1: 400"),
    "tab before colon": ("Transfer-Encoding\t: chunked", "9112, 5.1: 400"),
    "folded": ("X: y\r\n Transfer-Encoding: chunked", "9112, 5.2: 400"),
    "folded value": ("Transfer-Encoding:\r\n chunked", "9112, 5.2: 400"),
    "bare CR": ("X: y\rTransfer-Encoding: chunked", "9112, 2.2: 400"),
    "NUL": ("Transfer-Encoding\x00: chunked", "9110, 5.5: 400"),
}


def rows() -> list[Row]:
    return [row for plane in PLANES for row in (*_lengths(plane), *_codings(plane), *_both(plane), *_hidden(plane))]


def _lengths(plane: str) -> list[Row]:
    body = payload(plane, "word")
    good = {
        "leading zeros": f"Content-Length: 000{len(body)}",
        "spaces around": f"Content-Length:   {len(body)}  ",
        "other case": f"cONTENT-lENGTH:{len(body)}",
    }
    found = [
        taken(f"{plane}: length, {name}", message(*lines(plane), header, body=body), "9110, 8.6: 1*DIGIT", "word")
        for name, header in good.items()
    ]
    for name, value in BAD_LENGTHS.items():
        header = b"Content-Length: " + (value if isinstance(value, bytes) else value.encode())
        found.append(refused(f"{plane}: length, {name}", _ambiguous(plane, header), "9112, 6.3: invalid length"))
    for name, size in HUGE_LENGTHS.items():
        raw = _ambiguous(plane, f"Content-Length: {size}")
        found.append(refused(f"{plane}: length, {name}", raw, "9110, 8.6: no overflow", (400, 413)))
    for name, sizes in LENGTHS_TWICE.items():
        raw = _ambiguous(plane, *(f"Content-Length: {size}" for size in sizes))
        why = "9112, 6.3 lets equal ones pass; nginx refuses them"
        found.append(refused(f"{plane}: length twice, {name}", raw, why))
    return found


def _codings(plane: str) -> list[Row]:
    good, bad = chunked(payload(plane, "word")), chunked(payload(plane, "smuggled")) + INSIDE
    found = [
        taken(f"{plane}: coding, {header!r}", message(*lines(plane), header, body=good), "9112, 7", "word")
        for header in GOOD_CODINGS
    ]
    for value in BAD_CODINGS:
        raw = message(*lines(plane), f"Transfer-Encoding: {value}", body=bad)
        found.append(refused(f"{plane}: coding, {value!r}", raw, "9112, 6.1 and 6.3; nginx: 501", NO_CODING))
    for name, headers in CODINGS_TWICE.items():
        raw = message(*lines(plane), *headers, body=bad)
        found.append(refused(f"{plane}: coding, {name}", raw, "9112, 6.3; nginx: duplicate header", NO_CODING))
    raw = message(*lines(plane, "1.0"), CODING, body=bad)
    found.append(refused(f"{plane}: coding, HTTP/1.0", raw, "9112, 6.1: faulty framing; nginx: 400"))
    return found


def _both(plane: str) -> list[Row]:
    """Length and coding: of two servers in a row one may go by the one, and one by the other."""
    body = chunked(payload(plane, "smuggled"))
    length = f"Content-Length: {len(body)}"
    heads = {
        "CL.TE": (length, CODING),
        "TE.CL": (CODING, length),
        "short CL": ("Content-Length: 4", CODING),
        "CL 0": ("Content-Length: 0", CODING),
        "CL and an unknown coding": (length, "Transfer-Encoding: xchunked"),
        "CL and no coding": (length, "Transfer-Encoding:"),
        "CL and identity": (length, "Transfer-Encoding: identity"),
        "TE.TE with CL": (length, CODING, "Transfer-Encoding: cow"),
    }
    why = "9112, 6.3: ought to be handled as an error; nginx: 400"
    return [
        refused(f"{plane}: {name}", message(*lines(plane), *headers, body=body + INSIDE), why, NO_CODING)
        for name, headers in heads.items()
    ]


def _hidden(plane: str) -> list[Row]:
    """A coding that one server sees and another does not."""
    found = [
        refused(f"{plane}: hidden coding, {name}", _ambiguous(plane, "Content-Length: 10", header), why)
        for name, (header, why) in HIDDEN_CODINGS.items()
    ]
    body = payload(plane, "word")
    raw = message(*lines(plane), f"Content-Length: {len(body)}", "Transfer_Encoding: chunked", body=body)
    return [*found, taken(f"{plane}: another name, Transfer_Encoding", raw, "9110, 5.1: another header", "word")]


def _ambiguous(plane: str, *headers: str | bytes) -> bytes:
    """A request that says its length in these headers, with a body that has any length that one likes."""
    return message(*lines(plane), *headers, body=payload(plane, "smuggled") + INSIDE)
