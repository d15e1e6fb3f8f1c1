"""Counters that cost next to nothing to count: nobody needs a lock in one thread.

Not here: which there are (metrics).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector


class Counting(Collector):
    """One counter. `counts` is added to by whoever counts, by the values of its labels."""

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        self.counts: defaultdict[tuple[str, ...], int] = defaultdict(int)
        self._name = name
        self._text = text
        self._labels = labels

    def __repr__(self) -> str:
        return f"<Counting {self._name} {dict(self.counts)}>"

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for labels, count in self.counts.items():
            family.add_metric(labels, count)
        yield family
