"""The named limits of fetching: how long a silence, how many tries, how much room must stay."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Times in seconds. There is no limit to a whole download: it goes on for as long as bytes come."""

    connect_s: float = 15.0  # to a host, or for its hub's library to answer
    gap_s: float = 30.0  # without a byte, or with fewer than `least_bytes_per_s`
    least_bytes_per_s: int = 64  # who sends less stays on the line for ever and brings nothing
    answer_s: float = 60.0  # for a short answer, whole
    fruitless: int = 10  # tries in a row that bring nothing new, before it is given up
    restarts: int = 8  # from the first byte, because the source changed or sends no ranges
    backoff_s: float = 0.5  # before the second try; doubled from try to try
    longest_s: float = 30.0  # between two tries
    retry_after_s: float = 300.0  # the longest wait that a host may ask for
    redirects: int = 5
    look_s: float = 0.3  # how often to look whether another process has finished
    reserve_bytes: int = 256 * 1024 * 1024  # of the disk, to be left free
