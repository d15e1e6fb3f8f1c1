"""What the gateway counts, in Prometheus' terms. Labels are bounded: nothing that a client writes becomes one."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


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
