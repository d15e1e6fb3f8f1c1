"""Everything that this host can do wrong with one request for a file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One answer's faults; none is an honest answer."""

    cut: int | None = None  # after so many bytes of the body the connection is closed
    reset: int | None = None  # the same, with a reset, so that what was on its way is lost
    stall: int | None = None  # after so many bytes nothing more comes, until the client leaves
    status: int | None = None  # this status, and no file
    retry_after: str | None = None  # with that
    length: int = 0  # added to the Content-Length
    no_length: bool = False  # the body ends with the connection
    chunked: bool = False
    no_range: bool = False  # ranges are ignored: the whole file, every time
    ignore_if_range: bool = False  # a range in spite of another ETag
    shift: int = 0  # the range begins so much later than was asked for
    total: int = 0  # added to the total in Content-Range
    change: bool = False  # before this answer the file is replaced
    keep_etag: bool = False  # but its ETag is not
    no_validator: bool = False
    weak: bool = False  # a weak ETag and no date
    date_only: bool = False  # no ETag
    drop_etag: bool = False  # none in a 206
    html: bool = False  # a login page in place of the file
    gzip: bool = False  # said to be compressed
    flip: int | None = None  # this byte of the file arrives as another one
    redirect: str | None = None  # to here; "{cdn}" and "{self}" stand for this host's own origins
