"""What this node offers: one way a configured model (arrival), and what changes when the configuration does.

Not here: which changes are what (changes), what is in memory (residency), what others are told (advertiser).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from node.arrival import Arrival, Parts, relabel
from node.changes import Changes, changes, in_force
from node.config import NodeConfig
from node.model_config import ModelConfig
from node.models import Entry, Phase
from node.publishing.offers import Offered
from node.uri import WeightsUri, parse_uri

log = logging.getLogger("waypost.node")

_Identity = tuple[tuple[str, int, int, int], ...]


class Offering:
    """Owns a task for each model on its way, and who is in `parts.models`."""

    def __init__(self, config: NodeConfig, parts: Parts) -> None:
        self.config = config
        self._parts = parts
        self._coming: dict[str, tuple[Arrival, asyncio.Task[bool]]] = {}
        self._unmet: set[str] = set()  # whose newest settings could not be had
        self._files: Mapping[str, _Identity] = {}

    def __repr__(self) -> str:
        return f"<Offering coming={sorted(self._coming)} {self._parts.models!r}>"

    async def begin(self) -> None:
        """Start on all that is configured."""
        served = self.config.served()
        self._files = await asyncio.to_thread(_identities, served)
        for name, wish in served.items():
            self._bring(name, wish)

    async def apply(self, config: NodeConfig) -> Changes:
        """Go on with these options, as far as that can be while the node runs. Returns what is done.

        A model that has failed, if only in a change, or whose files are others now, is tried anew.
        """
        served = config.served()
        files = await asyncio.to_thread(_identities, served)
        touched = {name for name, identity in files.items() if self._files.get(name, identity) != identity}
        made = changes(self.config, config, touched | self._unmet | self._parts.models.failed.keys())
        self.config, self._files = in_force(self.config, config), files
        for name in made.removed:
            await self._take_away(name)
        for name in filter(made.relabelled.__contains__, served):
            self._relabel(name, served[name])
        for name in filter((made.changed | made.added).__contains__, served):
            await self._stop_coming(name)
            self._bring(name, served[name])
        self._parts.models.changed()
        return made

    def offered(self) -> tuple[Offered, ...]:
        """What may be advertised now."""
        return tuple(
            Offered(model, warm=model.ready, available=model.tenant.available, queue=self.config.queue)
            for model in self._parts.models.offered
        )

    @property
    def settled(self) -> bool:
        """Whether each model that is not being fetched is served, or has failed once; and there is such a one."""
        entries = [entry for entry in self._parts.models.entries if entry.phase is not Phase.DOWNLOADING]
        return bool(entries) and all(map(_was_tried, entries))

    async def close(self) -> None:
        """End what is on its way. Engines are the residency's."""
        for name in tuple(self._coming):
            await self._stop_coming(name)

    def _bring(self, name: str, wish: ModelConfig) -> None:
        arrival = Arrival(name, wish, self.config, self._parts)
        task = asyncio.create_task(arrival.run())
        self._coming[name] = arrival, task
        self._unmet.discard(name)
        task.add_done_callback(lambda done: self._ended(name, done))

    def _ended(self, name: str, task: asyncio.Task[bool]) -> None:
        if name not in self._coming or self._coming[name][1] is not task:
            return  # it was stopped
        del self._coming[name]
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("%s is not served: %r", name, error, exc_info=error)
            self._give_up(name)
        if task.cancelled() or error is not None or not task.result():
            self._unmet.add(name)

    def _give_up(self, name: str) -> None:
        """A fault of ours must not leave a model on its way for ever."""
        entry = self._parts.models.entry(name)
        if entry is not None and entry.phase is not Phase.SERVED:
            entry.phase, entry.why = Phase.FAILED, "a fault of the node itself; see its log"
            self._parts.models.changed()

    async def _stop_coming(self, name: str) -> None:
        if name in self._coming:
            _, task = self._coming.pop(name)
            task.cancel()
            await asyncio.wait((task,))

    async def _take_away(self, name: str) -> None:
        """No further requests; those that run go on to their end."""
        await self._stop_coming(name)
        self._unmet.discard(name)
        entry = self._parts.models.entry(name)
        self._parts.models.drop(name)
        if entry is not None and entry.served is not None:
            self._parts.residency.dismiss(entry.served.tenant)

    def _relabel(self, name: str, wish: ModelConfig) -> None:
        if name in self._coming:
            self._coming[name][0].relabel(wish, self.config)
        elif (entry := self._parts.models.entry(name)) is not None:
            relabel(entry, wish, self.config, self._parts.residency)


def _was_tried(entry: Entry) -> bool:
    if entry.phase in (Phase.SERVED, Phase.FAILED) or entry.failure is not None:
        return True
    return entry.served is not None and entry.served.engine.life.failures > 0


def _identities(served: Mapping[str, ModelConfig]) -> dict[str, _Identity]:
    """What tells whether a model's files are still the same. Blocks."""
    return {name: _identity(wish) for name, wish in served.items()}


def _identity(wish: ModelConfig) -> _Identity:
    uri = parse_uri(wish.uri or "")
    paths = [uri.path if isinstance(uri, WeightsUri) else None, wish.projector, wish.key_file, *wish.files.values()]
    return tuple(_stat(path) for path in paths if path is not None)


def _stat(path: Path) -> tuple[str, int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return str(path), 0, 0, 0
    return str(path), found.st_size, found.st_mtime_ns, found.st_ino
