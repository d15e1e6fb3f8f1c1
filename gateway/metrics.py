"""What the gateway counts, in Prometheus' terms. Labels are bounded: nothing that a client writes becomes one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.admission.admission import Admission
from gateway.admission.quotas import Quotas
from gateway.counting import Counting
from gateway.hosts import HostState

Page = Callable[[], Awaitable[bytes]]


class _Registries(Collector):
    def __init__(self, read: Callable[[], Iterable[HostState]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        prefix, label = "waypost_gateway_registry", ["registry"]
        up = GaugeMetricFamily(f"{prefix}_up", "Whether the registry answers.", labels=label)
        missing = GaugeMetricFamily(
            f"{prefix}_missing", "What another host of the same board shows and this one does not.", labels=label
        )
        faults = CounterMetricFamily(
            f"{prefix}_faults", "Entries that nobody can have posted as they were shown.", labels=label
        )
        for state in self._read():
            up.add_metric([state.url], state.up)
            missing.add_metric([state.url], state.missing)
            faults.add_metric([state.url], state.faults)
        yield from (up, missing, faults)


class Metrics:
    """One set a process. `page` asks for the text of several processes' metrics together, where there are several."""

    def __init__(self, page: Page | None = None) -> None:
        self._page = page
        self._registry = CollectorRegistry()
        self._requests = self._counting("requests", "Finished requests.", "route", "status")
        self._tokens = self._counting("tokens", "Tokens that answers took, as their last bytes say.", "key", "kind")
        self._fired = self._counting("limits_fired", "Time limits that ended the wait for a node.", "limit")
        self._resumes = self._counting(
            "resumes",
            "Broken streams that went on elsewhere, by how, and whether to their end.",
            "way",
            "outcome",
        )
        self.seconds = Histogram(
            "waypost_gateway_request_seconds",
            "From the request's head to the last byte of its answer.",
            ["route"],
            buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300),
            registry=self._registry,
        )
        self.failures = Counter(
            "waypost_gateway_node_failures", "Nodes that did not answer, by what went wrong.", ["cause"],
            registry=self._registry,
        )  # fmt: skip
        self._seconds_of: dict[str, Histogram] = {}  # to look a label up costs more than to observe

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A value that is read when it is asked for."""
        Gauge(f"waypost_gateway_{name}", text, registry=self._registry).set_function(read)

    def tasks(self) -> None:
        """Of the loop that is asked: when nothing happens there are as many as there were at the beginning."""
        self.gauge("tasks", "Tasks of asyncio that have not ended.", lambda: len(asyncio.all_tasks()))

    def admission(self, admission: Admission, quotas: Quotas) -> None:
        """Who waits and what was promised; all of it is zero where nothing happens."""
        self.gauge("admitted", "Requests with nodes, counted by their callers.", lambda: admission.in_flight)
        self.gauge("queue_waiting", "Requests that wait for a node with room.", lambda: admission.waiting)
        self.gauge("promises", "Callers that were told when to come back.", lambda: admission.promised)
        self.gauge("limited_in_flight", "Requests of callers that may have so many at once.", lambda: quotas.in_flight)

    def registries(self, read: Callable[[], Iterable[HostState]]) -> None:
        """What is known of each registry, read when it is asked for."""
        self._registry.register(_Registries(read))

    def observe(self, route: str, _model: str, status: int, seconds: float) -> None:
        """One finished request."""
        self._requests.counts[route, str(status)] += 1
        timed = self._seconds_of.get(route)
        if timed is None:
            timed = self._seconds_of[route] = self.seconds.labels(route)
        timed.observe(seconds)

    def took(self, key: str, prompt: int, generated: int) -> None:
        """An answer to whoever has that API key took so many tokens, as far as it says."""
        if prompt or generated:
            self._tokens.counts[key, "prompt"] += prompt
            self._tokens.counts[key, "generated"] += generated

    def fired(self, limit: str) -> None:
        """A time limit ended the wait for a node; which one, `gateway.limits.fired` says."""
        self._fired.counts[(limit,)] += 1

    def resumed(self, way: str, *, whole: bool) -> None:
        """A stream that broke went on by `way` (replay, continue, again): to its end, or it broke once more."""
        self._resumes.counts[way, "whole" if whole else "failed"] += 1

    def _counting(self, name: str, text: str, *labels: str) -> Counting:
        made = Counting(f"waypost_gateway_{name}", text, labels)
        self._registry.register(made)
        return made

    def collect(self) -> list[Metric]:
        """All that this process has counted."""
        return list(self._registry.collect())

    async def render(self) -> web.Response:
        """`GET /metrics` in Prometheus' text format."""
        body = generate_latest(self._registry) if self._page is None else await self._page()
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
