"""Says on every board what this node really serves, for as long as it does.

An advert is signed anew when the offers change and when half of its life is over; the last one says that nothing is
served. Not here: reaching a board (poster), the operator's mandate (delegation).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from node.delegation import DelegationFile, Mandate
from node.hardware import Hardware
from node.models import Served
from node.poster import Poster, Posting
from registry.advert import Advert, Envelope, Offer, Price, Vm
from registry.advert import Hardware as AdvertHardware
from registry.backend import Backend
from registry.keys import NodeKey, Wallet
from registry.signing import next_seq, sign_advert

log = logging.getLogger("waypost.node")

_LOOK_EVERY_S = 2.0
_SETTLE_S = 5.0  # an engine that is away for less than this, as in a restart, keeps its offer


@dataclass(frozen=True)
class Identity:
    """Who publishes, where: what an advert says beside its offers."""

    node: NodeKey
    delegate: Wallet
    url: str
    hardware: Hardware
    region: str | None
    vm_hash: str | None  # of the INSTANCE message on Aleph that made this machine
    life_s: int  # of an advert


class Advertiser:
    """Signs and posts; `current` is the newest envelope. `now` gives Unix seconds."""

    def __init__(
        self,
        who: Identity,
        mandate: DelegationFile,
        backends: Sequence[Backend],
        state: Path,
        now: Callable[[], float],
    ) -> None:
        self._who = who
        self._mandate = mandate
        self._posters = [Poster(backend) for backend in backends]
        self._seq_file = state / f"seq-{who.node.public}"
        self._now = now
        self._models: tuple[Served, ...] = ()
        self._ready_at: dict[str, float] = {}
        self._poked = asyncio.Event()
        self._advert: Advert | None = None
        self._signed_by: Mandate | None = None
        self._renew_at = 0.0
        self._fault = ""  # why no advert could be signed last
        self.current: Envelope | None = None

    def __repr__(self) -> str:
        return f"<Advertiser {self._advert.seq if self._advert else 'silent'} {self._posters}>"

    @property
    def operator(self) -> str | None:
        """For whom this node is published, once it is."""
        return self._advert.operator if self._advert else None

    @property
    def standings(self) -> list[dict[str, str]]:
        """How the newest advert stands on each board."""
        return [{"url": poster.url, "state": poster.standing.value} for poster in self._posters]

    def poke(self) -> None:
        """The offers may have changed."""
        self._poked.set()

    async def run(self, models: tuple[Served, ...]) -> None:
        """Publish until cancelled."""
        self._models = models
        self._ask_for_mandate()
        async with asyncio.TaskGroup() as group:
            for poster in self._posters:
                group.create_task(poster.run())
            while True:
                self._try_to_look()
                await self._wait()

    async def retire(self, limit_s: float) -> None:
        """Say that nothing is served any more, to all boards that can be reached within `limit_s`."""
        self._models = ()
        self._ready_at = {}
        if self._advert is None or self._signed_by is None or self._advert.is_tombstone:
            return
        if self._signed_by.delegation.expires_at <= self._now():
            return  # what was said has ended, and so has the leave to say more
        self._sign((), self._signed_by)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await asyncio.gather(*(poster.answered() for poster in self._posters))
                posted = [poster for poster in self._posters if poster.up_to_date]
                log.info("retired on %d of %d registries", len(posted), len(self._posters))
                await asyncio.gather(*(poster.tidied() for poster in posted))
        if all(poster.up_to_date for poster in self._posters):
            return  # at most the tidying took too long
        log.warning("a registry could not be told of the stop; the advert ends within %d s by itself", self._who.life_s)

    def _ask_for_mandate(self) -> None:
        if self._mandate.current() is None:
            print(
                f"waypost: not published yet: the operator has not delegated to {self._who.delegate.address}.\n"
                f"  On the operator's machine run\n    {self._mandate.command()}\n"
                f"  and put the file here as {self._mandate.path}; it is looked for every {_LOOK_EVERY_S:.0f} s.",
                flush=True,
            )

    def _try_to_look(self) -> None:
        """A full disk, or more models than an advert holds, ends what is published and not what is served."""
        try:
            self._look()
            self._fault = ""
        except (OSError, ValueError) as error:
            if str(error) != self._fault:
                log.error("no new advert can be signed: %s", error)
            self._fault = str(error)

    def _look(self) -> None:
        """Sign and post where something has changed, or half of the advert's life is over."""
        mandate = self._mandate.current()
        if mandate is None:
            return
        offers = self._offers()
        if self._advert is None and not offers:
            return
        last = self._advert
        if last is not None and last.offers == offers and self._signed_by == mandate:
            as_long_as_may_be = last.expires_at >= mandate.delegation.expires_at
            if not offers or as_long_as_may_be or self._now() < self._renew_at:
                return
        self._sign(offers, mandate)

    def _offers(self) -> tuple[Offer, ...]:
        now = self._now()
        self._ready_at |= {model.name: now for model in self._models if model.ready}
        return tuple(
            _offer(model) for model in self._models if now - self._ready_at.get(model.name, float("-inf")) <= _SETTLE_S
        )

    def _sign(self, offers: tuple[Offer, ...], mandate: Mandate) -> None:
        now = self._now()
        who, issued = self._who, int(now)
        hardware = AdvertHardware(gpu=who.hardware.gpu, vram_mib=who.hardware.vram_mib) if who.hardware.gpu else None
        advert = Advert(
            operator=mandate.delegation.operator, node=who.node.public, seq=self._next_seq(now), issued_at=issued,
            expires_at=min(issued + who.life_s, mandate.delegation.expires_at), url=who.url, tls_spki_sha256=None,
            offers=offers, hardware=hardware, region=who.region,
            vm=Vm(platform="aleph", item_hash=who.vm_hash) if who.vm_hash else None,
        )  # fmt: skip
        self.current = sign_advert(advert, who.delegate, who.node, mandate.signed)
        self._advert, self._signed_by = advert, mandate
        self._renew_at = now + (advert.expires_at - now) * (0.45 + random.random() / 10)  # noqa: S311 - not a secret
        for poster in self._posters:
            poster.post(Posting(self.current, advert))
        log.info("advert %d: %s", advert.seq, ", ".join(offer.model for offer in offers) or "nothing")

    def _next_seq(self, now: float) -> int:
        """Kept in a file before it is used, so that it never goes back, a clock set back included."""
        try:
            last = int(self._seq_file.read_text())
        except (OSError, ValueError):
            last = 0
        seq = next_seq(now, last)
        draft = self._seq_file.with_name(f".{self._seq_file.name}.{os.getpid()}")
        draft.write_text(str(seq))
        draft.replace(self._seq_file)
        return seq

    async def _wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_EVERY_S):
                await self._poked.wait()
        self._poked.clear()


def _offer(model: Served) -> Offer:
    profile = model.profile
    offer = Offer(
        model=model.name, aliases=model.aliases, endpoints=model.endpoints, weights_sha256=profile.weights_sha256,
        template_sha256=profile.template_sha256, quantization=profile.quantization,
        context_length=profile.context_length, parallel=model.engine.slots, modalities=profile.modalities,
        engine=profile.engine, resume=profile.resume, warm=True,
        prices=tuple(Price(unit=unit, amount=amount) for unit, amount in model.prices),
    )  # fmt: skip
    return offer.model_copy(update={"rerank_by": profile.rerank_by}) if profile.rerank_by else offer
