"""The network's list of compute hosts -> offers, the best first. Pure; strangers wrote what is in the list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deploy.aleph.plan_model import Gpu
from deploy.aleph.pricing import PriceList, Size
from registry.answers import one_line

__all__ = ["Compute", "Offer", "find_host", "offers", "read_hosts"]

_PLACES = ("region", "location", "country", "city")


class _Room(BaseModel):
    available_kB: int = 0


class _Usage(BaseModel):
    model_config = ConfigDict(extra="ignore")

    mem: _Room = Field(default_factory=_Room)
    disk: _Room = Field(default_factory=_Room)
    active: bool = True


class Compute(BaseModel):
    """One compute host, as far as it matters here. `address` is its URL."""

    model_config = ConfigDict(frozen=True, extra="allow")

    hash: str
    name: str
    address: str
    score: float | None = None
    version: str | None = None
    qemu_support: bool | None = None
    gpu_support: bool | None = None
    ipv6_check: Mapping[str, Any] | None = None
    system_usage: _Usage | None = None
    compatible_available_gpus: tuple[Gpu, ...] | None = None
    terms_and_conditions: str | None = None

    @property
    def url(self) -> str:
        bare = self.address.rstrip("/")
        return bare if "://" in bare else f"https://{bare}"

    @property
    def shown(self) -> str:
        """Its name, fit for a terminal."""
        return one_line(self.name, 40) or self.hash[:12]

    @property
    def place(self) -> str:
        extra = self.model_extra or {}
        return " ".join(str(extra[word]) for word in _PLACES if extra.get(word))

    @property
    def ipv6_works(self) -> bool:
        return bool(self.ipv6_check) and all((self.ipv6_check or {}).values())


@dataclass(frozen=True)
class Offer:
    """A machine that a host has room for. `free` is how many of that GPU it has."""

    host: Compute
    gpu: Gpu | None
    size: Size
    free: int


def read_hosts(answer: Any) -> list[Compute]:
    """Those in the list that make sense. ValueError where there is no list."""
    raw = answer.get("crns") if isinstance(answer, dict) else None
    if not isinstance(raw, list):
        raise ValueError("it holds no list 'crns'")
    found = []
    for entry in raw:
        try:
            host = Compute.model_validate(entry)
        except ValidationError:
            continue
        if _is_url(host.url):
            found.append(host)
    return found


def offers(
    hosts: Iterable[Compute], prices: PriceList, *, gpu: str | None, region: str | None, ipv6: bool, units: int | None
) -> list[Offer]:
    """What fits: cheapest first, then by the network's score of the host."""
    fitting: list[Offer] = []
    for host in hosts:
        if not _answers(host, region, ipv6):
            continue
        cards = _cards(host, gpu) if gpu is not None else {"": [None]}
        for same in cards.values():
            size = prices.size(same[0], units)
            if size is not None and _has_room(host, size):
                fitting.append(Offer(host, same[0], size, len(same)))
    return sorted(fitting, key=lambda offer: (offer.size.credits_hour, -(offer.host.score or 0), offer.host.hash))


def find_host(found: Sequence[Offer], wanted: str) -> list[Offer]:
    """Those of one host, named by its hash or its URL."""
    bare = wanted.rstrip("/")
    return [offer for offer in found if bare in (offer.host.hash, offer.host.url, offer.host.address.rstrip("/"))]


def _answers(host: Compute, region: str | None, ipv6: bool) -> bool:
    said = f"{host.place} {host.name} {host.address}".lower()
    able = host.qemu_support is not False and (host.system_usage is None or host.system_usage.active)
    return able and (region is None or region.lower() in said) and (not ipv6 or host.ipv6_works)


def _cards(host: Compute, wanted: str) -> dict[str, list[Gpu | None]]:
    """The free GPUs that are meant, those of one kind together."""
    kinds: dict[str, list[Gpu | None]] = {}
    words = wanted.lower().split()
    for card in host.compatible_available_gpus or ():
        said = f"{card.vendor} {card.model} {card.device_name}".lower()
        if host.gpu_support is not False and all(word in said for word in words):
            kinds.setdefault(card.device_id, []).append(card)
    return kinds


def _has_room(host: Compute, size: Size) -> bool:
    usage = host.system_usage
    if usage is None:
        return False
    return usage.mem.available_kB >= size.memory_mib * 1024 and usage.disk.available_kB >= size.disk_mib * 1024


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("https", "http") and bool(parts.hostname) and not parts.query and "@" not in parts.netloc
        )
    except ValueError:
        return False
