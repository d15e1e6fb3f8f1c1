"""One answer: its head as a server writes it, and its body with what goes wrong on the way."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import re
import socket
import struct
from dataclasses import dataclass

from tests.fakes.weights_host.faults import Fault

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_PIECE = 64 * 1024


@dataclass
class Sent:
    """A body on its way: where in the file it begins, and how much of it has gone."""

    path: str
    status: int
    begin: int
    asked: str | None
    sent: int = 0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes = b""
    begin: int = 0


def file_answer(content: bytes, etag: str, modified: str, asked: dict[str, str], fault: Fault) -> Answer:
    """As RFC 9110 has it, but for the fault."""
    headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
    if not fault.no_validator:
        headers["ETag"] = f"W/{etag}" if fault.weak else etag
        headers["Last-Modified"] = modified
    for name in ["Last-Modified"] * fault.weak + ["ETag"] * fault.date_only:
        del headers[name]
    if fault.gzip:
        headers["Content-Encoding"] = "gzip"
    match = _RANGE.fullmatch(asked.get("range", ""))
    condition = asked.get("if-range")
    same = condition in (None, headers.get("ETag"), headers.get("Last-Modified")) or fault.ignore_if_range
    if match is None or fault.no_range or not same:
        return Answer(200, headers | {"Content-Length": str(len(content) + fault.length)}, content)
    begin, end = int(match[1]) + fault.shift, min(int(match[2] or len(content)) + 1, len(content))
    total = len(content) + fault.total
    if begin >= len(content):
        return Answer(416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"})
    headers["Content-Range"] = f"bytes {begin}-{end - 1}/{total}"
    headers["Content-Length"] = str(end - begin + fault.length)
    if fault.drop_etag:
        headers.pop("ETag", None)
    return Answer(206, headers, content[begin:end], begin)


def head_of(answer: Answer, fault: Fault) -> bytes:
    headers = {"Date": email.utils.formatdate(usegmt=True), "Connection": "close", **answer.headers}
    if fault.no_length or fault.chunked:
        headers.pop("Content-Length", None)
    if fault.chunked:
        headers["Transfer-Encoding"] = "chunked"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {answer.status} Whatever\r\n{lines}\r\n".encode("latin-1")


async def pour(
    answer: Answer, writer: asyncio.StreamWriter, reader: asyncio.StreamReader, fault: Fault, sent: Sent
) -> None:
    """The body, as far as the fault lets it go."""
    stops = [stop for stop in (fault.cut, fault.reset, fault.stall) if stop is not None]
    body = answer.body[: min(stops)] if stops else answer.body
    with contextlib.suppress(ConnectionError):
        for at in range(0, len(body), _PIECE):
            piece = body[at : at + _PIECE]
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if fault.chunked else piece)
            await writer.drain()
            sent.sent += len(piece)
        if fault.chunked and not stops:
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        if fault.stall is not None:
            await reader.read()
        if fault.reset is not None:
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
