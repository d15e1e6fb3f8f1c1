"""One model's engine and its stay in memory, as the residency sees it.

Not here: who changes it (residency), and what is made of it (budget).
"""

from __future__ import annotations

from node.engines.engine import Engine
from node.life import State
from node.residents.budget import Place, View
from node.sizes.memory import Memory


class Cold(Exception):
    """The model could not be loaded in the time that the caller had; in `retry_s` it may be."""

    def __init__(self, retry_s: float) -> None:
        super().__init__(f"not loaded; perhaps in {retry_s:.0f} s")
        self.retry_s = retry_s


class Misfit(Exception):
    """The model cannot be loaded at all beside those that are kept; one line."""


class Gone(Exception):
    """The model was removed, or another has taken its place: look it up again."""


class Tenant:
    """One engine, changed by the residency alone. `need` is what it is expected to take, `taken` what it took."""

    def __init__(self, key: int, engine: Engine, need: Memory, kept: bool, idle_s: float, now: float) -> None:
        self.key = key
        self.engine = engine
        self.need = need
        self.kept = kept
        self.idle_s = idle_s
        self.place = Place.COLD
        self.taken: Memory | None = None
        self.loads = 0
        self.unloads = 0
        self.leases = 0
        self.up = False  # it has been ready since it was loaded
        self.load_s: float | None = None  # of the last load
        self.last_used = now
        self.loaded_at = now
        self.began = now  # the load that runs
        self.wants: dict[int, float] = {}  # since when each waits
        self.parting = False  # another is on its way to take its place
        self.removed = False
        self.fits = True  # into what kept models leave

    def __repr__(self) -> str:
        counts = f"leases={self.leases} loads={self.loads} waiting={len(self.wants)}"
        return f"<Tenant {self.name} {self.place.value} {counts}>"

    @property
    def name(self) -> str:
        return self.engine.name

    @property
    def failed(self) -> bool:
        """Its engine was given up."""
        return self.engine.life.failure is not None

    @property
    def stays(self) -> bool:
        """It is loaded and does not leave, or is to be loaded as soon as may be."""
        return self.kept and not self.removed and not self.failed

    @property
    def counted(self) -> Memory:
        """What is set aside for it: what it took before, where that was more."""
        return self.need.most(self.taken) if self.taken else self.need

    @property
    def present(self) -> bool:
        """A request may use it, at once or when its engine is ready."""
        return self.place in (Place.LOADING, Place.WARM) and not self.removed

    @property
    def warm(self) -> bool:
        """It answers at once."""
        return self.place is Place.WARM and self.engine.life.state is State.READY

    @property
    def available(self) -> bool:
        """A request would be answered, be it after loading."""
        if self.warm or self.kept or self.failed:
            return self.warm
        return self.engine.life.failures == 0 if self.place in (Place.LOADING, Place.WARM) else self.fits

    def view(self) -> View:
        """As the budget sees it. Who was just admitted counts, though it has no lease yet."""
        never = self.removed or self.failed
        return View(
            key=self.key,
            need=self.counted,
            place=self.place,
            kept=self.stays,
            wanted_since=None if never else next(iter(self.wants.values()), None),
            leases=self.leases + (len(self.wants) if self.present else 0),
            last_used=self.last_used,
            loaded_at=self.loaded_at,
            idle_s=self.idle_s,
            stuck=self._stuck,
        )

    @property
    def _stuck(self) -> bool:
        life = self.engine.life
        return self.place is Place.LOADING and life.failures > 0 and life.state is not State.READY
