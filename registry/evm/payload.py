"""The compact form of a posting, as it stands in a contract's event. Pure; any text comes back exactly.

One byte 0x01, then a raw deflate stream with a preset dictionary, then the *runs*: the bytes of the quoted digests,
addresses, keys and signatures, which do not deflate well. In the deflated text one byte that no UTF-8 text has stands
for each run. A payload that is not of this form is the text itself, in UTF-8: so anybody can post with any tool, and
garbage becomes a text that no reader believes. A few bytes may stand for the largest text that an envelope can be, so
unpack what is read a batch at a time. Of a larger text nothing is kept: it reads as OVERSIZE, which is no envelope.
Not here: what the text means, how it gets to a chain.
"""

from __future__ import annotations

import base64
import contextlib
import re
import zlib
from collections.abc import Iterable, Iterator
from functools import partial

from registry.envelope import MAX_ENVELOPE_BYTES
from registry.evm.dictionary import DICTIONARY

__all__ = ["OVERSIZE", "batches", "pack", "unpack"]

OVERSIZE = "(a text that is too large for an envelope)"  # stands for any such; no reader believes it
BATCH_CHARS = 4 * 1024 * 1024
BATCH_TEXTS = 200

_COMPACT = b"\x01"
_AGAIN = b"\xfd"  # with one more byte, the number of an earlier run: it stands here again
_SIZES = {b"\xf8": 20, b"\xf9": 32, b"\xfa": 65, b"\xfb": 32, b"\xfc": 64}  # bytes of a run, by its mark
_MARKS = {40: b"\xf8", 64: b"\xf9", 130: b"\xfa", 43: b"\xfb", 86: b"\xfc"}  # by the characters of its text
_HEX = (b"\xf8", b"\xf9", b"\xfa")  # the others are unpadded base64url
_QUOTED = re.compile(rb'(?<=")(0x|)([0-9a-f]{130}|[0-9a-f]{64}|[0-9a-f]{40}|[\w-]{86}|[\w-]{43})(?=\\?")')
_MARK = re.compile(rb"[\xf8-\xfd]")


def pack(text: str) -> bytes:
    """The payload of a text. A lone surrogate is kept as bytes that are no UTF-8; a reader sees U+FFFD for each."""
    numbers: dict[bytes, int] = {}  # of the runs, each with its mark before it
    marked = _QUOTED.sub(partial(_mark, numbers), text.encode("utf-8", "surrogatepass"))
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
    return b"".join((_COMPACT, deflate.compress(marked), deflate.flush(), *(run[1:] for run in numbers)))


def unpack(payload: bytes) -> str:
    """The text of any payload at all, or OVERSIZE for one that expands to more than an envelope may have."""
    raw = payload
    if payload.startswith(_COMPACT):
        with contextlib.suppress(ValueError, zlib.error):
            raw = _expand(payload[1:])
    return OVERSIZE if len(raw) > MAX_ENVELOPE_BYTES else raw.decode("utf-8", "replace")


def batches(payloads: Iterable[bytes]) -> Iterator[list[str]]:
    """The texts of payloads, in batches of a bounded size, each of which is unpacked when it is asked for."""
    batch: list[str] = []
    size = 0
    for payload in payloads:
        batch.append(unpack(payload))
        size += len(batch[-1])
        if size >= BATCH_CHARS or len(batch) >= BATCH_TEXTS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _mark(numbers: dict[bytes, int], match: re.Match[bytes]) -> bytes:
    """What stands in the deflated text for one quoted run."""
    prefix, digits = match.groups()
    mark = _MARKS[len(digits)]
    run = _read(mark, digits)
    if _write(mark, run) != digits:
        return match[0]  # not the one spelling of these bytes
    known = numbers.get(mark + run)
    if known is None:
        numbers[mark + run] = len(numbers)
        return bytes(prefix + mark)
    return bytes(prefix + _AGAIN + bytes([known])) if known < 256 else match[0]


def _expand(data: bytes) -> bytes:
    """ValueError or zlib.error if it is not what `pack` makes; never much more than an envelope may have."""
    inflate = zlib.decompressobj(-15, DICTIONARY)
    marked = inflate.decompress(data, MAX_ENVELOPE_BYTES + 1)
    if len(marked) > MAX_ENVELOPE_BYTES:
        return marked
    if not inflate.eof:
        raise ValueError("the deflated text has no end")
    return _fill(marked, inflate.unused_data)


def _fill(marked: bytes, rest: bytes) -> bytes:
    """Put the runs back; ends early where the text gets too large. ValueError if there are too few or too many."""
    runs: list[bytes] = []
    parts: list[bytes] = []
    size = start = done = 0
    while match := _MARK.search(marked, done):
        mark, at = match[0], match.start()
        parts.append(marked[done:at])
        done = at + 1
        if mark == _AGAIN:
            done += 1
            if not marked[at + 1 : done] or marked[at + 1] >= len(runs):
                raise ValueError("a run that was not there yet")
            filled = runs[marked[at + 1]]
        else:
            end = start + _SIZES[mark]
            if end > len(rest):
                raise ValueError("too few runs")
            filled = _write(mark, rest[start:end])
            runs.append(filled)
            start = end
        parts.append(filled)
        size += len(filled)
        if size > MAX_ENVELOPE_BYTES:
            return b"".join(parts)
    if start != len(rest):
        raise ValueError("too many runs")
    return b"".join((*parts, marked[done:]))


def _read(mark: bytes, digits: bytes) -> bytes:
    if mark in _HEX:
        return bytes.fromhex(digits.decode())
    return base64.urlsafe_b64decode(digits + b"=" * (-len(digits) % 4))


def _write(mark: bytes, run: bytes) -> bytes:
    if mark in _HEX:
        return run.hex().encode()
    return base64.urlsafe_b64encode(run).rstrip(b"=")
