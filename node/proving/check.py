"""`waypost node check`: each model on the way that it would go onto a node, and nothing of it on the network.

All are opened first, so that it is known what they need together; then one after the other is loaded, asked, measured
and unloaded. Not here: the parts of that way (store, opening, preflight), and how findings are shown (check_table).
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from node.arrival import FAULTS
from node.engines.engine import Engine
from node.gpus import Gpus
from node.hardware import detect
from node.model_config import ModelConfig
from node.opening import Opener, Opening
from node.pictures import Pictures
from node.proving.check_config import CheckConfig
from node.proving.check_table import Checked, as_json, table
from node.proving.preflight import PreflightError, misfit, prove
from node.runtime import runtime_folder
from node.sizes.memory import Memory
from node.sizes.share import budget_of, measured_by, within
from node.store.progress import Progress
from node.store.store import Store
from node.uri import EngineUri, RemoteUri, WeightsUri, parse_uri
from node.wanted import Place

_EXTERNAL = "external"
_ENGINES_LOG = "waypost.engine"
_EXTERNAL_S = 30.0  # for an engine elsewhere to be seen or missed: more than a look at it takes
_STOPPED = 143


def run(config: CheckConfig) -> int:
    """Check, and print what was found. Returns the exit status: 0 if all models would be served."""
    logging.basicConfig(level=config.log_level.upper(), stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    if config.log_level != "debug":
        logging.getLogger(_ENGINES_LOG).setLevel(logging.CRITICAL)  # the table says how an engine failed
    try:
        rows = asyncio.run(_check(config))
    except asyncio.CancelledError:
        return _STOPPED
    except OSError as error:
        print(f"waypost: {error}", file=sys.stderr)
        return 1
    _print(rows, config.json_)
    return 0 if all(row.good for row in rows) else 1


async def _check(config: CheckConfig) -> list[Checked]:
    """Raises OSError where there is no folder for it to work in."""
    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    config.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    async with AsyncExitStack() as stack:
        runtime = stack.enter_context(runtime_folder(os.environ.get("XDG_RUNTIME_DIR")))
        gpus = await Gpus.opened()
        stack.callback(gpus.close)
        hardware = await detect(gpus)
        store = Store(config.weights or config.state / "weights", config.aleph_api)
        stack.push_async_callback(store.close)
        budget = budget_of(config, hardware)
        place = Place(within(budget, hardware), runtime, lambda: None)
        opener = Opener(place, Pictures(runtime / "pictures", lambda: ""))
        checking = Checking(config, opener, store, budget, measured_by(gpus))
        return await checking.all()


@dataclass(frozen=True)
class Checking:
    """The models of one configuration, within `budget`. `measure` tells what an engine's processes hold."""

    config: CheckConfig
    opener: Opener
    store: Store
    budget: Memory
    measure: Callable[[Engine], Memory | None]

    async def all(self) -> list[Checked]:
        """A row a model, in the configuration's order."""
        wishes = self.config.served()
        opened = {name: await self._opened(name, wish) for name, wish in wishes.items()}
        rows: dict[str, Checked] = {}
        room = self.budget
        for name in sorted(wishes, key=lambda name: not wishes[name].kept):  # kept ones leave the others what they can
            wish, opening = wishes[name], opened[name]
            if not isinstance(opening, Opening):
                rows[name] = Checked(name, why=opening)
                continue
            rows[name] = await self._tried(name, wish, opening, room)
            if wish.kept and rows[name].good:
                room -= opening.opened.need
        return [rows[name] for name in wishes]

    async def _opened(self, name: str, wish: ModelConfig) -> Opening | str:
        """A model that could be opened, or why not."""
        _say(f"{name}: opening")
        try:
            return await self.opener.open(name, wish, self.config, await self._fetched(name, wish))
        except FAULTS as error:
            return str(error)

    async def _fetched(self, name: str, wish: ModelConfig) -> WeightsUri | EngineUri:
        assert wish.uri is not None
        uri = parse_uri(wish.uri)
        if not isinstance(uri, RemoteUri):
            return uri
        return WeightsUri(await self.store.fetch(uri, Progress(name)))

    async def _tried(self, name: str, wish: ModelConfig, opening: Opening, room: Memory) -> Checked:
        """Loaded and asked, if there is room for it."""
        opened = opening.opened
        row = Checked(name, opening.kind or _EXTERNAL, opening.weights_bytes, opened.need)
        if not opened.need.fits(room):
            return replace(row, why=misfit(opened.need, room, self.budget, opened.fix(room)))
        _say(f"{name}: loading")
        ready_s = (wish.start_s or self.config.start_s) if opening.kind else _EXTERNAL_S
        running = asyncio.create_task(opened.engine.run())
        try:
            measure = self.measure
            proof = await prove(opened.engine, opening.endpoints, name, ready_s, lambda: measure(opened.engine))
            return replace(row, proof=proof)
        except PreflightError as error:
            return replace(row, why=str(error))
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def _say(what: str) -> None:
    """To somebody who waits at a terminal; the line is gone when there is something else to say."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{what[: _width() - 1]}", end="", file=sys.stderr, flush=True)


def _print(rows: list[Checked], as_objects: bool) -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    if as_objects:
        sys.stdout.buffer.write(as_json(rows) + b"\n")
        return
    terminal = sys.stdout.isatty()
    print(table(rows, _width() if terminal else None, coloured=terminal and not os.environ.get("NO_COLOR")))


def _width() -> int:
    return shutil.get_terminal_size().columns
