"""What an opener of models is given, one model as it is wanted and where it will be served; and what it gives.

Not here: which opener (opening), and what it makes of it (engines).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from node.config import NodeConfig
from node.engines.engine import Engine
from node.hardware import Hardware
from node.kind import Kind
from node.model_config import ModelConfig
from node.models import Profile
from node.process import ProcessLimits
from node.sizes.memory import Memory
from node.weights import Weights
from relay.limits import Limits


@dataclass(frozen=True)
class Place:
    """The hardware, a private folder for sockets, and whom to tell when an engine's state changes."""

    hardware: Hardware
    runtime: Path
    on_change: Callable[[], None]


@dataclass(frozen=True)
class Wanted:
    """One model. `number` is its own on this node; `weights` are opened."""

    name: str
    wish: ModelConfig
    config: NodeConfig
    place: Place
    number: int
    kind: Kind
    weights: Weights

    @property
    def socket(self) -> Path:
        """Where its engine listens."""
        return self.place.runtime / f"{self.number}.sock"

    @property
    def threads(self) -> int:
        return self.wish.threads or self.place.hardware.threads

    @property
    def process_limits(self) -> ProcessLimits:
        return ProcessLimits(start_s=self.wish.start_s or self.config.start_s)

    @property
    def limits(self) -> Limits:
        return Limits(head_s=self.config.head_s, gap_s=self.config.gap_s)


@dataclass(frozen=True)
class Opened:
    """An engine that does not run yet. `need` is what it is expected to take.

    `fix` gives, for the memory that there is, the settings with which it would fit; None if there are none.
    """

    engine: Engine
    profile: Profile
    need: Memory = field(default_factory=Memory)
    fix: Callable[[Memory], str | None] = lambda _: None
