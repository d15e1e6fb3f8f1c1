"""What is paid in credits: the price list, who has how many, what each message costs, and what was ever charged.

As on real nodes a machine is priced by its compute units, or by its GPU's tier, and what its disk has beyond them; a
message that is to be paid by credits is taken only where the balance holds a day of everything that its owner runs.
That, and that the image of a machine is known, is looked at from the first grant of credits on: before, all is free.
Left out: time (no credit is ever used up), and payment by holding or by streams, which costs nothing here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Protocol

from tests.fakes.aleph_node.message import Code, Message, Refused

OWNER = "0xFba561a84A537fCaa567bb7A2257e7142701ae2A"  # whose aggregates the price list is
_UNIT = {"vcpus": 1, "memory_mib": 2048, "disk_mib": 20480}
_GPU_UNIT = {"vcpus": 1, "memory_mib": 6144, "disk_mib": 61440}
_DISK = {"credit": "0.000000977"}
AGGREGATES: dict[str, dict[str, Any]] = {
    "pricing": {
        "storage": {"price": {"storage": {"credit": "0.01"}}},
        "instance": {
            "price": {"compute_unit": {"credit": "14250"}, "storage": _DISK},
            "compute_unit": _UNIT,
            "tiers": [{"id": f"tier-{n}", "compute_units": n} for n in (1, 2, 4, 6, 8, 12)],
        },
        "instance_gpu_standard": {
            "price": {"compute_unit": {"credit": "70000"}, "storage": _DISK},
            "compute_unit": _GPU_UNIT,
            "tiers": [
                {"id": "tier-1", "vram": 20480, "model": "RTX 4000 ADA", "compute_units": 3},
                {"id": "tier-2", "vram": 24576, "model": "RTX 4090", "compute_units": 6},
            ],
        },
        "instance_gpu_premium": {
            "price": {"compute_unit": {"credit": "140000"}, "storage": _DISK},
            "compute_unit": _GPU_UNIT,
            "tiers": [{"id": "tier-1", "vram": 81920, "model": "H100", "compute_units": 24}],
        },
    },
    "settings": {
        "compatible_gpus": [
            {
                "name": "AD104GL [RTX 4000 SFF Ada]",
                "model": "RTX 4000 ADA",
                "vendor": "NVIDIA",
                "device_id": "10de:27b0",
            },
            {"name": "AD102 [GeForce RTX 4090]", "model": "RTX 4090", "vendor": "NVIDIA", "device_id": "10de:2684"},
            {"name": "GH100 [H100]", "model": "H100", "vendor": "NVIDIA", "device_id": "10de:2336"},
        ],
        "last_crn_version": "1.7.0",
    },
}


class Ledger(Protocol):
    """What is asked of the messages that were processed before."""

    def charged(self, owner: str) -> list[Message]:
        """The owner's messages that machines and files hang on, those that are not forgotten."""

    def blob(self, item_hash: str) -> bytes | None:
        """A file that is here."""


class Credits:
    """Owns the balances and the count of what was charged."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._balances: dict[str, Decimal] = {}
        self.counted = False
        self.factor = Decimal(1)  # prices times this
        self.charges: Counter[str] = Counter()  # "INSTANCE 0x...": how often one was taken

    def grant(self, owner: str, amount: float) -> None:
        self._balances[owner.lower()] = Decimal(str(amount))
        self.counted = True

    def balance(self, owner: str) -> Decimal:
        return self._balances.get(owner.lower(), Decimal(0))

    def check(self, message: Message) -> None:
        """Raises Refused where a day of it cannot be paid for."""
        if not _by_credit(message.content):
            return
        running = sum((self.a_second(m.type, m.content) for m in self._ledger.charged(message.owner)), Decimal(0))
        needed = (running + self.a_second(message.type, message.content)) * 86_400
        if self.balance(message.owner) < needed:
            raise Refused(
                Code.CREDIT_INSUFFICIENT,
                {
                    "required_credits": str(needed.quantize(Decimal("0.001"))),
                    "account_credits": str(self.balance(message.owner)),
                    "min_runtime_days": 1,
                },
            )

    def charge(self, message: Message) -> None:
        if _by_credit(message.content):
            self.charges[f"{message.type} {message.owner.lower()}"] += 1

    def a_second(self, kind: str, content: Mapping[str, Any]) -> Decimal:
        """Credits a second. ValueError for a GPU that the list does not have."""
        if not _by_credit(content):
            return Decimal(0)
        hour = self._file(content) if kind == "STORE" else self._machine(content)
        return hour * self.factor / 3600

    def _file(self, content: Mapping[str, Any]) -> Decimal:
        blob = self._ledger.blob(str(content.get("item_hash")))
        mib = Decimal(content.get("estimated_size_mib") or (len(blob) / 2**20 if blob else 1))
        return mib * Decimal(AGGREGATES["pricing"]["storage"]["price"]["storage"]["credit"])

    def _machine(self, content: Mapping[str, Any]) -> Decimal:
        gpus = (content.get("requirements") or {}).get("gpu") or []
        resources, disk = content["resources"], Decimal(content["rootfs"]["size_mib"])
        product = AGGREGATES["pricing"]["instance"]
        units = max(resources["vcpus"], math.ceil(resources["memory"] / _UNIT["memory_mib"]))
        if gpus:
            product, units = _tier(str(gpus[0]["device_id"]))
        included = Decimal(product["compute_unit"]["disk_mib"]) * units
        cost = Decimal(product["price"]["compute_unit"]["credit"]) * units
        return cost + max(Decimal(0), disk - included) * Decimal(_DISK["credit"])


def _by_credit(content: Mapping[str, Any]) -> bool:
    return (content.get("payment") or {}).get("type") == "credit"


def _tier(device_id: str) -> tuple[dict[str, Any], int]:
    model = next(
        (gpu["model"] for gpu in AGGREGATES["settings"]["compatible_gpus"] if gpu["device_id"] == device_id), None
    )
    for name in ("instance_gpu_premium", "instance_gpu_standard"):
        product = AGGREGATES["pricing"][name]
        for tier in product["tiers"]:
            if tier["model"] == model:
                return product, tier["compute_units"]
    raise ValueError(f"GPU device_id {device_id} not found in compatible GPUs")
