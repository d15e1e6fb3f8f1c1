"""A file of a multipart body as a file object, so that decoders can read and seek in it where it lies.

Not here: keeping the body (relay.form).
"""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING

from relay.form import Form, Part

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class Upload(io.RawIOBase):
    """Reads a part's content. To be used in a thread; raises ValueError once the form is closed."""

    def __init__(self, form: Form, part: Part) -> None:
        super().__init__()
        self._form = form
        self._part = part
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        wanted = memoryview(buffer).cast("B")
        rest = dataclasses.replace(self._part, start=min(self._part.start + self._at, self._part.end))
        read = self._form.read(rest, len(wanted))
        wanted[: len(read)] = read
        self._at += len(read)
        return len(read)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._part.size}[whence]
        if base + offset < 0:
            raise ValueError("before the beginning")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at
