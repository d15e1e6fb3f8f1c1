"""Start the fake node: options, the socket, the two lines that say where it is."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.fakes.aleph_node.api import Api
from tests.fakes.aleph_node.control import Control
from tests.fakes.aleph_node.misbehaviour import Misbehaviour, Settings
from tests.fakes.aleph_node.node import Node
from tests.fakes.aleph_node.store import Store
from tests.fakes.holding import Holding

_BODY_LIMIT_BYTES = 64 * 2**20


def main() -> None:
    options = _options()
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(_serve(options))


async def _serve(options: argparse.Namespace) -> None:
    node = Node(Store(options.db), Misbehaviour(Settings.model_validate(dict(options.set))))
    if options.load:
        node.load(options.load, options.trust_load)
    control, holding = Control(node), Holding()
    app = web.Application(client_max_size=_BODY_LIMIT_BYTES, middlewares=[control.middleware, holding.middleware])
    app.add_routes([*Api(node).routes(), *control.routes(), *holding.routes()])
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, options.host, options.port)
    await site.start()
    node.url = "http://{}:{}".format(*runner.addresses[0][:2])
    stop = _stop_event()
    print(node.url, flush=True)
    print(f"Registry: aleph+{node.url}?channel=WAYPOST", flush=True)
    for url in options.peer:
        node.greet(url.rstrip("/"), back=True)
    await stop.wait()
    await node.close()
    await runner.cleanup()


def _stop_event() -> asyncio.Event:
    stop = asyncio.Event()
    for sig in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sig, stop.set)
    return stop


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.aleph_node", description="A fake Aleph node")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--db", default=":memory:", help="SQLite file; without one all is forgotten at the end")
    parser.add_argument("--peer", action="append", default=[], metavar="URL", help="another fake node (repeatable)")
    parser.add_argument("--load", type=Path, metavar="FILE", help="messages to begin with, one JSON object a line")
    parser.add_argument("--trust-load", action="store_true", help="do not check what --load brings")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_setting,
        metavar="NAME=VALUE",
        help="misbehave (VALUE: JSON, text)",
    )
    return parser.parse_args()


def _setting(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


if __name__ == "__main__":
    main()
