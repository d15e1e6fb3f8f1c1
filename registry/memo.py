"""Authentic texts that were opened before, so that the same posting again costs a digest and a look-up.

Signatures do not change their minds: what was authentic once is authentic for ever. Whether it counts now is judged
anew each time. Bounded in bytes; what somebody else holds on to anyway is found for free. Not here: opening (signing).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from weakref import WeakValueDictionary

from registry.advert import MAX_ENVELOPE_BYTES, Envelope, Reason, Refused
from registry.signing import Opened, open_envelope

__all__ = ["MAX_MEMO_BYTES", "Memo", "kind_of"]

MAX_MEMO_BYTES = 64 * 2**20
_OVERHEAD = 4  # an opened text takes about this many times the bytes of its posting


class Memo:
    """Opened postings by the digest of their raw text. `repr` shows the counts."""

    def __init__(self, limit_bytes: int = MAX_MEMO_BYTES) -> None:
        self._limit = limit_bytes
        self._bytes = 0
        self._recent: OrderedDict[bytes, tuple[Opened, int]] = OrderedDict()
        self._alive: WeakValueDictionary[bytes, Opened] = WeakValueDictionary()

    def __repr__(self) -> str:
        return f"Memo(recent={len(self._recent)}, bytes={self._bytes}, alive={len(self._alive)})"

    def open(self, raw: str) -> Opened:
        """The authentic text in a posting; raises Refused, as `Envelope.parse` and `open_envelope` do."""
        if len(raw) > MAX_ENVELOPE_BYTES:
            raise Refused(Reason.TOO_LARGE, f"envelope: more than {MAX_ENVELOPE_BYTES} bytes")
        key = hashlib.blake2b(raw.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        opened = self._alive.get(key)
        if opened is None:
            opened = open_envelope(Envelope.parse(raw))
            self._alive[key] = opened
        self._touch(key, opened, len(raw) * _OVERHEAD)
        return opened

    def _touch(self, key: bytes, opened: Opened, size: int) -> None:
        if key in self._recent:
            self._recent.move_to_end(key)
            return
        self._recent[key] = (opened, size)
        self._bytes += size
        while self._bytes > self._limit:
            _, (_, gone) = self._recent.popitem(last=False)
            self._bytes -= gone


def kind_of(raw: str) -> str:
    """The kind of a posting that does not open, "" if it is no envelope at all."""
    try:
        return Envelope.parse(raw).kind.value
    except Refused:
        return ""
