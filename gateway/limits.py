"""The named time limits of each model: the gateway's, or what `[gateway.limits."MODEL"]` says in their place.

Pure. A model goes by the name that nodes advertise it under: an alias, or a name with an @, has no limits of its own.
Not here: what is done when one fires (attempts), and the options (config).
"""

from __future__ import annotations

from dataclasses import fields
from types import MappingProxyType

from gateway.config import GatewayConfig
from relay.errors import ApiError
from relay.limits import Limits

# The code of the error -> which limit that was.
FIRED = MappingProxyType({
    "connect_timeout": "connect",
    "head_timeout": "head",
    "first_token_timeout": "first_token",
    "gap_timeout": "gap",
    "queue_timeout": "queue",
})  # fmt: skip


class LimitsOf:
    """Looked up, and never changed."""

    def __init__(self, config: GatewayConfig) -> None:
        usual = {field.name: getattr(config, field.name) for field in fields(Limits)}
        self.usual = Limits(**usual)
        self._of = {
            model: Limits(**(usual | own.model_dump(exclude_none=True))) for model, own in config.limits.items()
        }

    def __repr__(self) -> str:
        return f"<LimitsOf {self.usual} {self._of}>"

    def of(self, model: str) -> Limits:
        """By the advertised name."""
        return self._of.get(model, self.usual)


def fired(error: ApiError) -> str | None:
    """Which of the gateway's own limits ended this, if one did: a node's word that one of its own did is none."""
    return None if error.theirs or error.code is None else FIRED.get(error.code)
