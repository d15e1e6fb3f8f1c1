"""`waypost deploy aleph`: from nothing to a published node, and on from wherever an earlier run ended.

Each step looks at what is done, does what is missing, and writes it down; so the same command brings any deployment to
its end. Not here: what comes before the machine is paid for (buying), what a step is made of (host, machine,
publishing).
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from deploy.aleph.buying import Buying
from deploy.aleph.config import UpConfig
from deploy.aleph.host import Host, Running
from deploy.aleph.machine import Machine, digest_of, node_config
from deploy.aleph.plan import say
from deploy.aleph.publishing import DAY_S, delegate, wait_for_advert
from deploy.aleph.state import Record, Store
from deploy.aleph.web import Away, Web
from deploy.ssh import read_public_key
from registry.commands.boards import load_wallet
from registry.commands.failure import CommandError

__all__ = ["run"]

_LOOK_EVERY_S = 2.0


async def run(config: UpConfig) -> int:
    """Do what is missing; 0 when the node is published."""
    wallet = load_wallet(config.operator_key)
    try:
        ssh_key = read_public_key(config.ssh_key)
    except ValueError as error:
        raise CommandError(f"--ssh-key: {error}") from error
    node_config(config)  # a file that is missing is better known now
    web = Web(config.request_s)
    try:
        with _store(config) as store:
            buying = Buying(config, store, wallet, ssh_key, web)
            await buying.begin()
            await buying.choose()
            if config.dry_run:
                print("Dry run: nothing was spent, and nothing was made.")
                return 0
            await buying.pay()
            await _Starting(config, store, web).run()
    except Away as error:
        raise CommandError(f"{error}; run the same command again, it goes on from here") from error
    finally:
        await web.close()
    return 0


@contextlib.contextmanager
def _store(config: UpConfig) -> Iterator[Store]:
    """The deployment's folder; for a dry run one that passes, with what is in it."""
    if not config.dry_run:
        with Store.held(config.state_dir, config.name, make=True) as store:
            yield store
        return
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        store.record = Store.read(config.state_dir, config.name)
        yield store


class _Starting:
    """The steps from a machine that is paid for to a node that the world sees."""

    def __init__(self, config: UpConfig, store: Store, web: Web) -> None:
        self._config = config
        self._store = store
        self._web = web

    @property
    def _record(self) -> Record:
        return self._store.known()

    async def run(self) -> None:
        await self._start()
        await self._ask_for_keys()
        await self._delegate()
        await self._hand_over()
        await self._see()

    async def _start(self) -> None:
        """Have the host start the machine, unless it runs, and wait until it has an address."""
        plan, sent = self._record.plan, self._record.instance
        assert plan is not None and sent is not None
        host = Host(self._web, plan.host_url, plan.host_name, self._config.api)
        try:
            found = await host.running(sent.item_hash)
            if found is None:
                say(f"having host {host.name} start it")
                await host.start(sent.item_hash)
            found = await self._started(host, sent.item_hash)
        except Away as error:
            raise CommandError(f"{error}. Run it again; if the host stays away, with --another-host") from error
        if found.addresses != self._record.addresses or self._record.allocated_at is None:
            self._store.change(addresses=found.addresses, allocated_at=self._record.allocated_at or time.time())

    async def _started(self, host: Host, item_hash: str) -> Running:
        deadline = time.monotonic() + self._config.boot_s
        while True:
            found = await host.running(item_hash)
            if found is not None and found.running and found.addresses:
                return found
            if time.monotonic() >= deadline:
                raise CommandError(
                    f"waited {self._config.boot_s:g} s (--boot-s) for the machine: host {host.name} {_lack(found)}; "
                    "run it again, or with --another-host"
                )
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _ask_for_keys(self) -> None:
        """The node's keys, asked for each time: a machine that was made anew has others."""
        say(f"waiting for SSH at {', '.join(f'{address} port {port}' for address, port in self._record.addresses)}")
        keys = await self._machine().keys(self._config.ssh_s)
        if keys != self._record.keys:
            self._store.change(keys=keys, delegated_until=None, configured=None, published_at=None)
        say(f"node {keys.node} at {keys.public_url}")

    async def _delegate(self) -> None:
        """Sign for the node, if that is not done or half of it is over."""
        record = self._record
        assert record.keys is not None
        fresh = (record.delegated_until or 0) - time.time() > self._config.days * DAY_S / 2
        if fresh and self._store.delegation.exists():
            return
        say(f"signing a delegation for {self._config.days} days, and letting it post on the registry")
        until = await delegate(
            record, record.keys, self._config.operator_key, self._config.days, self._store.delegation
        )
        self._store.change(delegated_until=until)

    async def _hand_over(self) -> None:
        """Bring configuration and delegation to the machine, unless it has the same."""
        files = {"waypost.toml": node_config(self._config), "delegation.json": self._store.delegation.read_bytes()}
        if self._record.configured == digest_of(files):
            return
        say("handing over its configuration and the delegation")
        if not await self._machine().set_up(files, self._config.ssh_s):
            raise CommandError(
                f"the node does not run with this configuration; waypost deploy logs {self._config.name} says why"
            )
        self._store.change(configured=digest_of(files), published_at=None)

    async def _see(self) -> None:
        """Wait until the node has published itself, and say where it is."""
        say("waiting for its advert, and for its URL to prove its key")
        advert = await wait_for_advert(
            self._record, allow_private=self._config.allow_private, limit_s=self._config.publish_s
        )
        self._store.change(published_at=self._record.published_at or time.time())
        models = [offer.model for offer in advert.offers]
        operator = self._record.operator
        print(
            f"Published: {advert.url}\n  operator {operator}\n  node     {advert.node}\n  models   {', '.join(models)}"
        )
        print(f"A gateway that trusts the operator (--trust {operator}) routes to it within a minute. For example:")
        body = f'{{"model": "{models[0]}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
        print(f"  curl https://GATEWAY/v1/chat/completions -H 'Content-Type: application/json' -d '{body}'")

    def _machine(self) -> Machine:
        return Machine(self._store, self._config, self._config.ssh_key)


def _lack(found: Running | None) -> str:
    if found is None:
        return "does not list it"
    return "tells no address" if found.running else "has not started it"
