"""Start the hosts and their list: options, sockets, the line that says where the list is."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from tests.fakes.compute_host.host import Host, World
from tests.fakes.holding import Holding


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.compute_host", description="Fake compute hosts")
    parser.add_argument("--api", required=True, help="URL of the node that knows the messages")
    parser.add_argument("--machines", type=Path, required=True, help="folder for machines")
    parser.add_argument("--llama-server", type=Path, required=True, help="what the machines' nodes run")
    parser.add_argument("--hosts", type=int, default=2)
    parser.add_argument("--gpu", default="RTX 4090", choices=["RTX 4090", "RTX 4000 ADA"])
    logging.basicConfig(level=logging.INFO)
    asyncio.run(_serve(parser.parse_args()))


async def _serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for sig in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sig, stop.set)
    async with aiohttp.ClientSession() as session:
        world = World(options.api, options.machines, options.llama_server, session)
        holding = Holding()
        runners = []
        for number in range(options.hosts):
            host = Host(world, number, options.gpu)
            runner, host.url = await _listen([*host.routes(), *holding.routes()], host.middleware, holding.middleware)
            world.hosts.append(host)
            runners.append(runner)
        runner, url = await _listen([*_list_routes(world), *holding.routes()], holding.middleware)
        runners.append(runner)
        print(f"{url}/crns.json", flush=True)
        await stop.wait()
        await world.close()
        for runner in runners:
            await runner.cleanup()


def _list_routes(world: World) -> list[web.RouteDef]:
    async def listed(request: web.Request) -> web.Response:
        if "filter_inactive" not in request.query:
            raise web.HTTPUnprocessableEntity
        return web.json_response({"last_refresh": "2026-01-01", "crns": [host.listed() for host in world.hosts]})

    async def change(request: web.Request) -> web.Response:
        for host in world.hosts:
            host.change({name: host.hash in hashes for name, hashes in (await request.json()).items()})
        return await show(request)

    async def show(request: web.Request) -> web.Response:
        counts: dict[str, Any] = {host.hash: host.counts() for host in world.hosts}
        return web.json_response(counts)

    return [web.get("/crns.json", listed), web.post("/_control", change), web.get("/_control", show)]


async def _listen(routes: list[web.RouteDef], *middlewares: Any) -> tuple[web.AppRunner, str]:
    app = web.Application(middlewares=middlewares)
    app.add_routes(routes)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, "http://{}:{}".format(*runner.addresses[0][:2])


if __name__ == "__main__":
    main()
