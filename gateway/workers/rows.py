"""What is known of one node, as it travels from the parent to a worker.

An advert travels as the text that was signed and is parsed from it again: what the parent has verified, and no copy.
Signatures stay with the parent, since workers neither judge nor publish.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from registry.advert import Advert, Envelope, Kind
from registry.trust import Believed, Key

__all__ = ["Row"]

_WITH_THE_PARENT = Envelope(Kind.ADVERT, "", "")


@dataclass(frozen=True, slots=True)
class Row:
    """`believed` is None where nothing is. `proven`: its key, at its URL. `owned`: the machine that it claims."""

    key: Key
    believed: Believed | None
    proven: bool = False
    owned: bool = False

    def written(self) -> list[Any]:
        """As JSON knows it."""
        if self.believed is None:
            return [*self.key]
        believed = self.believed
        return [*self.key, believed.envelope.text, believed.valid_until, believed.explicit, self.proven, self.owned]

    @classmethod
    def read(cls, written: Sequence[Any]) -> Row:
        """What `written` gave, by the worker."""
        operator, node, *rest = written
        if not rest:
            return cls((operator, node), None)
        text, valid_until, explicit, proven, owned = rest
        advert = Advert.model_validate_json(
            text
        )  # all other checks on it were the parent's, with the signature at hand
        return cls((operator, node), Believed(advert, _WITH_THE_PARENT, valid_until, explicit), proven, owned)
