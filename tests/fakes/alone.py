"""A fake that is one small server: on loopback, at a port of its own, until it is ended."""

from __future__ import annotations

import asyncio

from aiohttp import web


async def serve_alone(*routes: web.AbstractRouteDef) -> None:
    """Prints its URL as the first line of its output."""
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print("http://{}:{}".format(*runner.addresses[0][:2]), flush=True)
    await asyncio.Event().wait()
