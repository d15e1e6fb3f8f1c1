"""Which models an advert offers, and which of them it calls warm. Pure: from how they stand at each look.

Not here: signing (advertiser), when a model is loaded and unloaded (residency).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from node.models import Served
from registry.advert import Offer, Price

SETTLE_S = 5.0  # an engine that is away for less than this, as in a restart, keeps its offer


@dataclass(frozen=True)
class Offered:
    """A model that has shown that it works, as it stands at this moment.

    `warm`: it is loaded, and answers without waiting for that. `available`: a request would be answered, be it after
    loading; false while an engine is down that should be up. `queue`: how many may wait for a slot.
    """

    served: Served
    warm: bool
    available: bool
    queue: int | None = None


class Offers:
    """Remembers of each model when it was last available, and whether it was warm then."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, bool]] = {}

    def __repr__(self) -> str:
        return f"<Offers {' '.join(f'{name}={_word(warm)}' for name, (_, warm) in self._last.items())}>"

    def take(self, offered: Iterable[Offered], now: float) -> tuple[Offer, ...]:
        """What to advertise at `now` (seconds), in the order given. What is no longer in `offered` is forgotten."""
        listed = {one.served.name: one for one in offered}
        known = {name: last for name, last in self._last.items() if name in listed}
        self._last = known | {name: (now, one.warm) for name, one in listed.items() if one.available}
        lately = {name: warm for name, (at, warm) in self._last.items() if abs(now - at) <= SETTLE_S}
        return tuple(_offer(one, lately[name]) for name, one in listed.items() if name in lately)


def without_warmth(offers: Iterable[Offer]) -> tuple[Offer, ...]:
    """The same offers, none of them warm: two that are equal so differ in warmth alone."""
    return tuple(offer.model_copy(update={"warm": False}) for offer in offers)


def summary(offers: Iterable[Offer]) -> str:
    """For the log."""
    return ", ".join(f"{offer.model} ({_word(offer.warm)})" for offer in offers) or "nothing"


def _word(warm: bool) -> str:
    return "warm" if warm else "cold"


def _offer(one: Offered, warm: bool) -> Offer:
    model, profile = one.served, one.served.profile
    offer = Offer(
        model=model.name, aliases=model.aliases, endpoints=model.endpoints, weights_sha256=profile.weights_sha256,
        template_sha256=profile.template_sha256, quantization=profile.quantization,
        context_length=profile.context_length, parallel=model.engine.slots, modalities=profile.modalities,
        engine=profile.engine, resume=profile.resume, warm=warm,
        prices=tuple(Price(unit=unit, amount=amount) for unit, amount in model.prices),
    )  # fmt: skip
    further = {"rerank_by": profile.rerank_by, "queue": one.queue}
    return offer.model_copy(update={name: value for name, value in further.items() if value is not None})
