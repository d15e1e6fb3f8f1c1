"""What the workers have counted together, those that have ended too. Not here: asking them (crew)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from gateway.workers.counts import Part, added, lasting, total

__all__ = ["Tally"]

_PREFIX = "waypost_gateway"


class Tally:
    """Owns the last that each worker has said, by its number. A total never goes down, whoever dies or is silent.

    What a worker counted after that, and was killed before it said so, is lost.
    """

    def __init__(self) -> None:
        self._last: dict[int, Part] = {}
        self._past: dict[int, Part] = {}
        self._restarts = 0

    def __repr__(self) -> str:
        return f"<Tally workers={sorted(self._last)} restarts={self._restarts}>"

    def heard(self, number: int, counted: Part) -> None:
        """That worker has counted so much since it was started."""
        self._last[number] = counted

    def restarted(self, number: int) -> None:
        """That worker counts from nothing again."""
        self._restarts += 1
        self._past[number] = added((self._past.get(number, []), lasting(self._last.pop(number, []))))

    def whole(self, own: Part, serving: Collection[int], answered: Collection[int]) -> Part:
        """Everything, with what the parent's own part says. Gauges are of those alone that have just answered."""
        by_worker = {
            number: added((self._past.get(number, []), counted if number in answered else lasting(counted)))
            for number, counted in sorted({**dict.fromkeys(self._past, Part()), **self._last}.items())
        }
        return [*added((own, *by_worker.values())), *self._of_workers(by_worker, len(serving), len(answered))]

    def _of_workers(self, by_worker: dict[int, Part], serving: int, answered: int) -> Part:
        requests = [
            [f"{_PREFIX}_worker_requests_total", {"worker": str(number)}, total(counted, f"{_PREFIX}_requests_total")]
            for number, counted in by_worker.items()
        ]
        return [
            _family("workers", "Worker processes that serve.", "gauge", "", serving),
            _family("workers_silent", "Of these, how many did not answer in time.", "gauge", "", serving - answered),
            _family("worker_restarts", "Workers that were started again.", "counter", "_total", self._restarts),
            [f"{_PREFIX}_worker_requests", "Finished requests by worker.", "counter", requests],
        ]


def _family(name: str, text: str, kind: str, ending: str, value: int) -> list[Any]:
    return [f"{_PREFIX}_{name}", text, kind, [[f"{_PREFIX}_{name}{ending}", {}, value]]]
