"""Pure: what several processes have counted, added up. Counters and histograms add up over the dead too; gauges do not.

A part is a list of families, each [name, text, type, [[sample, labels, value], ...]], as JSON knows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.registry import Collector

__all__ = ["Part", "added", "lasting", "part", "text", "total"]

Part = list[list[Any]]
_LASTING = ("counter", "histogram", "summary")
_SINCE = "_created"  # when counting began: the first of several


def part(metrics: Iterable[Metric]) -> Part:
    """What one process has counted by now."""
    return [
        [metric.name, metric.documentation, metric.type, [[s.name, dict(s.labels), s.value] for s in metric.samples]]
        for metric in metrics
    ]


def lasting(counted: Part) -> Part:
    """What of it holds when its process is gone, or does not answer."""
    return [family for family in counted if family[2] in _LASTING]


def added(parts: Iterable[Part]) -> Part:
    """One part of several."""
    families: dict[str, list[Any]] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for name, documentation, kind, samples in (family for each in parts for family in each):
        families.setdefault(name, [name, documentation, kind])
        sums = values.setdefault(name, {})
        for sample, labels, value in samples:
            key = sample, tuple(labels.items())
            if sample.endswith(_SINCE):
                sums[key] = min(value, sums.get(key, value))
            else:
                sums[key] = sums.get(key, 0.0) + value
    return [
        [*family, [[sample, dict(labels), value] for (sample, labels), value in values[name].items()]]
        for name, family in families.items()
    ]


def total(counted: Part, sample: str) -> float:
    """The sum of all samples of that name."""
    return float(sum(s[2] for family in counted for s in family[3] if s[0] == sample))


def text(counted: Part) -> bytes:
    """Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Counted(counted))
    return generate_latest(registry)


class _Counted(Collector):
    def __init__(self, counted: Part) -> None:
        self._counted = counted

    def collect(self) -> Iterator[Metric]:
        for name, documentation, kind, samples in self._counted:
            metric = Metric(name, documentation, kind)
            for sample, labels, value in samples:
                metric.add_sample(sample, labels, value)
            yield metric
