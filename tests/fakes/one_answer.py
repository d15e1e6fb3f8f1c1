"""An engine on a Unix socket that answers the same to whatever it is asked.

`python -m tests.fakes.one_answer SOCKET [--answer FILE]`: the file holds a status and, from the next line on, a body;
it is read anew each time. Instead of answering, `--hang` never ends, `--die` ends the program, `--die-once FILE` only
if FILE is not there yet. `--exit WORDS` says them and fails at the start.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from aiohttp import web


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("socket")
    parser.add_argument("--answer", type=Path)
    parser.add_argument("--hang", action="store_true")
    parser.add_argument("--die", action="store_true")
    parser.add_argument("--die-once", type=Path)
    parser.add_argument("--exit")
    known = parser.parse_args()
    if known.exit:
        print(known.exit, file=sys.stderr, flush=True)
        sys.exit(3)
    asyncio.run(_serve(known))


async def _serve(known: argparse.Namespace) -> None:
    async def health(_: web.Request) -> web.Response:
        return web.Response()

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        if known.hang:
            await asyncio.Event().wait()
        if known.die:
            os._exit(1)
        if known.die_once and not known.die_once.exists():
            known.die_once.touch()
            os._exit(1)
        status, _, body = known.answer.read_bytes().partition(b"\n")
        return web.Response(status=int(status), body=body, content_type="application/json")

    app = web.Application()
    app.add_routes([web.get("/health", health), web.post("/{path:.*}", answer)])
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, known.socket).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    main()
