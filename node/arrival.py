"""One model's way onto the node: fetched, opened, found to fit, loaded, tried, served. And its way off.

A model that fails says why in one line. Not here: which models there are (offering), what is in memory (residency).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from node.chatml import TemplateError
from node.config import NodeConfig
from node.engines.engine import Engine, EngineError
from node.kind import KindError
from node.life import NotReady
from node.model_config import ModelConfig
from node.models import Entry, Models, Phase
from node.opening import Opener, Opening, prices
from node.proving.preflight import PreflightError, misfit, prove
from node.residents.budget import fits
from node.residents.residency import Residency
from node.residents.tenant import Gone, Misfit, Tenant
from node.sizes.memory import Memory
from node.store.progress import Progress
from node.store.store import Store
from node.uri import EngineUri, RemoteUri, WeightsUri, parse_uri
from node.weights import WeightsError

log = logging.getLogger("waypost.node")

_FOREVER = float("inf")
_LOOK_EVERY_S = 1.0
_MOST_STARTS = 3  # of a model that is loaded on demand; a kept one is started again and again
FAULTS = (WeightsError, KindError, TemplateError, EngineError, PreflightError)


@dataclass(frozen=True)
class Parts:
    """What models pass on their way. `measure` tells what an engine's processes hold."""

    models: Models
    opener: Opener
    store: Store
    residency: Residency
    measure: Callable[[Engine], Memory | None]


class Arrival:
    """`run` brings one model; what was served under its name is served until this one is."""

    def __init__(self, name: str, wish: ModelConfig, config: NodeConfig, parts: Parts) -> None:
        self._name = name
        self._wish = wish
        self._config = config
        self._parts = parts
        self._entry = Entry(name, kept=wish.kept)
        self._old: Entry | None = None

    def __repr__(self) -> str:
        return f"<Arrival {self._entry!r}>"

    async def run(self) -> bool:
        """Whether it is served now; else it has failed."""
        self._old = self._parts.models.entry(self._name)
        if self._old is None or self._old.served is None or self._old.failure is not None:
            self._parts.models.put(self._entry)
            self._forget_old()
        tenant = None
        try:
            uri = await self._fetched()
            self._enter(Phase.OPENING)
            opening = await self._parts.opener.open(self._name, self._wish, self._config, uri)
            await self._find_room(opening)
            tenant = self._take_in(opening)
            await self._prove(opening, tenant)
        except BaseException as error:
            if tenant is not None:
                self._parts.residency.dismiss(tenant)
            self._keep_old()
            self._entry.served = None
            if not isinstance(error, FAULTS):
                raise
            self._fail(str(error))
            return False
        self._enter(Phase.SERVED)
        self._parts.models.put(self._entry)
        self._forget_old()
        return True

    def relabel(self, wish: ModelConfig, config: NodeConfig) -> None:
        """It shall have other names, prices or times, while it is on its way."""
        self._wish, self._config = wish, config
        relabel(self._entry, wish, config, self._parts.residency)
        if self._old is not None:
            relabel(self._old, wish, config, None)

    async def _fetched(self) -> WeightsUri | EngineUri:
        """Where the weights are on this machine."""
        assert self._wish.uri is not None
        uri = parse_uri(self._wish.uri)
        if not isinstance(uri, RemoteUri):
            return uri
        self._entry.progress = Progress(self._name)
        self._enter(Phase.DOWNLOADING)
        path = await self._parts.store.fetch(uri, self._entry.progress)
        return WeightsUri(path)  # its digest was enforced when it came

    async def _find_room(self, opening: Opening) -> None:
        """Raises EngineError with the settings that would fit, where it does not.

        Before that is said, whoever is just being opened has its place: what would fit must fit beside those too.
        """
        need, residency = opening.opened.need, self._parts.residency
        if self._old is not None and self._old.served is not None:
            self._old.served.tenant.parting = True
        self._entry.need = need
        while not fits(need, residency.room()):
            if all(map(_is_opened, self._parts.models.entries)):
                room = residency.room()
                raise EngineError(misfit(need, room, residency.budget, opening.opened.fix(room)))
            await self._parts.models.change()

    def _take_in(self, opening: Opening) -> Tenant:
        """Give it its place."""
        need, residency = opening.opened.need, self._parts.residency
        idle_s = self._config.idle_s if self._wish.idle_s is None else self._wish.idle_s
        tenant = residency.add(opening.opened.engine, need, kept=self._wish.kept, idle_s=idle_s)
        self._entry.served = opening.served(self._name, self._wish, self._config, tenant)
        self._enter(Phase.PROVING)
        return tenant

    async def _prove(self, opening: Opening, tenant: Tenant) -> None:
        """Let it show that it works. Raises PreflightError."""
        life = tenant.engine.life

        async def look(_: float) -> None:
            if not self._wish.kept and life.failures >= _MOST_STARTS:
                raise PreflightError(
                    f"its engine {life.ended} in {life.failures} starts; see the log for what it wrote"
                )

        try:
            async with self._parts.residency.hold(tenant, _FOREVER, look, _LOOK_EVERY_S) as engine:
                measure = self._parts.measure
                proof = await prove(engine, opening.endpoints, self._name, 0.0, lambda: measure(engine))
        except Misfit as error:  # others are kept loaded since it was found to fit, or the budget is smaller
            raise PreflightError(str(error)) from error
        except (Gone, NotReady) as error:
            raise PreflightError(life.failure or f"its engine is {life.state.value}") from error
        self._entry.proof = replace(proof, load_s=tenant.load_s or proof.load_s)
        log.info("%s: %s", self._name, self._entry.proof)

    def _forget_old(self) -> None:
        if self._old is not None and self._old.served is not None:
            self._parts.residency.dismiss(self._old.served.tenant)
        self._old = None

    def _keep_old(self) -> None:
        if self._old is not None and self._old.served is not None:
            tenant = self._old.served.tenant
            tenant.kept, tenant.parting = self._old.kept, False

    def _fail(self, why: str) -> None:
        if self._old is not None and self._old.served is not None and self._old.failure is None:
            log.error("%s goes on as it was: its new settings cannot be served: %s", self._name, why)
            return
        self._entry.why = why
        self._enter(Phase.FAILED)
        log.error("%s is not served: %s", self._name, why)

    def _enter(self, phase: Phase) -> None:
        self._entry.phase = phase
        self._parts.models.changed()


def _is_opened(entry: Entry) -> bool:
    """What it needs is known, or will not be for long."""
    return entry.phase is not Phase.OPENING or entry.need is not None


def relabel(entry: Entry, wish: ModelConfig, config: NodeConfig, residency: Residency | None) -> None:
    """What a model is called, costs and when it is loaded; its engine is the same. Without `residency`, it is to go."""
    entry.kept = wish.kept
    if entry.served is None:
        return
    entry.served = replace(entry.served, aliases=wish.aliases, prices=prices(wish, config))
    if residency is None:
        return
    tenant, kept = entry.served.tenant, wish.kept
    room = residency.room(leaving=tenant)
    if kept and not fits(tenant.need, room):
        log.error(
            "%s is still loaded on demand: it needs %s to be kept, and %s are there", entry.name, tenant.need, room
        )
        entry.kept = kept = False
    residency.keep(tenant, kept, config.idle_s if wish.idle_s is None else wish.idle_s)
