"""What workers know of each other's callers: memory that they share, made by the parent, whose size never grows.

What is in flight: each worker adds to counts of its own, and reads those of all. A caller is four of 16,384 counts,
chosen by a keyed hash, and the least of them is its own but for chance: with a thousand callers at once, one in 80,000
is taken for busier than it is. What is sent a minute: one moment a caller, in a table of 32,768, that workers change
in turn; where it is full those are forgotten that are the nearest to a full bucket. Not here: what follows (quotas).
"""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
import struct
import time
from collections.abc import Callable
from hashlib import blake2b

__all__ = ["Shared"]

_SEED_BYTES = 16
_DEPTH, _WIDTH = 4, 16_384
_BUCKETS, _WAYS = 4_096, 8
_MOMENT = struct.Struct("<Qd")  # whose, and when
_WHO = struct.Struct("<4IQI")
_OWN_BYTES = _DEPTH * _WIDTH * 4
_MOMENTS_BYTES = _BUCKETS * _WAYS * _MOMENT.size
_PAGE = 4096
_LOCK_S = 0.25


class Shared:
    """One process's view. `number` is the worker's, from 1; the parent has none. `fd` is handed to each worker."""

    def __init__(self, fd: int, workers: int, number: int = 0) -> None:
        self.fd = fd
        self._number = number
        self._workers = workers
        self._map = mmap.mmap(fd, _size(workers))
        self._seed = self._map[:_SEED_BYTES]
        counts = memoryview(self._map)[_PAGE + _MOMENTS_BYTES :].cast("I")
        self._counts = [counts[each * _OWN_BYTES // 4 : (each + 1) * _OWN_BYTES // 4] for each in range(workers)]

    def __repr__(self) -> str:
        return f"<Shared by {self._workers} workers, number {self._number}>"

    @classmethod
    def make(cls, workers: int) -> Shared:
        """For so many; gone with the last process that has it."""
        fd = os.memfd_create("waypost-callers", os.MFD_CLOEXEC)
        os.ftruncate(fd, _size(workers))
        os.pwrite(fd, secrets.token_bytes(_SEED_BYTES), 0)
        return cls(fd, workers)

    def clear(self, number: int) -> None:
        """That worker has ended: it has nothing in flight."""
        start = _PAGE + _MOMENTS_BYTES + (number - 1) * _OWN_BYTES
        self._map[start : start + _OWN_BYTES] = bytes(_OWN_BYTES)

    def add(self, who: str, by: int) -> None:
        """Our own count of that caller's requests."""
        own = self._counts[self._number - 1]
        for row, place in enumerate(self._who(who)[:_DEPTH]):
            own[row * _WIDTH + place % _WIDTH] += by

    def count(self, who: str) -> int:
        """What the other workers have in flight of that caller."""
        others = [each for number, each in enumerate(self._counts, 1) if number != self._number]
        places = [row * _WIDTH + place % _WIDTH for row, place in enumerate(self._who(who)[:_DEPTH])]
        return min(sum(each[place] for each in others) for place in places)

    def change(self, who: str, now: float, step: Callable[[float], float]) -> None:
        """As `rates.Moments` says. Whoever stands still with the lock holds up nobody: it is not waited for long."""
        *_, mark, bucket = self._who(who)
        bucket %= _BUCKETS
        locked = self._lock(bucket)
        try:
            at, before = self._find(bucket, mark, now)
            _MOMENT.pack_into(self._map, at, mark, step(before))
        finally:
            if locked:
                fcntl.lockf(self.fd, fcntl.LOCK_UN, 1, bucket)

    def close(self) -> None:
        """This process's part of it."""
        os.close(self.fd)

    def _find(self, bucket: int, mark: int, now: float) -> tuple[int, float]:
        """Where a caller stands in its bucket, or may: in the place of the one that is the nearest to be full."""
        start = _PAGE + bucket * _WAYS * _MOMENT.size
        places = [start + way * _MOMENT.size for way in range(_WAYS)]
        found = [(*_MOMENT.unpack_from(self._map, place), place) for place in places]
        for whose, moment, place in found:
            if whose == mark:
                return place, moment
        return min(found, key=lambda each: each[1])[2], 0.0

    def _lock(self, bucket: int) -> bool:
        """Held for some microseconds; for longer by a process that has to wait for a processor, or has been stopped."""
        last = time.monotonic() + _LOCK_S
        while True:
            try:
                fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, bucket)
            except OSError:
                if time.monotonic() > last:
                    return False
                os.sched_yield()
            else:
                return True

    def _who(self, who: str) -> tuple[int, ...]:
        digest = blake2b(who.encode(), digest_size=_WHO.size, key=self._seed)
        return _WHO.unpack(digest.digest())


def _size(workers: int) -> int:
    return _PAGE + _MOMENTS_BYTES + workers * _OWN_BYTES
