"""What the worker programs have in common: a Unix socket, an engine that loads behind it, and a quick end.

Not here: requests (speech, transcription), and who starts, watches and restarts a worker.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

import orjson
from aiohttp import web

from node.workers.steps import Slots
from relay.errors import Unavailable
from relay.http import Handler, make_app
from relay.serving import serve_on_socket

log = logging.getLogger("waypost.worker")
E = TypeVar("E")

LINGER_S = 1.0  # for answers under way at SIGTERM; the agent drains before it stops a worker
JSON_LIMIT_BYTES = 32 * 1024 * 1024


class State(StrEnum):
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


class Loading(Generic[E]):
    """An engine that a thread loads, heavy imports included, while the socket is answered already."""

    def __init__(self, load: Callable[[], E]) -> None:
        self.state = State.LOADING
        self._load = load
        self._engine: E | None = None

    def __repr__(self) -> str:
        return f"<Loading {self.state}>"

    @property
    def engine(self) -> E:
        """Raises Unavailable until it is loaded."""
        if self._engine is None:
            raise Unavailable("The model is being loaded; try again soon.", code="loading", retry_after_s=1)
        return self._engine

    def start(self, failed: Callable[[], object]) -> None:
        """Begin; `failed` is called, in the thread, if it comes to nothing."""
        threading.Thread(target=self._run, args=(failed,), name="loading", daemon=True).start()

    def _run(self, failed: Callable[[], object]) -> None:
        try:
            self._engine = self._load()
            self.state = State.READY
        except Exception as error:  # libraries raise whatever they like, and the agent reads the last line
            self.state = State.FAILED
            log.error("waypost: the model could not be loaded: %s: %s", type(error).__name__, error)
            failed()


def make_parser(program: str, model: str) -> argparse.ArgumentParser:
    """The options that all workers have."""
    parser = argparse.ArgumentParser(prog=f"python -m node.workers.{program}", allow_abbrev=False)
    parser.add_argument("--socket", type=Path, required=True, help="the Unix socket to serve on")
    parser.add_argument("--model", type=Path, required=True, help=model)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: a GPU if it works")
    parser.add_argument("--slots", type=_positive, default=1, help="requests answered at once; default 1")
    parser.add_argument(
        "--threads", type=_positive, help="CPU threads of one request; default: the CPUs over the slots"
    )
    return parser


def threads_for(options: argparse.Namespace) -> int:
    """How many CPU threads one request may use."""
    given: int | None = options.threads
    return given or max(1, len(os.sched_getaffinity(0)) // options.slots)


def run(socket: Path, loading: Loading[Any], slots: Slots, routes: Sequence[web.AbstractRouteDef]) -> NoReturn:
    """Serve until SIGTERM or SIGINT (exit status 0), or until the engine turns out not to load (1)."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("waypost").setLevel(logging.INFO)
    try:
        asyncio.run(_serve(socket, loading, [web.get("/health", _health(loading, slots)), *routes]))
    except ValueError as error:
        raise SystemExit(f"waypost: --socket: {error}") from error
    logging.shutdown()
    # No thread is waited for: what a library computes cannot be interrupted, and may take long.
    os._exit(1 if loading.state is State.FAILED else 0)


async def _serve(socket: Path, loading: Loading[Any], routes: Sequence[web.AbstractRouteDef]) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for sig in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sig, stop.set)
    app = make_app(routes, body_limit_bytes=JSON_LIMIT_BYTES)
    load = partial(loading.start, lambda: loop.call_soon_threadsafe(stop.set))
    await serve_on_socket(app, socket, stop=stop, on_ready=load, linger_s=LINGER_S)


def _health(loading: Loading[Any], slots: Slots) -> Handler:
    async def health(request: web.Request) -> web.Response:
        found = {"status": loading.state, "slots": slots.count, "busy": slots.busy, "steps": slots.steps_made}
        return web.json_response(found, status=200 if loading.state is State.READY else 503)

    return health


def as_event(event: Mapping[str, Any]) -> bytes:
    """As OpenAI's audio endpoints write their events."""
    return b"data: " + orjson.dumps(event) + b"\n\n"


def break_off(request: web.Request, error: Exception) -> None:
    """End an answer that failed after its beginning without its final chunk, so that the node sees that it is broken;
    what the client is told, the node says."""
    log.error("an engine failed after the beginning of an answer", exc_info=error)
    if request.transport is not None:
        request.transport.close()


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("it must be at least 1")
    return value
