"""What happens to the others when a model's process dies, hangs or cannot load, or a client leaves: told in words.

Each fault is made for a keeper of its own. Not here: the keepers (keepers), and what it costs them when all is well
(switching).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from bench.keepers import Keeper, Processes, models_of
from bench.process import cpu_s
from bench.streams import WHOLE, Stream, chat, stream

TOKENS = 250  # of a stream that something happens to
_SEEN = 5  # so many of them came before it happens
_PATIENCE_S, _LIMIT_S = 5.0, 60.0
_MISSED_S = 1.0  # the router looks twice a second for clients that left
_QUIET_S = 2.0  # a process that spends nothing for so long is done
_WORDS = 1600  # of a prompt that takes seconds to read
A, B, C, BROKEN = "a", "b", "c", "broken"  # three good models, and half a file


async def child_killed(keeper: Keeper) -> str:
    """A's process is killed while A and B stream."""
    async with _two_streams(keeper) as streams:
        os.kill(keeper.pids()[A], signal.SIGKILL)
        first, second = await asyncio.gather(*streams)
    if first.ending == WHOLE:
        return "A's stream was over too soon."
    following = await stream(keeper, A, 1, _LIMIT_S)
    return f"A's stream: {first}. B's stream: {second}. A's next request: {following}."


async def child_stopped(keeper: Keeper) -> str:
    """A's process stands still; A, B, and when that A's client was missed, the cold C in A's place are asked."""
    await _warm(keeper)
    held = keeper.pids()[A]
    os.kill(held, signal.SIGSTOP)
    try:
        asked = [await stream(keeper, A, 1, _PATIENCE_S), await stream(keeper, B, 1, _LIMIT_S)]
        await asyncio.sleep(_MISSED_S)
        asked.append(await stream(keeper, C, 1, _LIMIT_S))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(held, signal.SIGKILL)
    told = " ".join(f"{model.upper()}: {seen}." for model, seen in zip((A, B, C), asked, strict=True))
    return f"{told} {_loaded(keeper)}"


async def broken_file(keeper: Keeper) -> str:
    """A model whose file is half a file is asked for beside two good ones."""
    await _warm(keeper)
    seen = await stream(keeper, BROKEN, 1, _LIMIT_S)
    return f"{seen}. {_loaded(keeper)}"


async def all_busy(keeper: Keeper) -> str:
    """The cold C is asked for while A and B, all that there may be, stream."""
    async with _two_streams(keeper) as streams:
        third = asyncio.create_task(stream(keeper, C, 1, _LIMIT_S))
        first, second = await asyncio.gather(*streams)
        seen = await third
    return f"A's stream: {first}. B's stream: {second}. C: {seen}."


async def settings_changed(keeper: Keeper) -> str:
    """B is given other settings while A and B stream."""
    async with _two_streams(keeper) as streams:
        await keeper.change(B)
        first, second = await asyncio.gather(*streams)
    following = await stream(keeper, B, 1, _LIMIT_S)
    return f"A's stream: {first}. B's stream: {second}. B's next request: {following}."


async def left_while_loading(keeper: Keeper) -> str:
    """The client of the cold C leaves a moment after it asked."""
    await _warm(keeper)
    await stream(keeper, C, 1, 0.2)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE_S):
            while C not in keeper.pids():  # noqa: ASYNC110 - another process: there is nothing to await
                await asyncio.sleep(0.05)
    if C in keeper.pids():
        await _quiet(keeper, C)
    return _loaded(keeper)


