"""What the node counts, in Prometheus' terms. Labels are bounded: nothing that a client writes becomes one.

Not here: what is read whenever metrics are asked for (gauges), and tokens on their way (throughput).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from node.gpus import Gpu
from node.models import Models
from node.pool import Pool
from node.residents.residency import Residency
from node.telemetry.gauges import Boards, Devices, Downloads, Engines, Stays, Tokens
from node.telemetry.throughput import Throughput

_PREFIX = "waypost_node"


class Metrics:
    """One set a process; `render` gives the text of `GET /metrics`."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._devices = Devices()
        self._registry.register(self._devices)
        self._requests = Counter(
            f"{_PREFIX}_requests", "Finished requests.", ["endpoint", "model", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            f"{_PREFIX}_request_seconds",
            "From the request's head to the last byte of its answer.",
            ["endpoint", "model"],
            buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300),
            registry=self._registry,
        )
        self._first_byte = Histogram(
            f"{_PREFIX}_first_byte_seconds",
            "From asking the engine for a stream, a slot at hand, to the stream's first bytes.",
            ["endpoint", "model"],
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
            registry=self._registry,
        )
        tasks = Gauge(f"{_PREFIX}_tasks", "Tasks of asyncio that have not ended.", registry=self._registry)
        tasks.set_function(lambda: len(asyncio.all_tasks()))

    def follow(self, models: Models, pool: Pool, residency: Residency, throughput: Throughput) -> None:
        """Read models, slots, memory and tokens whenever metrics are asked for."""
        for collector in (
            Engines(models, pool),
            Stays(models, residency),
            Downloads(models),
            Tokens(models, throughput),
        ):
            self._registry.register(collector)

    def follow_boards(self, standings: Callable[[], list[dict[str, str]]]) -> None:
        """Read how the advert stands on each board whenever metrics are asked for."""
        self._registry.register(Boards(standings))

    def observe(self, route: str, model: str, status: int, seconds: float) -> None:
        """One finished request."""
        self._requests.labels(route, model, str(status)).inc()
        self._seconds.labels(route, model).observe(seconds)

    def first_byte(self, route: str, model: str, seconds: float) -> None:
        """A stream's first bytes are there."""
        self._first_byte.labels(route, model).observe(seconds)

    def render(self, gpus: Sequence[Gpu] = ()) -> web.Response:
        """Prometheus' text format. `gpus` is their newest reading."""
        self._devices.reading = gpus
        return web.Response(
            body=generate_latest(self._registry), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )
