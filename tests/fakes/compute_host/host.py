"""One host: what it lists of itself, room that it keeps, machines that it starts and erases, and for whom."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from aleph_message.models import InstanceContent
from pydantic import ValidationError

from tests.fakes.compute_host.machine import Machine
from tests.fakes.compute_host.owner import owner_of

_GPUS = {
    "RTX 4090": ("AD102 [GeForce RTX 4090]", "10de:2684"),
    "RTX 4000 ADA": ("AD104GL [RTX 4000 SFF Ada]", "10de:27b0"),
}
_PLACES = ("Lyon", "Madrid", "Oslo", "Riga")


@dataclass
class World:
    """What all hosts share."""

    api: str
    machines: Path
    llama_server: Path
    session: aiohttp.ClientSession
    hosts: list[Host] = field(default_factory=list)

    async def message(self, item_hash: str) -> dict[str, Any] | None:
        async with self.session.get(f"{self.api}/api/v0/messages/{item_hash}") as response:
            return dict(await response.json()) if response.status == 200 else None

    async def number(self, path: str, name: str) -> Decimal:
        async with self.session.get(self.api + path) as response:
            return Decimal(str((await response.json())[name]))

    async def close(self) -> None:
        for host in self.hosts:
            await host.close()


class Host:
    """Owns its machines."""

    def __init__(self, world: World, number: int, gpu: str) -> None:
        self.url = ""
        self.hash = hashlib.sha256(f"host {number}".encode()).hexdigest()
        self._world = world
        self._name = f"{_PLACES[number % len(_PLACES)]}-{number}"
        self._number = number
        self._gpu = gpu
        self._machines: dict[str, Machine] = {}
        self._owners: dict[str, str] = {}
        self._held_for: str | None = None
        self._counts: Counter[str] = Counter()
        self._state: dict[str, bool] = {}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/control/reserve_resources", self.reserve),
            web.post("/control/allocation/notify", self.notify),
            web.get("/v2/about/executions/list", self.executions),
            web.post("/control/machine/{ref}/erase", self.erase),
            web.get("/control/machine/{ref}/logs", self.logs),
        ]

    @web.middleware
    async def middleware(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if self._state.get("away") and request.transport is not None:
            request.transport.abort()
        return await handler(request)

    def change(self, state: dict[str, bool]) -> None:
        self._state |= state

    def counts(self) -> dict[str, int]:
        return {**self._counts, "machines": len(self._machines)}

    def listed(self) -> dict[str, Any]:
        gpus = [self._card()]
        usage = {
            "cpu": {"count": 32, "load_average": {"load1": 0.1, "load5": 0.1, "load15": 0.1},
                    "core_frequencies": {"min": 1.0, "max": 4.0}},
            "mem": {"total_kB": 256 * 2**20, "available_kB": 200 * 2**20},
            "disk": {"total_kB": 4 * 2**30, "available_kB": 3 * 2**30},
            "period": {"start_timestamp": "2026-01-01T00:00:00+00:00", "duration_seconds": 60},
            "properties": {"cpu": {"architecture": "x86_64", "vendor": "AuthenticAMD", "features": []}},
            "gpu": {"devices": gpus, "available_devices": gpus if self._is_free() else []}, "active": True,
        }  # fmt: skip
        return {
            "hash": self.hash, "name": self._name, "address": self.url + "/", "version": "1.7.0",
            "score": 0.99 - 0.1 * self._number, "payment_receiver_address": None, "gpu_support": True,
            "confidential_support": False, "qemu_support": True, "ipv6_check": {"host": True, "vm": True},
            "compatible_gpus": gpus, "compatible_available_gpus": gpus if self._is_free() else [],
            "terms_and_conditions": None, "system_usage": usage,
        }  # fmt: skip

    async def reserve(self, request: web.Request) -> web.Response:
        sender = self._sender(request)
        try:
            InstanceContent.model_validate(await request.json())
        except ValidationError as error:
            return web.json_response(error.json(), status=400)
        self._counts["reserved"] += 1
        if not self._is_free() or self._state.get("full"):
            raise web.HTTPServiceUnavailable(text="This CRN cannot reserve the requested resources at this time.")
        self._held_for = sender
        return web.json_response({"status": "reserved", "expires": "2099-01-01T00:00:00+00:00"})

    async def notify(self, request: web.Request) -> web.Response:
        item_hash = str((await request.json())["instance"])
        self._counts["notified"] += 1
        known = await self._world.message(item_hash)
        if known is None or known["status"] != "processed":
            raise web.HTTPNotFound(reason="Hash not found")
        message, content = known["message"], known["message"]["content"]
        if message["type"] != "INSTANCE":
            raise web.HTTPBadRequest(reason="Message is not an instance")
        if content["requirements"]["node"]["node_hash"] != self.hash:
            raise web.HTTPBadRequest(reason="Instance is allocated to a different node")
        await self._check_paid(item_hash, content)
        if item_hash not in self._machines:
            if not self._is_free(content["address"].lower()) or self._state.get("full"):
                return _failed(item_hash, "InsufficientResourcesError('no GPU is free')")
            await self._start(item_hash, content)
        return web.json_response({"success": True, "successful": True, "failing": [], "errors": {}})

    async def executions(self, request: web.Request) -> web.Response:
        return web.json_response({item_hash: self._shown(machine) for item_hash, machine in self._machines.items()})

    async def erase(self, request: web.Request) -> web.Response:
        item_hash = self._own(request)
        await self._machines.pop(item_hash).stop()
        shutil.rmtree(self._world.machines / item_hash, ignore_errors=True)
        self._counts["erased"] += 1
        return web.Response(text=f"Erased VM with ref {item_hash}")

    async def logs(self, request: web.Request) -> web.Response:
        item_hash = self._own(request)
        return web.json_response(
            [{"MESSAGE": "cloud-init: done", "file": "stdout", "SYSLOG_IDENTIFIER": f"vm-{item_hash}"}]
        )

    async def close(self) -> None:
        for machine in self._machines.values():
            await machine.stop()

    def _sender(self, request: web.Request) -> str:
        return owner_of(request, urlsplit(self.url).hostname or "")

    def _own(self, request: web.Request) -> str:
        """The machine that is meant, if it is the sender's."""
        sender, item_hash = self._sender(request), request.match_info["ref"]
        if item_hash not in self._machines:
            raise web.HTTPNotFound(text=f"No virtual machine with ref {item_hash}")
        if self._owners[item_hash] != sender:
            raise web.HTTPForbidden(text="Unauthorized sender")
        return item_hash

    async def _check_paid(self, item_hash: str, content: dict[str, Any]) -> None:
        if (content.get("payment") or {}).get("type") != "credit":
            raise web.HTTPBadRequest(reason="Invalid payment method")
        balance = await self._world.number(f"/api/v0/addresses/{content['address']}/balance", "credit_balance")
        second = await self._world.number(f"/api/v0/price/{item_hash}", "required_tokens")
        if second * 3600 > balance:
            raise web.HTTPPaymentRequired(text=f"Insufficient credits\n\nRequired: {second * 3600}\nCurrent: {balance}")

    async def _start(self, item_hash: str, content: dict[str, Any]) -> None:
        folder = self._world.machines / item_hash
        self._owners[item_hash] = content["address"].lower()
        self._machines[item_hash] = Machine(folder, item_hash, content["authorized_keys"], self._world.llama_server)
        self._counts["started"] += 1
        self._held_for = None
        await self._machines[item_hash].start()

    def _is_free(self, owner: str | None = None) -> bool:
        return not self._machines and (owner is None or self._held_for in (None, owner))

    def _card(self) -> dict[str, Any]:
        name, device = _GPUS[self._gpu]
        return {
            "vendor": "NVIDIA", "model": self._gpu, "device_name": name, "device_class": "0300",
            "pci_host": "01:00.0", "device_id": device, "compatible": True,
        }  # fmt: skip

    def _shown(self, machine: Machine) -> dict[str, Any]:
        running = not self._state.get("slow")
        networking = {
            "ipv4_network": "172.16.4.0/24", "host_ipv4": "127.0.0.1", "ipv6_network": "fc00:1:2:3::/124",
            "ipv6_ip": "fc00:1:2:3::1", "mapped_ports": {"22": {"host": machine.ssh_port, "tcp": True, "udp": False}},
        }  # fmt: skip
        times = dict.fromkeys(
            ("defined_at", "preparing_at", "prepared_at", "starting_at", "started_at", "stopping_at", "stopped_at")
        )
        return {"networking": networking, "status": times, "running": running}


def _failed(item_hash: str, error: str) -> web.Response:
    told = {"success": False, "successful": False, "failing": [item_hash], "errors": {item_hash: error}}
    return web.json_response(told, status=503)
