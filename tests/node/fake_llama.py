"""A stand-in for llama-server: as quick to start as Python, and told by its flags and by the prompt how to behave.

`--ignore-term` survives SIGTERM; `--child` keeps a child process; `--die WORDS` says so and fails; `--late S` is ready
after that many seconds. A message "hold" is never answered; "die" ends the server; "drip" is answered in pieces without
an end; "for S" is answered after that many seconds. It has `--parallel` slots, of which each of `n` choices takes one,
and takes more at once for a fault of who asks: 500, and a line in its output.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
from typing import Any

from aiohttp import web

DEVICES = "Available devices:\n  (none)"


def main() -> None:
    if "--list-devices" in sys.argv:
        print(DEVICES)
        return
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--host", required=True)
    parser.add_argument("--alias", default="")
    parser.add_argument("--ignore-term", action="store_true")
    parser.add_argument("--child", action="store_true")
    parser.add_argument("--die")
    parser.add_argument("--late", type=float, default=0.0)
    parser.add_argument("--parallel", type=int, default=1)
    known, _ = parser.parse_known_args()
    if known.die:
        print(known.die, file=sys.stderr, flush=True)
        sys.exit(3)
    if known.ignore_term:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if known.child:
        child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        print(f"child {child.pid}", flush=True)
    asyncio.run(_serve(known))


async def _serve(known: argparse.Namespace) -> None:
    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    taken = 0

    async def chat(request: web.Request) -> web.StreamResponse:
        nonlocal taken
        body = await request.json()
        slots = body.get("n") or 1
        if taken + slots > known.parallel:
            print(f"OVERFULL: {taken} + {slots} of {known.parallel}", flush=True)
            return web.json_response({"error": {"code": 500, "message": "overfull"}}, status=500)
        taken += slots
        try:
            return await answered(request, body)
        finally:
            taken -= slots

    async def answered(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        content = body["messages"][-1]["content"]
        if content.startswith("for "):
            await asyncio.sleep(float(content.removeprefix("for ")))
        if content == "hold":
            await asyncio.Event().wait()
        if content == "die":
            os._exit(1)
        if content == "drip":
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            while True:
                await response.write(b'data: {"choices":[]}\n\n')
                await asyncio.sleep(0.05)
        text = f"{request.method} {sorted(request.headers)}"
        message = {"role": "assistant", "content": text}
        return web.json_response({"model": known.alias, "choices": [{"index": 0, "message": message}]})

    app = web.Application()
    app.add_routes([web.get("/health", health), web.post("/v1/chat/completions", chat)])
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await asyncio.sleep(known.late)
    await web.UnixSite(runner, known.host).start()
    print("listening", flush=True)
    ended = asyncio.Event()
    if not known.ignore_term:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    await runner.cleanup()


if __name__ == "__main__":
    main()