async def left_while_reading(keeper: Keeper) -> str:
    """A client leaves while its long prompt is read, before any answer."""
    await _warm(keeper)
    body = {**chat(A, 1, "road " * _WORDS), "stream": False}
    before = cpu_s(keeper.pids()[A])

    async def ask() -> None:
        async with (
            keeper.hold(A) as door,
            door.session.post(f"{door.url}/v1/chat/completions", json=body) as response,
        ):
            await response.read()

    asking = asyncio.create_task(ask())
    while cpu_s(keeper.pids()[A]) < before + 0.5:  # noqa: ASYNC110 - another process: there is nothing to await
        await asyncio.sleep(0.02)
    answered = asking.done()
    asking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asking
    return "it was too quick" if answered else f"A's process spends {await _quiet(keeper, A):.1f} s more of CPU time."


async def killed(keeper: Keeper) -> str:
    """Whoever keeps the models is killed; of the two processes, a program that has them as the node has."""
    if isinstance(keeper, Processes):
        return await _program_killed(keeper)
    await _warm(keeper)
    pids = keeper.pids()
    own = pids.pop(keeper.name)
    began = time.monotonic()
    os.kill(own, signal.SIGKILL)
    return await _gone(list(pids.values()), began)


FAULTS: Mapping[str, Callable[[Keeper], Awaitable[str]]] = {
    "A's process is killed while A and B stream": child_killed,
    "Whoever keeps A and B is killed": killed,
    "A's process is stopped (SIGSTOP); then A, B and the cold C are asked": child_stopped,
    "Beside A and B a model is asked for whose file is cut short": broken_file,
    "A's client leaves while its prompt is read, not streamed": left_while_reading,
    "C is asked for while A and B stream, and two may be loaded": all_busy,
    "B's settings are changed while A and B stream": settings_changed,
    "C's client leaves while C loads": left_while_loading,
}


async def _warm(keeper: Keeper) -> None:
    for model in (A, B):
        seen = await stream(keeper, model, 1)
        assert seen.ending == WHOLE, seen


@contextlib.asynccontextmanager
async def _two_streams(keeper: Keeper) -> AsyncIterator[tuple[asyncio.Task[Stream], asyncio.Task[Stream]]]:
    """A and B, both of which have some tokens already."""
    await _warm(keeper)
    flows = asyncio.Barrier(3)
    waiting: set[asyncio.Task[object]] = set()

    def seen(count: int) -> None:
        if count == _SEEN:
            waiting.add(asyncio.create_task(flows.wait()))

    first = asyncio.create_task(stream(keeper, A, TOKENS, _LIMIT_S, seen))
    second = asyncio.create_task(stream(keeper, B, TOKENS, _LIMIT_S, seen))
    async with asyncio.timeout(_LIMIT_S):
        await flows.wait()
    yield first, second


async def _quiet(keeper: Keeper, model: str) -> float:
    """Seconds of CPU time that its process spends until it spends none."""
    began, last = cpu_s(keeper.pids()[model]), time.monotonic()
    spent = began
    while time.monotonic() - last < _QUIET_S:
        await asyncio.sleep(0.02)
        if (now := cpu_s(keeper.pids()[model])) != spent:
            spent, last = now, time.monotonic()
    return spent - began


async def _program_killed(keeper: Processes) -> str:
    files = [str(keeper.weights[model]) for model in (A, B)]
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.keepers", str(keeper.folder), *files, stdout=asyncio.subprocess.PIPE
    )
    assert program.stdout is not None
    async with asyncio.timeout(_LIMIT_S):
        await program.stdout.readline()
    pids = list(models_of(program.pid).values())
    began = time.monotonic()
    program.kill()
    await program.wait()
    return await _gone(pids, began)


async def _gone(pids: Sequence[int], began: float) -> str:
    left = set(pids)
    while left and time.monotonic() - began < _LIMIT_S:
        await asyncio.sleep(0.005)
        left = {pid for pid in left if _lives(pid)}
    return f"{len(left)} of {len(pids)} models' processes are left after {time.monotonic() - began:.2f} s."


def _lives(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _loaded(keeper: Keeper) -> str:
    return f"Loaded then: {', '.join(sorted(keeper.pids().keys() - {keeper.name})) or 'none'}."
