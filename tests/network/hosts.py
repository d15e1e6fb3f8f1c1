"""Hosts in network namespaces, with a router between them: a network of its own, which nothing else can see.

Every host has a link to the router, a subnet of its own, and no other way out. All interfaces are made inside the
namespaces, so that the machine's own interfaces, routes and rules are never touched, and removing the namespaces
removes everything. Not here: what goes wrong between the hosts (faults), and what runs on them (scene).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import count
from pathlib import Path

from tests.programs import ROOT, Program

_TOOLS = ("ip", "iptables", "tc")
_NEEDED = (  # what the kernel has to know, each tried once on a router of its own
    "iptables -A FORWARD -p tcp -j REJECT --reject-with tcp-reset",
    "iptables -A FORWARD -j REJECT --reject-with icmp-host-unreachable",
    "iptables -A FORWARD -m length --length 601:65535 -j DROP",
    "iptables -A FORWARD -m statistic --mode random --probability 0.1 -j DROP",
    "tc qdisc add dev lo root tbf rate 1mbit burst 2kb limit 9kb",
)
_COMMAND_LIMIT_S = 90


class Refused(Exception):
    """A command that did not do what it was asked for, with what it said."""


class Host:
    """A machine of the network: `address` is where others find it."""

    def __init__(self, name: str, namespace: str, router: str, number: int) -> None:
        self.name = name
        self.namespace = namespace
        self.router = router
        self.address = f"10.77.{number}.2"
        self._gateway = f"10.77.{number}.1"
        self._cable = f"host{number}"  # of its own: the kernel takes its time to remove one whose host is gone

    def __repr__(self) -> str:
        return f"<Host {self.name} {self.address}>"

    def plug_in(self) -> None:
        """Lay the cable to the router: `eth0` here, an interface of its own there."""
        run(
            "ip", "-n", self.router, "link", "add", self._cable, "type", "veth", "peer", "eth0", "netns", self.namespace
        )
        run("ip", "-n", self.router, "address", "add", f"{self._gateway}/24", "dev", self._cable)
        run("ip", "-n", self.namespace, "address", "add", f"{self.address}/24", "dev", "eth0")
        run("ip", "-n", self.namespace, "link", "set", "lo", "up")
        run("ip", "-n", self.router, "link", "set", self._cable, "up")
        self.link_up()

    def pull_out(self) -> None:
        """Remove the cable; both of its ends are gone with it."""
        run("ip", "-n", self.router, "link", "delete", self._cable)

    def link_down(self) -> None:
        """The host's own interface goes down, and its route with it."""
        run("ip", "-n", self.namespace, "link", "set", "eth0", "down")

    def link_up(self) -> None:
        run("ip", "-n", self.namespace, "link", "set", "eth0", "up")
        run("ip", "-n", self.namespace, "route", "replace", "default", "via", self._gateway)

    @contextlib.contextmanager
    def cut_off(self) -> Iterator[None]:
        """Its link is down for as long as the context lasts."""
        self.link_down()
        try:
            yield
        finally:
            self.link_up()

    def retransmitted(self) -> int:
        """How many segments its TCP has sent again so far."""
        names, values = (line.split() for line in self.inside("cat", "/proc/net/snmp").splitlines() if "Tcp:" in line)
        return int(values[names.index("RetransSegs")])

    def inside(self, *words: str) -> str:
        """Run a command on this host; returns what it printed."""
        return run(*_inside(self.namespace), *words)

    @contextlib.asynccontextmanager
    async def running(self, words: Sequence[str], log: Path) -> AsyncIterator[Program]:
        """A Python program on this host for as long as the context lasts; as `tests.programs.running` elsewise.

        `ip netns exec` becomes the program, so its process is the program's own.
        """
        environment = {key: value for key, value in os.environ.items() if not key.startswith("WAYPOST_")}
        environment |= {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        with log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                *_inside(self.namespace), sys.executable, *words,
                stdout=out, stderr=out, env=environment, start_new_session=True, cwd=log.parent,
            )  # fmt: skip
        program = Program(process, log)
        try:
            yield program
        finally:
            if process.returncode is None:
                await program.stop()


class Network:
    """A router, and the hosts that are plugged into it."""

    def __init__(self, router: str) -> None:
        self.router = router
        self._numbers = count(1)

    def __repr__(self) -> str:
        return f"<Network {self.router}>"

    @contextlib.contextmanager
    def host(self, name: str) -> Iterator[Host]:
        """A host with its link up. What runs on it has to end before it does."""
        made = Host(name, f"{self.router}-{name}", self.router, next(self._numbers))
        with _namespace(made.namespace):
            made.plug_in()
            yield made

    def on_router(self, *words: str) -> str:
        """Run a command on the router; returns what it printed."""
        return run(*_inside(self.router), *words)


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """A router without hosts yet, its name unique to this process."""
    router = f"waypost-{os.getpid()}"
    with _namespace(router):
        forwarding = Path("/proc/sys/net/ipv4/ip_forward")  # each namespace has its own
        run(*_inside(router), "sh", "-c", f"echo 1 > {forwarding}")
        yield Network(router)


def why_not() -> str:
    """Why there can be no such network here; empty where there can be one."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "network namespaces take root"
    missing = [tool for tool in _TOOLS if shutil.which(tool, path=_path()) is None]
    if missing:
        return f"not installed: {', '.join(missing)}; as root, run scripts/network_tools.sh"
    try:
        with network() as tried, tried.host("tried"):
            for rule in _NEEDED:
                tried.on_router(*rule.split())
    except Refused as error:
        return f"this kernel, or what this container may do, is not enough: {error}"
    return ""


def run(*words: str) -> str:
    """Run a command to its end; returns what it printed. Raises Refused with what it complained of."""
    environment = {**os.environ, "PATH": _path()}
    done = subprocess.run(words, capture_output=True, text=True, timeout=_COMMAND_LIMIT_S, env=environment)
    if done.returncode:
        raise Refused(f"{' '.join(words)}: {done.stderr.strip() or f'status {done.returncode}'}")
    return done.stdout


@contextlib.contextmanager
def _namespace(name: str) -> Iterator[None]:
    run("ip", "netns", "add", name)
    try:
        yield
    finally:
        run("ip", "netns", "delete", name)


def _inside(namespace: str) -> tuple[str, ...]:
    return ("ip", "netns", "exec", namespace)


def _path() -> str:
    """Where Debian keeps these tools is not in everybody's path."""
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
