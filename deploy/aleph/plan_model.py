"""Which machine is made, and where: what was chosen, so that it stays chosen. Not here: the choice (plan)."""

from __future__ import annotations

from decimal import Decimal

from pydantic import BaseModel, ConfigDict

__all__ = ["Gpu", "Plan"]


class Gpu(BaseModel):
    """One GPU as its host lists it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    vendor: str
    model: str
    device_name: str
    device_class: str
    device_id: str


class Plan(BaseModel):
    """One machine on one host, and what it costs by the hour, in credits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host_hash: str
    host_name: str
    host_url: str
    gpu: Gpu | None
    vcpus: int
    memory_mib: int
    disk_mib: int
    terms: str | None = None  # item hash of the host's terms and conditions
    shown: Decimal | None = None  # credits an hour that were shown and agreed to
