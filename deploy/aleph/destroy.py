"""`waypost deploy destroy`: the node off the registry, its machine off its host, and nothing paid for any more.

Each part looks at what is left of it, so it may be run again until all is gone; one that is away holds none up.
Not here: revoking the delegate, which is for good and for keys that somebody else may have (registry revoke).
"""

from __future__ import annotations

import sys
import time

from deploy.aleph.config import DestroyConfig
from deploy.aleph.host import Host
from deploy.aleph.network import Network
from deploy.aleph.paying import Cashier
from deploy.aleph.plan import say
from deploy.aleph.publishing import retire
from deploy.aleph.state import Record, Sent, Store
from deploy.aleph.web import Away, Web
from registry.commands.boards import load_wallet
from registry.commands.failure import CommandError
from registry.keys import Wallet

__all__ = ["run"]


async def run(config: DestroyConfig) -> int:
    """0 when nothing is left; CommandError tells what is."""
    wallet = load_wallet(config.operator_key)
    web = Web(config.request_s)
    try:
        with Store.held(config.state_dir, config.name, make=False) as store:
            record = store.record
            if record is None or record.operator != wallet.address:
                raise CommandError(
                    f"--operator-key: {config.name} belongs to {record.operator if record else 'nobody'}"
                )
            _ask(config)
            await _Destroy(config, store, wallet, web, record).run()
    finally:
        await web.close()
    return 0


def _ask(config: DestroyConfig) -> None:
    if config.yes:
        return
    if not sys.stdin.isatty():
        raise CommandError("nobody is here to say yes; give --yes to destroy without being asked")
    if input(f"Erase the machine of {config.name} and its disk for good? Type yes: ").strip().lower() != "yes":
        raise CommandError("not agreed to; nothing was done")


class _Destroy:
    """The parts of one run."""

    def __init__(self, config: DestroyConfig, store: Store, wallet: Wallet, web: Web, record: Record) -> None:
        self._config = config
        self._store = store
        self._wallet = wallet
        self._web = web
        self._record = record
        self._cashier = Cashier(store, Network(web, record.api, record.hosts), wallet, config.settle_s)
        self._left: list[str] = []

    async def run(self) -> None:
        record = self._record
        await self._retire()
        machines = [*record.given_up, *([record.instance] if record.instance else [])]
        await self._erase(record)
        await self._forget(machines, "the machine")
        if self._config.with_image and record.store is not None:
            await self._forget([record.store], "the image")
        await self._retire()  # a node that was stopped late may have advertised itself once more
        if self._left:
            raise CommandError("; ".join(self._left) + "; run destroy again")
        self._store.change(ended_at=record.ended_at or time.time())
        await self._tell_rest(record)

    async def _retire(self) -> None:
        try:
            if await retire(self._record, self._config.operator_key):
                say("the node's advert is retired")
        except CommandError as error:
            self._note(f"the node's advert is not retired ({error})")

    async def _erase(self, record: Record) -> None:
        if record.plan is None or record.instance is None:
            return
        host = Host(self._web, record.plan.host_url, record.plan.host_name, record.api)
        try:
            erased = await host.erase(self._wallet, record.instance.item_hash)
        except (Away, CommandError) as error:
            self._note(f"its disk is not known to be erased ({error})")
            return
        say(f"host {host.name} " + ("has erased the machine" if erased else "has no such machine"))

    async def _forget(self, sent: list[Sent], what: str) -> None:
        try:
            there = [one.item_hash for one in sent if await self._cashier.is_there(one.item_hash)]
            if there:
                await self._cashier.forget(there, "destroyed")
                say(f"{what} is forgotten and costs nothing any more")
        except (Away, CommandError) as error:
            self._note(f"{what} is STILL PAID FOR ({error})")

    async def _tell_rest(self, record: Record) -> None:
        """What goes on costing, by the operator's own choice."""
        try:
            kept = record.store is not None and await self._cashier.is_there(record.store.item_hash)
        except Away:
            kept = record.store is not None
        if kept and record.store is not None:
            print(f"Still paid for: the image {record.store.item_hash}, for later; destroy --with-image ends that.")
        else:
            print(f"Nothing of {record.name} is paid for any more.")

    def _note(self, what: str) -> None:
        if what not in self._left:
            self._left.append(what)
