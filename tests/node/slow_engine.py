"""An engine that says nothing to a stream until it is told to: `python -m tests.node.slow_engine` prints its port.

`POST /_go` lets what waits go on, in the order in which it came.
"""

from __future__ import annotations

import asyncio
import json

from aiohttp import web

_CHUNKS = [
    {"choices": [{"index": 0, "delta": {"content": "late"}, "finish_reason": None}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
]


async def main() -> None:
    told: asyncio.Queue[str] = asyncio.Queue()

    async def go(request: web.Request) -> web.Response:
        told.put_nowait(request.query.get("how", "well"))
        return web.Response()

    async def chat(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if not body.get("stream"):
            said = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "4"}}
            return web.json_response({"model": body["model"], "choices": [said]})
        if await told.get() == "badly":
            return web.json_response({"error": {"message": "no", "code": "oom"}}, status=500)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for chunk in _CHUNKS:
            await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response

    app = web.Application()
    models = web.json_response
    app.router.add_get("/v1/models", lambda _: asyncio.sleep(0, models({"data": [{"id": "slow"}]})))
    app.router.add_post("/v1/chat/completions", chat)
    app.router.add_post("/_go", go)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"listening on {runner.addresses[0][1]}.", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
