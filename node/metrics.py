"""What the node counts, in Prometheus' terms. Labels are bounded: nothing that a client writes becomes one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from node.life import State
from node.models import Served
from node.pool import Pool
from node.poster import Standing

MODEL = web.RequestKey("model", str)


class Metrics:
    """One set a process; `render` gives the text of `GET /metrics`."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "waypost_node_requests", "Finished requests.", ["endpoint", "model", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "waypost_node_request_seconds",
            "From the request's head to the last byte of its answer.",
            ["endpoint", "model"],
            buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300),
            registry=self._registry,
        )

    def follow(self, models: Iterable[Served], pool: Pool) -> None:
        """Read engines and slots whenever metrics are asked for."""
        self._registry.register(_Engines(tuple(models), pool))

    def follow_boards(self, standings: Callable[[], list[dict[str, str]]]) -> None:
        """Read how the advert stands on each board whenever metrics are asked for."""
        self._registry.register(_Boards(standings))

    def observe(self, request: web.Request, status: int, seconds: float) -> None:
        """One finished request."""
        resource = request.match_info.route.resource
        endpoint = resource.canonical if resource is not None else "unknown"
        model = request.get(MODEL, "")
        self._requests.labels(endpoint, model, str(status)).inc()
        self._seconds.labels(endpoint, model).observe(seconds)

    def render(self) -> web.Response:
        """Prometheus' text format."""
        return web.Response(
            body=generate_latest(self._registry), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )


class _Boards(Collector):
    """1 at the state of the newest advert on each board."""

    def __init__(self, standings: Callable[[], list[dict[str, str]]]) -> None:
        self._standings = standings

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "waypost_node_registry_state", "1 at what became of the newest advert.", labels=["registry", "state"]
        )
        for board in self._standings():
            for standing in Standing:
                family.add_metric([board["url"], standing.value], float(board["state"] == standing.value))
        yield family


class _Engines(Collector):
    """Gauges that are read, not kept."""

    def __init__(self, models: tuple[Served, ...], pool: Pool) -> None:
        self._models = models
        self._pool = pool

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield self._gauge("in_flight", "Requests that hold a slot.", lambda model: self._pool.in_flight(model.name))
        yield self._gauge("waiting", "Requests that wait for a slot.", lambda model: self._pool.waiting(model.name))
        yield self._gauge("slots", "Slots.", lambda model: model.engine.slots)
        yield self._gauge("engine_starts", "Starts of the engine.", lambda model: model.engine.life.starts)
        states = GaugeMetricFamily("waypost_node_engine_state", "1 at the engine's state.", labels=["model", "state"])
        for model in self._models:
            for state in State:
                states.add_metric([model.name, state.value], float(model.engine.life.state is state))
        yield states

    def _gauge(self, name: str, text: str, read: Callable[[Served], int]) -> GaugeMetricFamily:
        family = GaugeMetricFamily(f"waypost_node_{name}", text, labels=["model"])
        for model in self._models:
            family.add_metric([model.name], float(read(model)))
        return family
