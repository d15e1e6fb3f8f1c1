"""Which machine is made, what it costs, and the operator's word that it may be spent.

Not here: the messages that spend it (paying).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from decimal import Decimal

from deploy.aleph.config import UpConfig, Wish
from deploy.aleph.hosts import Offer, find_host, offers
from deploy.aleph.network import Network
from deploy.aleph.plan_model import Plan
from registry.commands.failure import CommandError

__all__ = ["agree", "best", "find_offers", "lines_of", "money", "plan_for", "say"]

_HOURS = 24  # the network asks for a day's credits before it takes a machine


async def find_offers(wish: Wish, network: Network) -> list[Offer]:
    """What the network has to offer now, the best first."""
    prices = await network.prices()
    safe = [host for host in await network.hosts() if host.url.startswith("https:") or wish.api.startswith("http:")]
    return offers(safe, prices, gpu=wish.gpu, region=wish.region, ipv6=wish.ipv6, units=wish.compute_units)


def best(found: Sequence[Offer], config: UpConfig, never: Iterable[str] = (), full: Iterable[str] = ()) -> Offer:
    """The one to take: on no host that was given up, and on one that had no room only where there is no other.

    CommandError names the option that leaves none.
    """
    left = [offer for offer in found if offer.host.hash not in set(never)]
    if config.host is not None:
        left = find_host(left, config.host)
    roomy = [offer for offer in left if offer.host.hash not in set(full)]
    if left:
        return (roomy or left)[0]
    wanted = f"a free GPU like {config.gpu!r}" if config.gpu else f"room for {config.compute_units or 4} compute units"
    asked = [f"--gpu {config.gpu!r}"] if config.gpu else []
    asked += [f"--region {config.region!r}"] if config.region else []
    asked += [f"--host {config.host}"] if config.host else []
    asked += ["--ipv6"] if config.ipv6 else []
    raise CommandError(
        f"no host has {wanted} ({', '.join(asked)}); waypost deploy offers shows what there is: name another, "
        "or leave one of these out"
    )


def plan_for(offer: Offer, disk_mib: int | None) -> Plan:
    """The machine that was chosen."""
    return Plan(
        host_hash=offer.host.hash,
        host_name=offer.host.shown,
        host_url=offer.host.url,
        gpu=offer.gpu,
        vcpus=offer.size.vcpus,
        memory_mib=offer.size.memory_mib,
        disk_mib=disk_mib or offer.size.disk_mib,
        terms=offer.host.terms_and_conditions or None,
    )


def lines_of(plan: Plan, hour: Decimal, left: Decimal) -> list[str]:
    """What is to be bought, for the operator to read before anything is spent."""
    lines = [
        f"host       {plan.host_name} ({plan.host_url})",
        f"GPU        {plan.gpu.device_name if plan.gpu else 'none'}",
        f"machine    {plan.vcpus} vCPU, {plan.memory_mib} MiB of memory, {plan.disk_mib} MiB of disk",
        f"cost       {money(hour)} credits an hour, {money(hour * _HOURS)} a day",
        f"balance    {money(left)} credits" + (f", enough for {left / hour / _HOURS:.1f} days" if hour else ""),
    ]
    if plan.terms:
        lines.append(f"terms      by going on you accept the host's: {plan.terms}")
    return lines


def agree(config: UpConfig, plan: Plan, hour: Decimal, left: Decimal) -> None:
    """Show it, and have the operator's word for it. CommandError where there is none, or too little to pay with."""
    print("\n".join(lines_of(plan, hour, left)))
    day = hour * _HOURS
    if config.max_day is not None and day > Decimal(str(config.max_day)):
        raise CommandError(f"--max-day {config.max_day:g}: it would cost {money(day)} credits a day; nothing was spent")
    if left < day and not config.dry_run:
        raise CommandError(
            f"{money(left)} credits are too few: the network takes a machine only with a day's, {money(day)}; add "
            f"credits for the operator's address, or choose a smaller machine. Nothing was spent"
        )
    if config.dry_run or config.yes:
        return
    if not sys.stdin.isatty():
        raise CommandError("nobody is here to say yes; give --yes to spend this without being asked. Nothing was spent")
    if input("Spend this until the machine is destroyed? Type yes: ").strip().lower() != "yes":
        raise CommandError("not agreed to; nothing was spent")


def say(text: str) -> None:
    """One line of progress."""
    print(f"waypost: {text}", flush=True)


def money(amount: Decimal) -> str:
    """Credits, in whole ones where they are many."""
    return f"{amount:,.0f}" if amount >= 100 else f"{amount.normalize():.4g}"
