"""Pure: what is another in a node's new options, and which of that can be had while it runs.

A model's settings are compared as they count for it, the node's own where it has none. Not here: reading options anew
(relay.configuring), whether a file has changed behind its path, and making the changes (offering).
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from node.config import NodeConfig
from node.model_config import ModelConfig

# Each option of a node is in one of these three.
OF_MODELS = frozenset({"model", "models", "price", "idle_s", "start_s", "head_s", "gap_s"})
LIVE = frozenset(
    {
        "ram_mib", "vram_mib", "hold_s", "cold_s", "keepalive_s", "quiet_s", "queue", "queue_s", "ready_s", "drain_s",
        "log_level",
    }
)  # fmt: skip
RESTART = frozenset(
    {
        "listen", "public_url", "registry", "access", "node_key", "delegate_key", "delegation", "payer_key", "region",
        "vm_hash", "state", "llama_server", "sd_server", "weights", "aleph_api", "advert_life_s", "body_limit_bytes",
        "upload_limit_bytes", "tls_key", "tls_certificate",
    }
)  # fmt: skip

_LABELS = frozenset({"aliases", "price", "load", "idle_s"})  # what no engine knows of
_OF_PROCESSES = ("idle_s", "start_s")  # nothing to an engine that runs elsewhere


@dataclass(frozen=True)
class Changes:
    """Models by name, each in one set at most; options of the node by name, in the order of its settings.

    A `changed` model needs a new engine. A `relabelled` one keeps its own: it has other aliases, prices, or times.
    `live` options count at once, `restart` ones only for the node that is started next.
    """

    added: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()
    relabelled: frozenset[str] = frozenset()
    live: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to be done now."""
        return bool(self.added or self.removed or self.changed or self.relabelled or self.live)

    def __str__(self) -> str:
        """What is done now, in a line for the log."""
        done = {
            "added": self.added,
            "removed": self.removed,
            "replaced": self.changed,
            "kept with other names, prices or times": self.relabelled,
            "set": self.live,
        }
        return "; ".join(f"{verb} {', '.join(sorted(names))}" for verb, names in done.items() if names) or "no changes"


def changes(old: NodeConfig, new: NodeConfig, touched: Set[str] = frozenset()) -> Changes:
    """From one to the other. `touched` are models with the same settings, but other files behind them."""
    before, after = _settings(old), _settings(new)
    both = before.keys() & after.keys()
    differing = {name: _differing(before[name], after[name]) for name in both}
    changed = {name for name, fields in differing.items() if fields - _LABELS} | (both & touched)
    return Changes(
        added=frozenset(after.keys() - before.keys()),
        removed=frozenset(before.keys() - after.keys()),
        changed=frozenset(changed),
        relabelled=frozenset(name for name, fields in differing.items() if fields) - changed,
        live=_options(old, new, LIVE),
        restart=_options(old, new, RESTART),
    )


def in_force(old: NodeConfig, new: NodeConfig) -> NodeConfig:
    """The new options, where they can be had while the node runs; else the old ones. To be compared with next time."""
    return new.model_copy(update={name: getattr(old, name) for name in RESTART})


def _settings(config: NodeConfig) -> dict[str, dict[str, object]]:
    return {name: _effective(model, config) for name, model in config.served().items()}


def _effective(model: ModelConfig, config: NodeConfig) -> dict[str, object]:
    """All that a model's offer and engine are made from."""
    own: dict[str, object] = {name: getattr(model, name) for name in ModelConfig.model_fields}
    own |= {"price": model.price or config.price, "head_s": config.head_s, "gap_s": config.gap_s}
    if not model.external:
        own |= {name: getattr(config, name) for name in _OF_PROCESSES if own[name] is None}
    return own


def _differing(before: dict[str, object], after: dict[str, object]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def _options(old: NodeConfig, new: NodeConfig, which: Set[str]) -> tuple[str, ...]:
    there = (name for name in NodeConfig.model_fields if name in which)
    return tuple(name for name in there if getattr(old, name) != getattr(new, name))
