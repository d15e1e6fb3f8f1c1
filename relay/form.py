"""A multipart body, read once: its fields, where its files lie, and the raw bytes that travel on unchanged.

It can be sent several times and read while it is sent. Not here: what the fields of an endpoint must be like.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from types import MappingProxyType, TracebackType

from relay.errors import BadRequest, UnsupportedMedia, body_too_large
from relay.incoming import Incoming, check_encoding, next_piece
from relay.parts import Part, Parts, parameters
from relay.spool import Spool

__all__ = ["Form", "Part", "read_form"]

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")  # RFC 2046
_NOTHING: Mapping[Part, bytes] = MappingProxyType({})


class Form:
    """A spooled multipart body. Its owner closes it, best by `with`."""

    def __init__(self, spool: Spool, boundary: str, parts: Sequence[Part], texts: Mapping[Part, str]) -> None:
        self.parts = tuple(parts)
        self.content_type = f'multipart/form-data; boundary="{boundary}"'
        self._boundary = boundary.encode()
        self._spool = spool
        self._texts = texts

    def __repr__(self) -> str:
        return f"<Form {', '.join(part.name for part in self.parts)}: {self._spool!r}>"

    @property
    def size(self) -> int:
        """Of the raw body, in bytes."""
        return self._spool.size

    def texts(self, name: str) -> list[str]:
        """The values of all plain fields of this name, in their order."""
        return [text for part, text in self._texts.items() if part.name == name]

    def text(self, name: str) -> str | None:
        """The value of a plain field, None where there is none. Raises BadRequest where it is not just one."""
        values = set(self.texts(name))
        if self.files(name):
            raise BadRequest(f"'{name}' must be a plain field, without a filename.", param=name, code="invalid_type")
        if len(values) > 1:
            raise BadRequest(f"'{name}' is given several times; give it once.", param=name, code="repeated_field")
        return values.pop() if values else None

    def files(self, name: str) -> list[Part]:
        """The parts of this name that have a filename, in their order."""
        return [part for part in self.parts if part.name == name and part.filename is not None]

    def read(self, part: Part, limit_bytes: int) -> bytes:
        """A part's content, or as much of its beginning. Holds the loop up: for little; `pieces` is for more."""
        return self._spool.read(part.start, min(part.end, part.start + limit_bytes))

    def pieces(self, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The raw body, or a range of it."""
        return self._spool.pieces(start, self.size if end is None else min(end, self.size))

    async def spliced(self, replaced: Mapping[Part, bytes] = _NOTHING) -> AsyncIterator[bytes]:
        """The raw body, the content of some of its parts replaced. Raises ValueError if that holds the boundary."""
        if any(b"--" + self._boundary in content for content in replaced.values()):
            raise ValueError("a part cannot hold the boundary of its own body")
        at = 0
        for part in self.parts:
            if part in replaced:
                async for piece in self.pieces(at, part.start):
                    yield piece
                yield replaced[part]
                at = part.end
        async for piece in self.pieces(at):
            yield piece

    def spliced_size(self, replaced: Mapping[Part, bytes] = _NOTHING) -> int:
        """How many bytes `spliced` gives."""
        return self.size + sum(len(content) - part.size for part, content in replaced.items())

    def close(self) -> None:
        """Forget the body."""
        self._spool.close()

    def __enter__(self) -> Form:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


async def read_form(incoming: Incoming, limit_bytes: int) -> Form:
    """Spool the request's multipart body. Raises ApiError 400, 413, 415 or 503, naming the field and the fix."""
    boundary = _boundary_of(incoming)
    check_encoding(incoming.headers)
    if (incoming.content_length or 0) > limit_bytes:
        raise body_too_large(limit_bytes)
    spool, parts = Spool(), Parts(boundary.encode())
    try:
        await _receive(incoming, spool, parts, limit_bytes)
        form = Form(spool, boundary, parts.found, parts.texts)
        form.text("model")  # refused here if it is given twice: nobody must read another one than we do
    except BaseException:
        spool.close()
        raise
    return form


async def _receive(incoming: Incoming, spool: Spool, parts: Parts, limit_bytes: int) -> None:
    while piece := await next_piece(incoming):
        if spool.size + len(piece) > limit_bytes:
            raise body_too_large(limit_bytes)
        parts.feed(piece)
        await spool.write(piece)
    parts.finish()
    await spool.finish()


def _boundary_of(incoming: Incoming) -> str:
    if incoming.content_type != "multipart/form-data":
        text = f"Content-Type is {incoming.content_type!r}; send a form with Content-Type: multipart/form-data."
        raise UnsupportedMedia(text, code="unsupported_media_type")
    try:
        boundary = parameters(incoming.headers.get("Content-Type", "")).get("boundary", "")
    except ValueError:
        boundary = ""
    if not _BOUNDARY.fullmatch(boundary):
        text = "Content-Type must name the body's boundary, of 1 to 70 characters: multipart/form-data; boundary=..."
        raise BadRequest(text, code="invalid_boundary")
    return boundary
