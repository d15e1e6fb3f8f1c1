"""From a wish to a machine that is paid for: which, at what price, with whose word, and exactly one.

Nothing is sent before it is written down, and nothing costs before a host keeps room for it. Not here: the messages
themselves (paying), starting the machine (up).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.aleph.config import UpConfig, is_hash
from deploy.aleph.host import Host
from deploy.aleph.network import Network
from deploy.aleph.paying import Cashier, content_of
from deploy.aleph.plan import agree, best, find_offers, money, plan_for, say
from deploy.aleph.state import Record, Store
from deploy.aleph.taking_over import taken_over
from deploy.aleph.web import Away, Web
from registry.commands.failure import CommandError
from registry.keys import Wallet

__all__ = ["Buying"]


class Buying:
    """The steps until the machine is paid for; each does only what is missing."""

    def __init__(self, config: UpConfig, store: Store, wallet: Wallet, ssh_key: str, web: Web) -> None:
        self._config = config
        self._store = store
        self._wallet = wallet
        self._ssh_key = ssh_key
        self._web = web
        self._network = Network(web, config.api, config.hosts)
        self._cashier = Cashier(store, self._network, wallet, config.settle_s)

    def __repr__(self) -> str:
        return f"Buying({self._store!r})"

    @property
    def _record(self) -> Record:
        return self._store.known()

    async def begin(self) -> None:
        """A record of what is wanted; CommandError where one is there that wants something else."""
        config, record = self._config, self._store.record
        if record is not None and record.operator != self._wallet.address:
            raise CommandError(f"--operator-key: {config.name} is {record.operator}'s, not {self._wallet.address}'s")
        if record is None or record.ended_at is not None:
            kept = (
                {"store": record.store, "image_digest": record.image_digest} if record else {}
            )  # it may still be there
            self._store.archive()
            self._store.save(
                Record(
                    name=config.name, operator=self._wallet.address, api=config.api, hosts=config.hosts,
                    made_at=time.time(), fixed=config.fixed(), **self._now(), **kept,
                )
            )  # fmt: skip
            return
        changed = {name: value for name, value in config.fixed().items() if record.fixed.get(name) != value}
        fixed = config.fixed()
        if changed and not config.another_host:
            if record.instance is not None and await self._cashier.is_there(record.instance.item_hash):
                _check_kept(config.name, changed, record.fixed)
                fixed = record.fixed
            else:
                self._store.change(plan=None, instance=None)  # nothing of it is paid for
        self._store.change(fixed=fixed, **self._now())

    async def choose(self) -> None:
        """A machine, signed for and its price agreed to: the one of before, one that is there already, or the best."""
        if self._config.another_host:
            self._turn_away()
        await self._look_for_one()
        record = self._record
        if record.instance is not None and record.instance.settled:
            return
        if record.plan is None:
            found = await find_offers(self._config, self._network)
            offer = best(found, self._config, record.given_up_hosts, record.full_hosts)
            record = self._store.change(plan=plan_for(offer, self._config.disk_mib), instance=None)
        plan, before = record.plan, record.store
        assert plan is not None
        if self._config.image is None:
            raise CommandError("--image: required until the machine is made: a file, or the item hash of an image")
        image = await self._cashier.image(self._config.image, self._config.storage)
        if self._record.store != before:  # the file is another one meanwhile
            self._store.change(instance=None)
        await self._cashier.machine(plan, self._config.name, image, self._ssh_key)
        hour = await self._cashier.price(self._unsent_image())
        if plan.shown is not None and hour <= plan.shown:
            return
        if plan.shown is not None:
            print(f"The price has changed since it was agreed to: {money(plan.shown)} credits an hour then.")
        agree(self._config, plan, hour, await self._network.credits(self._wallet.address))
        self._store.change(plan=plan.model_copy(update={"shown": hour}))

    async def pay(self) -> None:
        """Have a host keep room, upload the image, and have the network take the machine, at the price agreed to."""
        await self._give_up()
        record = self._record
        if record.instance is None or record.plan is None or record.instance.settled:
            return
        if not await self._cashier.is_there(record.instance.item_hash):  # else it was sent, and the answer lost
            await self._check_price(record)
            await self._reserve(content_of(record.instance))
        if (file := self._unsent_image()) is not None:
            say(f"uploading the image {file}")
            await self._cashier.send_image(file)
        say(f"making the machine {record.instance.item_hash}")
        await self._cashier.send_machine()

    def _now(self) -> dict[str, Any]:
        """What may be another one each time."""
        return {"registries": self._config.registries(), "ssh_key": str(self._config.ssh_key.absolute())}

    def _turn_away(self) -> None:
        """Leave the present host; its machine is given up before another one is paid for."""
        record = self._record
        if record.plan is None:
            return
        given_up = (*record.given_up, record.instance) if record.instance is not None else record.given_up
        self._store.change(
            given_up=given_up, given_up_hosts=(*record.given_up_hosts, record.plan.host_hash), instance=None, plan=None,
            allocated_at=None, addresses=(), keys=None, delegated_until=None, configured=None, published_at=None,
        )  # fmt: skip
        self._store.known_hosts.unlink(missing_ok=True)

    async def _look_for_one(self) -> None:
        """A machine of this name that the network knows is taken over, not made again."""
        record = self._record
        if record.instance is not None:
            return
        found = await taken_over(self._network, self._wallet.address, self._config.name, record.given_up)
        if found is not None:
            sent, plan = found
            say(f"taking over the machine {sent.item_hash}, which is there already")
            self._store.change(instance=sent, plan=plan)

    async def _give_up(self) -> None:
        """Have machines on hosts that were turned away from forgotten, so that only one is paid for."""
        for sent in self._record.given_up:
            if await self._cashier.is_there(sent.item_hash):
                say(f"giving up the machine {sent.item_hash}")
                await self._cashier.forget([sent.item_hash], "made elsewhere")

    async def _check_price(self, record: Record) -> None:
        """The price of this very moment must be the one that was agreed to, or less."""
        plan = record.plan
        hour = await self._cashier.price(self._unsent_image())
        if plan is None or plan.shown is None or hour > plan.shown:
            shown = plan.shown if plan is not None and plan.shown is not None else hour
            self._store.change(plan=plan.model_copy(update={"shown": None}) if plan else None)
            raise CommandError(
                f"the price has changed since it was shown: {money(hour)} credits an hour, not {money(shown)}; "
                "nothing was spent. Run it again to see it and to agree"
            )

    async def _reserve(self, content: Mapping[str, Any]) -> None:
        """A host without room, or away, is left out of the next choice: nothing was paid for it yet."""
        plan = self._record.plan
        assert plan is not None
        host = Host(self._web, plan.host_url, plan.host_name, self._config.api)
        try:
            await host.reserve(self._wallet, content)
        except (CommandError, Away) as error:
            if self._config.host is not None:
                raise CommandError(f"{error}; nothing was spent. Name another --host, or leave it out") from error
            self._store.change(plan=None, instance=None, full_hosts=(*self._record.full_hosts, plan.host_hash))
            raise CommandError(f"{error}; nothing was spent. Run it again: another host is chosen then") from error

    def _unsent_image(self) -> Path | None:
        """The file that is still to be uploaded."""
        record = self._record
        image = self._config.image
        if record.store is None or record.store.settled or image is None or is_hash(image):
            return None
        return Path(image)


def _check_kept(name: str, changed: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """What is given for a machine that is made must be what it was made with; what is left out is kept."""
    for option, value in sorted(changed.items()):
        if value is not None:
            raise CommandError(
                f"--{option.replace('_', '-')}: {name} was made with {before.get(option)!r}, which cannot change in "
                "a machine; give it as then, or destroy it first"
            )
