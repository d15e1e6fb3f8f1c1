"""Before a model is offered, it must have loaded and answered: here it is made to show that, and how fast it is.

Not here: what is asked (questions), whether it fits (footprint), who loads it (residency), and who is told (offering).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from node.engines.engine import Engine
from node.engines.external import ExternalEngine
from node.life import Life, State
from node.proving.proof import Proof
from node.proving.questions import Question, question_for, speed
from node.sizes.memory import Memory
from relay.answer import Answer
from relay.errors import ApiError, ConnectFailed, Reset

PROBE_S = 120.0
_MOST_STARTS = 3  # in a row that failed: what ended its engine may have been an accident, but not that often
_NOTICED_S = 2.0  # by then a process that has ended is seen to have
_ANSWER_LIMIT_BYTES = 64 * 1024 * 1024
_SHOWN = 300  # characters of an engine's message
_FIXES = (
    (re.compile(r"logits|does not support|not supported", re.I), "set kind in {table} to what the model is for"),
    (re.compile(r"template|jinja|unknown (method|filter)", re.I), "set template = 'chatml' in {table}"),
    (re.compile(r"memory|alloc", re.I), "set a smaller context or parallel in {table}"),
)
_NO_FIX = "--log-level debug shows what its engine writes"
_SLOW_FIX = "give it more threads or gpu_layers in {table}, or serve a smaller model"
_DIED_FIX = "set a smaller context or parallel in {table} if memory ran out; --log-level debug shows its last words"


class PreflightError(Exception):
    """A model that did not show that it works: one line, what was asked, what came of it, and what may help."""


@dataclass(frozen=True)
class Probe:
    """Seconds until the whole answer was there, and tokens a second where the model writes text."""

    answer_s: float
    tokens_per_s: float | None = None


def misfit(need: Memory, room: Memory, budget: Memory, fix: str | None) -> str:
    """Of a model that does not fit into the `room` that is left of the `budget`: one line. `fix`: settings that do."""
    beside = "" if room == budget else f" beside the models that are kept loaded (of {budget} in all)"
    cure = f"set {fix}" if fix else "take a smaller quantization or model, or a larger machine"
    return f"it needs {need}, and {room} are there{beside}; {cure}"


async def prove(
    engine: Engine,
    endpoints: tuple[str, ...],
    name: str,
    ready_s: float,
    measure: Callable[[], Memory | None],
    probe_s: float = PROBE_S,
) -> Proof:
    """What the engine shows, once it is ready; somebody else must run it. Raises PreflightError.

    `measure` may block for a moment; it is called after the answer, when all memory that answering takes is taken.
    """
    began = time.monotonic()
    await _ready(engine, ready_s)
    load_s = time.monotonic() - began
    shown = await probe(engine, endpoints, name, probe_s)
    taken = await asyncio.to_thread(measure)
    return Proof(load_s, shown.answer_s, shown.tokens_per_s, taken)


async def probe(engine: Engine, endpoints: tuple[str, ...], name: str, probe_s: float = PROBE_S) -> Probe:
    """Ask the ready engine one question. Raises PreflightError.

    An engine that runs elsewhere is asked nothing: an answer may cost money, and it has listed the model already.
    """
    question = question_for(endpoints)
    if question is None or isinstance(engine, ExternalEngine):
        return Probe(0.0)
    answer, took_s = await _asked(engine, question, name, probe_s)
    try:
        question.check(answer)
    except ValueError as error:
        shown = answer[:_SHOWN].decode(errors="replace")
        raise _failed(question, f"the answer is malformed: {error}: {shown}", _NO_FIX, name) from error
    return Probe(took_s, speed(answer, took_s) if question.writes else None)


async def _asked(
    engine: Engine, question: Question, name: str, limit_s: float, again: bool = True
) -> tuple[bytes, float]:
    """The answer, and the seconds that it took. Asked once more where its engine ended: that may be an accident."""
    began = time.monotonic()
    try:
        return await _answer(engine, question, name, limit_s), time.monotonic() - began
    except (Reset, ConnectFailed) as error:
        if not again:
            what = f"no whole answer came, twice ({error.message.rstrip('.')})"
            raise _failed(question, what, _DIED_FIX, name) from error
    await engine.life.unready(_NOTICED_S)
    await _ready(engine, limit_s)
    return await _asked(engine, question, name, limit_s, again=False)


async def _answer(engine: Engine, question: Question, name: str, limit_s: float) -> bytes:
    """Raises Reset or ConnectFailed where the engine went away, PreflightError for all else."""
    try:
        async with asyncio.timeout(limit_s):
            with await question.call(name) as call:
                async with await engine.ask(call) as answer:
                    return await _whole(answer)
    except (Reset, ConnectFailed):
        raise
    except TimeoutError as error:
        raise _failed(question, f"no answer came within {limit_s:g} s", _SLOW_FIX, name) from error
    except ValueError as error:
        raise _failed(question, str(error), _NO_FIX, name) from error
    except ApiError as error:
        fixes = (fix for pattern, fix in _FIXES if pattern.search(error.message))
        raise _failed(question, f"status {error.status}: {error.message}", next(fixes, _NO_FIX), name) from error


async def _whole(answer: Answer) -> bytes:
    read = bytearray()
    async for piece in answer.pieces():
        read += piece
        if len(read) > _ANSWER_LIMIT_BYTES:
            raise ValueError(f"the answer has more than {_ANSWER_LIMIT_BYTES} bytes")
    return bytes(read)


async def _ready(engine: Engine, limit_s: float) -> None:
    """Return once it is ready. Raises PreflightError when it never will be, fails again and again, or takes long."""
    life = engine.life
    try:
        async with asyncio.timeout(limit_s):
            while life.state is not State.READY:
                if isinstance(engine, ExternalEngine):
                    _refuse_absent(life)
                else:
                    _refuse_failing(life)
                await life.changed()
    except TimeoutError as error:
        last = f"; {life.ended}" if life.ended else ""
        raise PreflightError(f"its engine was not ready within {limit_s:g} s{last}") from error


def _refuse_absent(life: Life) -> None:
    if life.failures:
        raise PreflightError(f"{life.ended}; start it, or change uri")


def _refuse_failing(life: Life) -> None:
    if life.failure is not None:
        raise PreflightError(life.failure)
    if life.over:
        raise PreflightError("its engine was stopped before it was ready")
    if life.failures >= _MOST_STARTS:
        last = f"; the last time it {life.ended}" if life.ended else ""
        raise PreflightError(f"its engine failed {life.failures} times in a row while starting{last}; {_NO_FIX}")


def _failed(question: Question, what: str, fix: str, name: str) -> PreflightError:
    """One line, whatever an engine has written."""
    table = f"[node.models.{name}]"
    said = " ".join(what.split())
    said = said if len(said) <= _SHOWN else f"{said[: _SHOWN - 3]}..."
    return PreflightError(f"asked on {question.endpoint.name}: {said}; {fix.format(table=table)}")
