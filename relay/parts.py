"""The parts of a multipart body, found as its bytes come: names, headers, and where each content lies.

Strict, since the same bytes are read again by whoever answers: what two readers could understand differently is
refused. No I/O here; where the bytes are kept is `spool`'s, what is asked of them `form`'s.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser

from relay.errors import BadRequest

MOST_PARTS = 256
TEXT_LIMIT_BYTES = 1024 * 1024  # of one field
TEXTS_LIMIT_BYTES = 4 * 1024 * 1024  # of all of them: these are kept in memory
_HEADERS_LIMIT_BYTES = 8 * 1024
_MOST_HEADERS = 8
_PLAIN_ENCODINGS = ("binary", "7bit", "8bit")
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_PARAMETER = re.compile(r';[ \t]*([^\s;="]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))[ \t]*')


@dataclass(frozen=True)
class Part:
    """One field or file; its content is the body's bytes from `start` up to `end`."""

    name: str
    filename: str | None
    content_type: str | None
    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start


class Parts:
    """Fed with the body from its first byte to its last. `texts` holds what the parts without a file name say."""

    def __init__(self, boundary: bytes) -> None:
        self.found: list[Part] = []
        self.texts: dict[Part, str] = {}
        self._opening = b"--" + boundary
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
            max_header_count=_MOST_HEADERS,
            max_header_size=_HEADERS_LIMIT_BYTES,
        )
        self._fed = 0
        self._closing: int | None = None  # where the closing boundary ends
        self._epilogue = b""
        self._texts_size = 0

    def feed(self, data: bytes) -> None:
        """The next bytes. Raises BadRequest that says what is wrong with the body."""
        expected = self._opening[self._fed : self._fed + len(data)]
        if not data.startswith(expected):
            raise _broken("it must begin with its boundary, as Content-Type names it")
        try:
            self._parser.write(data)
        except MultipartParseError as error:
            raise _broken("its boundaries or headers are malformed") from error
        if self._closing is not None:
            self._epilogue += data[max(self._closing - self._fed, 0) :]
            if not b"\r\n".startswith(self._epilogue):
                raise _broken("something follows its closing boundary")
        self._fed += len(data)

    def finish(self) -> None:
        """That was all. Raises BadRequest where something is missing."""
        if self._closing is None:
            raise _broken("it ends before its closing boundary")
        if not self.found:
            raise BadRequest("The multipart body has no parts; send the fields in it.", code="empty_multipart")

    def _on_part_begin(self) -> None:
        if len(self.found) == MOST_PARTS:
            raise BadRequest(f"The multipart body has more than {MOST_PARTS} parts.", code="too_many_parts")
        self._headers: dict[str, str] = {}
        self._field, self._value = bytearray(), bytearray()
        self._content = bytearray()
        self._size = 0

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._start = self._fed + end + len(b"\r\n\r\n")  # true of the last header's value: then the content begins

    def _on_header_end(self) -> None:
        name = self._field.decode("latin-1").lower()
        try:
            value = self._value.decode().strip(" \t")
        except UnicodeDecodeError as error:
            raise _broken(f"the header {name} of a part is not UTF-8") from error
        if not value or name in self._headers or _CONTROLS.search(value):
            raise _broken(f"the header {name} of a part is empty, repeated or malformed")
        self._headers[name] = value
        self._field, self._value = bytearray(), bytearray()

    def _on_headers_finished(self) -> None:
        self._name, self._filename = _disposition(self._headers)
        self._type = self._headers.get("content-type")
        encoding = self._headers.get("content-transfer-encoding", "binary").lower()
        if encoding not in _PLAIN_ENCODINGS:
            text = f"'{self._name}' is sent with Content-Transfer-Encoding {encoding!r}; send its bytes as they are."
            raise BadRequest(text, param=self._name, code="unsupported_encoding")
        if self._filename is None:
            _check_charset(self._name, self._type)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._filename is not None:
            return
        self._texts_size += end - start
        if self._size > TEXT_LIMIT_BYTES or self._texts_size > TEXTS_LIMIT_BYTES:
            text = f"'{self._name}' is too long for a text field; a file is sent with a filename."
            raise BadRequest(text, param=self._name, code="field_too_large")
        self._content += data[start:end]

    def _on_part_end(self) -> None:
        part = Part(self._name, self._filename, self._type, self._start, self._start + self._size)
        self.found.append(part)
        if part.filename is None:
            try:
                self.texts[part] = self._content.decode()
            except UnicodeDecodeError as error:
                text = f"'{part.name}' is not UTF-8; a file is sent with a filename."
                raise BadRequest(text, param=part.name, code="invalid_text") from error

    def _on_end(self) -> None:
        if self.found:
            self._closing = self.found[-1].end + len(b"\r\n") + len(self._opening) + len(b"--")
        else:
            self._closing = len(self._opening) + len(b"--")


def parameters(header: str) -> dict[str, str]:
    """What follows the first word of a header: `; name="value"`. Raises ValueError where anything is odd."""
    found: dict[str, str] = {}
    at = header.find(";") if ";" in header else len(header)
    while at < len(header):
        match = _PARAMETER.match(header, at)
        if match is None or match[1].lower() in found:
            raise ValueError(header)
        quoted, plain = match[2], match[3]
        found[match[1].lower()] = plain if quoted is None else re.sub(r'\\(["\\])', r"\1", quoted)
        at = match.end()
    return found


def _disposition(headers: dict[str, str]) -> tuple[str, str | None]:
    """A part's name, and its file name if it is a file."""
    header = headers.get("content-disposition", "")
    try:
        given = parameters(header)
    except ValueError as error:
        raise _broken(f"Content-Disposition: {header} of a part is malformed") from error
    name = given.get("name")
    if header.partition(";")[0].strip().lower() != "form-data" or not name:
        text = 'Every part of the body needs a name: Content-Disposition: form-data; name="...".'
        raise BadRequest(text, code="unnamed_part")
    extended = given.get("filename*")
    if "filename" in given or extended is None:
        return name, given.get("filename")
    return name, unquote(extended.rpartition("'")[2])


def _check_charset(name: str, content_type: str | None) -> None:
    try:
        charset = parameters(content_type or "").get("charset", "utf-8").lower()
    except ValueError as error:
        raise _broken(f"the Content-Type of '{name}' is malformed") from error
    if charset not in ("utf-8", "utf8", "us-ascii"):
        text = f"'{name}' is sent in the charset {charset!r}; send UTF-8."
        raise BadRequest(text, param=name, code="unsupported_charset")


def _broken(why: str) -> BadRequest:
    return BadRequest(f"The multipart body is broken: {why}.", code="invalid_multipart")
