"""What the network asks for machines, by its public price list -> sizes and credits an hour. Pure.

The list is for choosing: what is agreed to is the network's own estimate for the very message (network.estimate).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from deploy.aleph.plan_model import Gpu
from registry.commands.failure import CommandError

__all__ = ["PriceList", "Size"]

_PLAIN = "instance"
_WITH_GPU = ("instance_gpu_standard", "instance_gpu_premium")
_PLAIN_UNITS = 4


@dataclass(frozen=True)
class Size:
    """A machine that can be had, and what it costs with the disk that comes with it. Nothing else is included."""

    vcpus: int
    memory_mib: int
    disk_mib: int
    credits_hour: Decimal


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Price(_Read):
    credit: Decimal | None = None


class _Unit(_Read):
    vcpus: int
    memory_mib: int
    disk_mib: int


class _Tier(_Read):
    compute_units: int
    model: str | None = None


class _Product(_Read):
    price: Mapping[str, _Price | Decimal]
    compute_unit: _Unit
    tiers: tuple[_Tier, ...] = ()


class _Card(_Read):
    model: str
    device_id: str


class PriceList:
    """The network's aggregates `pricing` and `settings`."""

    def __init__(self, pricing: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        """CommandError where they are not what this was written for."""
        wanted = {name: pricing[name] for name in (_PLAIN, *_WITH_GPU) if name in pricing}
        try:
            self._products = {name: _Product.model_validate(product) for name, product in wanted.items()}
            self._cards = [_Card.model_validate(card) for card in settings.get("compatible_gpus") or ()]
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, fault["loc"]))
            raise CommandError(
                f"the network's price list is not as expected ({where}: {fault['msg']}); see for a newer waypost"
            ) from error

    def __repr__(self) -> str:
        return f"PriceList({', '.join(self._products)}; {len(self._cards)} GPUs)"

    def size(self, gpu: Gpu | None, units: int | None) -> Size | None:
        """The machine that has this GPU, or a plain one; None if the list has none. `units` makes it larger."""
        if gpu is None:
            return self._sized(_PLAIN, units or _PLAIN_UNITS)
        model = next((card.model for card in self._cards if card.device_id == gpu.device_id), None)
        for name in _WITH_GPU:
            for tier in self._products[name].tiers if name in self._products else ():
                if model is not None and tier.model == model:
                    return self._sized(name, max(units or 0, tier.compute_units), priced=tier.compute_units)
        return None

    def _sized(self, name: str, units: int, priced: int | None = None) -> Size | None:
        """With a GPU the price is its tier's, however large the machine."""
        product = self._products.get(name)
        price = product.price.get("compute_unit") if product else None
        if product is None or not isinstance(price, _Price) or price.credit is None:
            return None
        unit = product.compute_unit
        cost = price.credit * (priced or units)
        return Size(unit.vcpus * units, unit.memory_mib * units, unit.disk_mib * units, cost)
