"""What the gateway counts, in Prometheus' terms. Labels are bounded: nothing that a client writes becomes one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.hosts import HostState


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
    """One set a process; `render` gives the text of `GET /metrics`."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "waypost_gateway_requests", "Finished requests.", ["route", "status"], registry=self._registry
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

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A value that is read when it is asked for."""
        Gauge(f"waypost_gateway_{name}", text, registry=self._registry).set_function(read)

    def registries(self, read: Callable[[], Iterable[HostState]]) -> None:
        """What is known of each registry, read when it is asked for."""
        self._registry.register(_Registries(read))

    def observe(self, request: web.Request, status: int, seconds: float) -> None:
        """One finished request."""
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else "unknown"
        self.requests.labels(route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def render(self) -> web.Response:
        """Prometheus' text format."""
        return web.Response(
            body=generate_latest(self._registry), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )
