"""Rows on the request line: targets, versions, and what is no HTTP/1.1 at all. Methods have a test of their own.

RFC 9112, section 3.
"""

from __future__ import annotations

from tests.wire.rows import CHAT, HEALTH, HOST, Row, chat, message, posted, refused, taken

_CLIENT_HELLO = bytes.fromhex(
    "16030100c8010000c403035a1f3c" + "ab" * 30 + "20" + "cd" * 32 + "0022130113031302c02bc02fcca9cca8c02cc030c00ac009"
    "c013c014009c009d002f0035010000590000000e000c0000096c6f63616c686f7374"
)
BAD_LINES = {  # m: the method, l: in lower case, t: the target
    "a tab": "{m}\t{t} HTTP/1.1",
    "a space first": " {m} {t} HTTP/1.1",
    "a space last": "{m} {t} HTTP/1.1 ",
    "no target": "{m}  HTTP/1.1",
    "no space": "{m}{t} HTTP/1.1",
    "no version": "{m} {t}",
    "words behind": "{m} {t} HTTP/1.1 GET / HTTP/1.1",
    "a space in the target": "{m} {t}?a b HTTP/1.1",
    "NUL in the target": "{m} {t}\x00 HTTP/1.1",
    "a control character in the target": "{m} {t}?\x01 HTTP/1.1",
    "DEL in the target": "{m} {t}?\x7f HTTP/1.1",
    "a bare CR in the target": "{m} {t}?\rA HTTP/1.1",
    "a bare CR in its end": "{m} {t} HTTP/1.1\rX",
    "other case of HTTP": "{m} {t} http/1.1",
    "another protocol": "{m} {t} HTTPS/1.1",
    "a lower-case method": "{l} {t} HTTP/1.1",
    "version 0.9": "{m} {t} HTTP/0.9",
    "version 1.2": "{m} {t} HTTP/1.2",
    "version 2.0": "{m} {t} HTTP/2.0",
    "version 3.0": "{m} {t} HTTP/3.0",
    "version 9.9": "{m} {t} HTTP/9.9",
    "a version of two digits": "{m} {t} HTTP/1.10",
    "a version with a zero": "{m} {t} HTTP/01.1",
    "a version without a minor": "{m} {t} HTTP/1",
    "a version without a dot": "{m} {t} HTTP/11",
    "a version of letters": "{m} {t} HTTP/a.b",
    "a plus in the version": "{m} {t} HTTP/+1.1",
    "a target of 20,000": "{m} {t}?" + "a" * 20_000 + " HTTP/1.1",
    "a target of 1,000,000": "{m} {t}?" + "a" * 1_000_000 + " HTTP/1.1",
}
GOOD_LINES = {
    "two spaces before the target": "{m}  {t} HTTP/1.1",  # 9112, 3 lets them pass, and nginx does
    "two spaces before the version": "{m} {t}  HTTP/1.1",
    "a query": "{m} {t}?a=b&c=%20 HTTP/1.1",
    "an empty query": "{m} {t}? HTTP/1.1",
    "a query with a slash": "{m} {t}?a=/v1/models HTTP/1.1",
    "a query of 4,000": "{m} {t}?" + "a" * 4000 + " HTTP/1.1",
    "absolute": "{m} http://waypost.example{t} HTTP/1.1",
    "absolute, another host": "{m} http://elsewhere.example:81{t} HTTP/1.1",
    "absolute, with a query": "{m} http://waypost.example{t}?a=b HTTP/1.1",
    "absolute, https": "{m} https://waypost.example{t} HTTP/1.1",
    "absolute, upper case": "{m} HTTP://waypost.example{t} HTTP/1.1",
}
NO_HTTP = {
    "a TLS ClientHello": _CLIENT_HELLO,
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    "HTTP/0.9": b"GET /health\r\n",
    "a line of nothing but spaces": b"   \r\n",
    "zeros": bytes(1000),
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "SOCKS 5": b"\x05\x01\x00",
    "an answer": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "JSON": b'{"model": "m"}\r\n\r\n',
}


def rows() -> list[Row]:
    found = [*_rows_of("get", "GET", HEALTH, b""), *_rows_of("api", "POST", CHAT, chat("word"))]
    found += [refused(name, raw, "9112, 3: no request line") for name, raw in NO_HTTP.items()]
    return found + [
        taken(f"{number} empty lines first", b"\r\n" * number + posted("api", "word"), "9112, 2.2", "word")
        for number in (1, 2, 8)
    ]


def _rows_of(at: str, method: str, target: str, body: bytes) -> list[Row]:
    rest = (HOST, "Content-Type: application/json", f"Content-Length: {len(body)}") if body else (HOST,)
    found = []
    for name, form in BAD_LINES.items():
        line = form.format(m=method, l=method.lower(), t=target)
        statuses = (400, 505) if "version" in name else (400, 414)
        found.append(refused(f"{at}: {name}", message(line, *rest, body=body), "9112, 3 and 2.3", statuses))
    for name, form in GOOD_LINES.items():
        raw = message(form.format(m=method, t=target), *rest, body=body)
        found.append(taken(f"{at}: {name}", raw, "9112, 3.2", "word" if body else None))
    return found
