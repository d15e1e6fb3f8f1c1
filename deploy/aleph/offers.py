"""`waypost deploy offers`: what the network's hosts have room for, the best first. Reads only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from deploy.aleph.config import OffersConfig
from deploy.aleph.hosts import Offer
from deploy.aleph.network import Network
from deploy.aleph.plan import find_offers, money
from deploy.aleph.web import Away, Web
from registry.answers import one_line
from registry.commands.failure import CommandError

__all__ = ["run"]


async def run(config: OffersConfig) -> int:
    """Print a row for each kind of machine that a host has room for. Without --gpu: machines without one."""
    web = Web(config.request_s)
    try:
        found = await find_offers(config, Network(web, config.api, config.hosts))
    except Away as error:
        raise CommandError(str(error)) from error
    finally:
        await web.close()
    if config.json_:
        print(json.dumps([_object(offer) for offer in found], indent=2))
    elif found:
        print("\n".join(_table(found)))
    else:
        print("No host has room for such a machine now; ask for another --gpu, or with --no-ipv6, or without --region.")
    return 0 if found else 1


def _object(offer: Offer) -> dict[str, Any]:
    return {
        "host": offer.host.hash,
        "name": offer.host.name,
        "url": offer.host.url,
        "place": offer.host.place or None,
        "ipv6": offer.host.ipv6_works,
        "gpu": offer.gpu.device_name if offer.gpu else None,
        "free": offer.free if offer.gpu else None,
        "vcpus": offer.size.vcpus,
        "memory_mib": offer.size.memory_mib,
        "disk_mib": offer.size.disk_mib,
        "credits_hour": str(offer.size.credits_hour),
        "score": offer.host.score,
    }


def _table(found: Sequence[Offer]) -> list[str]:
    rows = [("CREDITS/H", "A DAY", "GPU", "FREE", "VCPU", "MEMORY MIB", "DISK MIB", "IPV6", "HOST", "ITS HASH")]
    for offer in found:
        size = offer.size
        rows.append(
            (
                money(size.credits_hour), money(size.credits_hour * 24), _card(offer),
                str(offer.free) if offer.gpu else "-",
                str(size.vcpus), str(size.memory_mib), str(size.disk_mib), "yes" if offer.host.ipv6_works else "no",
                f"{offer.host.shown} {one_line(offer.host.place, 20)}".strip(), offer.host.hash[:16],
            )
        )  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _card(offer: Offer) -> str:
    return one_line(offer.gpu.device_name, 40) if offer.gpu else "none"
