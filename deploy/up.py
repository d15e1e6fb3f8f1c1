"""`waypost up`: registry, nodes and gateway as children on this machine, the first calls, then serve until Ctrl-C.

The children are the same commands that an operator and a gateway host run; nothing is shorter here than there.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp

from deploy.children import Child, ChildFailed
from deploy.config import UpConfig
from deploy.first_call import Asked, every_call, first_call
from deploy.installing import InstallFailed, install_demo
from deploy.plan import Plan, PlanFailed, make_plan, require_free_port
from deploy.trial import CallFailed
from deploy.usage import usage
from registry.backend import BackendError, open_backend
from registry.keys import KeyFileError

_POLL_S = 0.2
_GATEWAY_S = 60.0
_INTERRUPTED = 130


def run(config: UpConfig) -> int:
    """Bring everything up. Returns the exit status: 0, 1 when something failed, 130 when stopped before the call."""
    try:
        if config.all:
            require_free_port(config.port)
            install_demo()
        return asyncio.run(_up(make_plan(config)))
    except (InstallFailed, PlanFailed, ChildFailed, CallFailed, KeyFileError, BackendError, ValueError) as error:
        print(f"waypost: {error}", file=sys.stderr)
    except OSError as error:
        print(f"waypost: {error.filename or config.state}: {error.strerror}", file=sys.stderr)
    return 1


async def _up(plan: Plan) -> int:
    stopped = asyncio.create_task(_stop_asked())
    work = asyncio.create_task(_bring_up(plan))
    try:
        await asyncio.wait((work, stopped), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            return _INTERRUPTED
        answered = work.result()
        if not plan.config.once:
            _say(usage(plan, answered))
            await _watch(plan.children, stopped)
        return 0
    finally:
        for task in (work, stopped):
            task.cancel()
        await asyncio.gather(work, stopped, return_exceptions=True)
        for child in reversed(plan.children):  # the gateway first, so that nothing is sent to a node that leaves
            await child.stop()


async def _stop_asked() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, stop.set)
    await stop.wait()


async def _bring_up(plan: Plan) -> Sequence[Asked]:
    """Returns what was asked and answered."""
    deadline = time.monotonic() + plan.config.start_s
    await _let_nodes_post(plan)
    async with aiohttp.ClientSession() as session:
        for node in plan.nodes:
            await node.child.start()
        for node in plan.nodes:
            _say(f"{node.child.name}: loading {', '.join(plan.models)} (log: {node.child.log})")
            await _until(session, f"{node.url}/health", lambda _: True, node.child, deadline)
        await plan.gateway.start()
        _say(f"gateway: {plan.url}/v1 (log: {plan.gateway.log})")
        wanted, deadline = len(plan.nodes), time.monotonic() + _GATEWAY_S
        await _until(session, f"{plan.url}/health", lambda health: health["proven"] >= wanted, plan.gateway, deadline)
        if plan.config.all:
            return await every_call(session, plan.url, plan.models)
        return await first_call(session, plan.url, plan.models[0])


async def _let_nodes_post(plan: Plan) -> None:
    """Where a network asks for the operator's leave, give it. Raises BackendError."""
    backend = open_backend(plan.registry, author=plan.operator)
    try:
        for node in plan.nodes:
            await backend.allow(node.delegate)
    finally:
        await backend.close()


async def _until(
    session: aiohttp.ClientSession, url: str, good: Callable[[Any], bool], child: Child, deadline: float
) -> None:
    """Poll until the child answers 200 and the answer is good. Raises ChildFailed."""
    while time.monotonic() < deadline:
        child.check()
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with session.get(url, timeout=aiohttp.ClientTimeout(total=5)) as response:
                if response.status == 200 and good(await response.json()):
                    return
        await asyncio.sleep(_POLL_S)
    raise ChildFailed(f"{child.name} did not come up in time; its log is {child.log}")


async def _watch(children: Sequence[Child], stopped: asyncio.Task[None]) -> None:
    """Until a stop is asked for. Raises ChildFailed if a child ends before."""
    ended = [asyncio.create_task(child.wait()) for child in children]
    try:
        await asyncio.wait((stopped, *ended), return_when=asyncio.FIRST_COMPLETED)
        if not stopped.done():
            for child in children:
                child.check()
    finally:
        for task in ended:
            task.cancel()


def _say(text: str) -> None:
    print(text, flush=True)
