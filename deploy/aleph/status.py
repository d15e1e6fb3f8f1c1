"""`waypost deploy status`: what a deployment has come to, asked of everybody that has a part in it. Reads only."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal

from deploy.aleph.config import StatusConfig
from deploy.aleph.host import Host
from deploy.aleph.network import Network
from deploy.aleph.plan import money
from deploy.aleph.publishing import advert_of, health, node_rows
from deploy.aleph.state import Record, Store
from deploy.aleph.web import Away, Web
from registry.commands.failure import CommandError

__all__ = ["run"]


async def run(config: StatusConfig) -> int:
    """Print a line for each part; 0 when the node is published and its machine runs."""
    record = Store.at(config.state_dir, config.name).record
    if record is None:
        raise CommandError(f"no deployment {config.name!r}")
    web = Web(config.request_s)
    try:
        said = await _Asking(config, record, web).all()
    finally:
        await web.close()
    if config.json_:
        print(json.dumps(said, indent=2))
    else:
        print("\n".join(f"{part:<10} {text}" for part, text in said.items()))
    return 0 if said.get("advert", "").startswith("accepted") else 1


class _Asking:
    """Each part in turn; one that is away takes nothing from the others."""

    def __init__(self, config: StatusConfig, record: Record, web: Web) -> None:
        self._config = config
        self._record = record
        self._web = web
        self._network = Network(web, record.api, record.hosts)

    async def all(self) -> dict[str, str]:
        record = self._record
        said = {"name": record.name, "operator": record.operator, "step": _step(record)}
        if record.plan is not None:
            gpu = record.plan.gpu.device_name if record.plan.gpu else "no GPU"
            said["host"] = f"{record.plan.host_name} ({record.plan.host_url}), {gpu}"
        if record.instance is not None:
            said["machine"] = await _or_away(self._message)
            said["on host"] = await _or_away(self._machine)
            said["cost"] = await _or_away(self._cost)
        if record.store is not None:
            said["image"] = await _or_away(self._image)
        if record.keys is not None:
            said["node"] = f"{record.keys.node} at {record.keys.public_url}"
            said["delegated"] = f"until {_when(record.delegated_until)}" if record.delegated_until else "not yet"
            said["health"] = await health(record.keys.public_url or "", record.keys.tls_spki_sha256)
            said["advert"] = await _or_away(self._advert)
        return said

    async def _message(self) -> str:
        assert self._record.instance is not None
        item_hash = self._record.instance.item_hash
        known = await self._network.message(item_hash)
        return f"{item_hash}: {known['status'] if known else 'unknown to the network'}"

    async def _image(self) -> str:
        assert self._record.store is not None
        item_hash = self._record.store.item_hash
        known = await self._network.message(item_hash)
        return f"{item_hash}: {known['status'] if known else 'not uploaded'}"

    async def _machine(self) -> str:
        record = self._record
        if record.plan is None or record.instance is None:
            return "not chosen"
        host = Host(self._web, record.plan.host_url, record.plan.host_name, record.api)
        found = await host.running(record.instance.item_hash)
        if found is None:
            return "unknown to its host"
        where = ", ".join(f"{address} port {port}" for address, port in found.addresses)
        return ("running" if found.running else "not running") + (f"; SSH at {where}" if where else "")

    async def _cost(self) -> str:
        record = self._record
        if record.instance is None or record.ended_at is not None:
            return "nothing any more"
        if not record.instance.settled:
            return "nothing yet"
        hours = Decimal(str(max(0.0, time.time() - record.instance.signed_at))) / 3600
        left = await self._network.credits(record.operator)
        hour = await self._network.price(record.instance.item_hash)
        return f"{money(hour)} credits an hour, at most {money(hour * hours)} so far; {money(left)} are left"

    async def _advert(self) -> str:
        record = self._record
        rows = await node_rows(record, allow_private=self._config.allow_private, probe=True)
        for row in rows:
            advert = advert_of(row)
            if advert is not None and advert.is_tombstone:
                return "retired"
            if advert is not None:
                models = ", ".join(offer.model for offer in advert.offers)
                return f"accepted, its key proven, until {_when(advert.expires_at)}: {models}"
        newest = max(rows, key=lambda row: row.seq or 0, default=None)
        return f"refused: {newest.reason} ({newest.detail})" if newest is not None else "none on the registry"


async def _or_away(ask: Callable[[], Awaitable[str]]) -> str:
    try:
        return await ask()
    except (Away, CommandError) as error:
        return f"? {error}"


def _step(record: Record) -> str:
    """The last one that is done."""
    steps = (
        (record.ended_at, "destroyed"),
        (record.published_at, "published"),
        (record.configured, "configured"),
        (record.delegated_until, "delegated"),
        (record.keys, "reached by SSH"),
        (record.allocated_at, "started on its host"),
        (record.instance is not None and record.instance.settled, "paid for"),
        (record.instance, "signed, not sent"),
        (record.plan, "planned"),
    )
    done = next((text for reached, text in steps if reached), "begun")
    return f"{done}, {len(record.given_up)} given up before" if record.given_up else done


def _when(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
