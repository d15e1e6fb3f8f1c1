"""One compute host: ask it to keep room, to start a machine, where the machine is, and to erase it.

Not here: which host (hosts), what it is paid (paying).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploy.aleph.extra import sdk
from deploy.aleph.web import Answer, Away, Web
from registry.answers import one_line
from registry.commands.failure import CommandError
from registry.keys import Wallet

__all__ = ["Host", "Running"]

_SSH_PORT = 22


@dataclass(frozen=True)
class Running:
    """A machine as its host lists it: whether it runs, and where SSH finds it (address, port), IPv6 first."""

    running: bool
    addresses: tuple[tuple[str, int], ...]


class Host:
    """Raises Away where it does not answer as it should."""

    def __init__(self, web: Web, url: str, name: str, api: str) -> None:
        self._web = web
        self._api = api
        self.url = url
        self.name = name

    async def reserve(self, wallet: Wallet, content: Mapping[str, Any]) -> None:
        """Have it keep room for a machine that is not paid for yet. CommandError if it has none.

        Hosts that do not know the question are not asked again: they say no at the start instead.
        """
        signed = await self._signed(wallet, "POST", "/control/reserve_resources")
        answer = await self._web.post(f"{self.url}/control/reserve_resources", json=dict(content), headers=signed)
        if answer.status in (200, 404, 405):
            return
        raise CommandError(f"host {self.name} has no room for this machine ({answer.words()})")

    async def start(self, item_hash: str) -> None:
        """Have it start a machine that is paid for; one that runs already goes on. CommandError where it refuses."""
        answer = await self._web.post(f"{self.url}/control/allocation/notify", json={"instance": item_hash})
        said = answer.json() if answer.status == 200 else {}
        if answer.status == 200 and isinstance(said, dict) and said.get("success") is True:
            return
        if answer.status == 402:
            raise CommandError(
                f"host {self.name} finds too few credits ({answer.words()}); add credits and run it again"
            )
        if answer.status in (400, 404, 503) or answer.status == 200:
            raise CommandError(
                f"host {self.name} refuses to start the machine ({_why(answer)}); run it again, or with --another-host"
            )
        raise Away(f"host {self.name} answered {answer.status}: {answer.words()}")

    async def running(self, item_hash: str) -> Running | None:
        """The machine, None if the host has none of this hash."""
        answer = await self._web.get(f"{self.url}/v2/about/executions/list")
        if answer.status == 404:
            answer = await self._web.get(f"{self.url}/about/executions/list")
        listed = answer.json() if answer.status == 200 else None
        if not isinstance(listed, dict):
            raise Away(f"host {self.name} answered {answer.status} where its machines were asked for: {answer.words()}")
        entry = listed.get(item_hash)
        return _running(entry) if isinstance(entry, dict) else None

    async def erase(self, wallet: Wallet, item_hash: str) -> bool:
        """Stop the machine and wipe its disk. False if there is none. CommandError where the host refuses."""
        path = f"/control/machine/{item_hash}/erase"
        answer = await self._web.post(self.url + path, headers=await self._signed(wallet, "POST", path))
        if answer.status == 404:
            return False
        if answer.status == 200:
            return True
        raise CommandError(f"host {self.name} does not erase the machine ({answer.status}): {answer.words()}")

    async def console(self, wallet: Wallet, item_hash: str) -> list[str]:
        """The machine's console, as the host has kept it."""
        path = f"/control/machine/{item_hash}/logs"
        answer = await self._web.get(self.url + path, headers=await self._signed(wallet, "GET", path))
        if answer.status == 404:
            raise CommandError(f"host {self.name} knows no machine {item_hash}")
        said = answer.json() if answer.status == 200 else None
        if not isinstance(said, list):
            raise CommandError(f"host {self.name} does not show the console ({answer.status}): {answer.words()}")
        return [one_line(str(line.get("MESSAGE", "")), 2000) for line in said if isinstance(line, dict)]

    async def _signed(self, wallet: Wallet, method: str, path: str) -> dict[str, str]:
        headers: dict[str, str] = await sdk().control_headers(
            self._api, wallet, self.url, method, path, self._web.session
        )
        return headers


def _running(entry: Mapping[str, Any]) -> Running:
    """Hosts of the first version tell networks alone, and no ports."""
    net = entry.get("networking")
    net = net if isinstance(net, dict) else {}
    found: list[tuple[str, int]] = []
    if ipv6 := net.get("ipv6_ip") or _first_of(net.get("ipv6")):
        found.append((str(ipv6), _SSH_PORT))
    ports = net.get("mapped_ports")
    mapped = ports.get(str(_SSH_PORT)) if isinstance(ports, dict) else None
    if isinstance(mapped, dict) and isinstance(mapped.get("host"), int) and net.get("host_ipv4"):
        found.append((str(net["host_ipv4"]), mapped["host"]))
    return Running(entry.get("running") is not False, tuple(found))


def _first_of(network: object) -> str | None:
    return network.partition("/")[0] or None if isinstance(network, str) else None


def _why(answer: Answer) -> str:
    """A host names the reasons beside the hash that failed."""
    try:
        errors = json.loads(answer.body).get("errors") or {}
        return one_line("; ".join(str(why) for why in errors.values())) or answer.words()
    except (ValueError, AttributeError):
        return answer.words()
