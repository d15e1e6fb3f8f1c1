"""What goes wrong on the way to a host: each fault lasts as long as its context, and is undone behind it.

Rules stand on the router, between the hosts, as a broken network would have it: neither end is told but by what does or
does not arrive.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from enum import StrEnum

from tests.network.hosts import Host, Network
from tests.programs import until

_SEEN_LIMIT_S = 60.0


class Refusal(StrEnum):
    """How a router says no, after `--reject-with`."""

    RESET = "tcp-reset"
    HOST_UNREACHABLE = "icmp-host-unreachable"
    PORT_UNREACHABLE = "icmp-port-unreachable"


class Fault:
    """Rules on the router that are there now."""

    def __init__(self, network: Network, rules: tuple[tuple[str, ...], ...]) -> None:
        self._network = network
        self._rules = rules

    def hits(self) -> int:
        """How many packets the rules have met."""
        listed = self._network.on_router("iptables", "--wait", "-L", "FORWARD", "-v", "-n", "-x")
        return sum(int(found) for found in re.findall(r"^\s*(\d+)\s+\d+\s", listed, re.MULTILINE))

    async def met(self, packets: int) -> None:
        """Wait until so many packets have met the rules."""
        await until(
            lambda: self.hits() >= packets, lambda: f"{packets} packets at {self._rules}", limit_s=_SEEN_LIMIT_S
        )

    def add(self) -> None:
        for rule in self._rules:
            self._network.on_router("iptables", "--wait", "-A", "FORWARD", *rule)

    def remove(self) -> None:
        for rule in self._rules:
            self._network.on_router("iptables", "--wait", "-D", "FORWARD", *rule)


@contextlib.contextmanager
def partition(network: Network, host: Host) -> Iterator[Fault]:
    """Nothing reaches the host and nothing comes from it; nobody is told."""
    with _fault(network, ("-d", host.address, "-j", "DROP"), ("-s", host.address, "-j", "DROP")) as fault:
        yield fault


@contextlib.contextmanager
def deaf(network: Network, host: Host) -> Iterator[Fault]:
    """Nothing reaches the host; what it says is heard."""
    with _fault(network, ("-d", host.address, "-j", "DROP")) as fault:
        yield fault


@contextlib.contextmanager
def mute(network: Network, host: Host) -> Iterator[Fault]:
    """What the host says is lost; it hears all."""
    with _fault(network, ("-s", host.address, "-j", "DROP")) as fault:
        yield fault


@contextlib.contextmanager
def refusing(network: Network, host: Host, refusal: Refusal) -> Iterator[Fault]:
    """The router answers what is sent to the host with a refusal, and the sender hears that."""
    with _fault(network, ("-p", "tcp", "-d", host.address, "-j", "REJECT", "--reject-with", refusal)) as fault:
        yield fault


@contextlib.contextmanager
def reset_at_the_host(network: Network, host: Host) -> Iterator[Fault]:
    """The host's own connections are reset as it sends, and the other end hears nothing any more."""
    with _fault(network, ("-p", "tcp", "-s", host.address, "-j", "REJECT", "--reject-with", Refusal.RESET)) as fault:
        yield fault


@contextlib.contextmanager
def loss(network: Network, host: Host, share: float) -> Iterator[Fault]:
    """That share of the packets is lost, to the host and from it."""
    chance = ("-m", "statistic", "--mode", "random", "--probability", str(share), "-j", "DROP")
    with _fault(network, ("-d", host.address, *chance), ("-s", host.address, *chance)) as fault:
        yield fault


@contextlib.contextmanager
def large_lost(network: Network, host: Host) -> Iterator[Fault]:
    """Packets of more than 600 bytes to the host are lost, and nobody says that they were too large."""
    with _fault(network, ("-d", host.address, "-m", "length", "--length", "601:65535", "-j", "DROP")) as fault:
        yield fault


@contextlib.contextmanager
def narrow(host: Host, kbit: int) -> Iterator[Callable[[], int]]:
    """What the host sends goes through a link of so many kbit/s. Gives how often something had to wait there."""
    words = ("root", "tbf", "rate", f"{kbit}kbit", "burst", "1600", "latency", "500ms")
    host.inside("tc", "qdisc", "add", "dev", "eth0", *words)

    def waited() -> int:
        return sum(map(int, re.findall(r"overlimits (\d+)", host.inside("tc", "-s", "qdisc", "show", "dev", "eth0"))))

    try:
        yield waited
    finally:
        host.inside("tc", "qdisc", "delete", "dev", "eth0", "root")


@contextlib.contextmanager
def _fault(network: Network, *rules: tuple[str, ...]) -> Iterator[Fault]:
    fault = Fault(network, rules)
    fault.add()
    try:
        yield fault
    finally:
        fault.remove()
