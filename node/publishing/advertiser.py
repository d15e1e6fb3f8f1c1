"""Says on every board what this node really serves, for as long as it does.

An advert is signed anew when the offers change and when half of its life is over; the last one says that nothing is
served. Which models are warm changes with every switch, and is told less often. Not here: what an offer says (offers),
reaching a board (poster), the operator's mandate (delegation).
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

from node.hardware import Hardware
from node.publishing.delegation import DelegationFile, Mandate
from node.publishing.offers import Offered, Offers, summary, without_warmth
from node.publishing.poster import Poster, Posting
from registry.advert import MAX_AHEAD_S, Advert, Envelope, Offer, Vm
from registry.advert import Hardware as AdvertHardware
from registry.backend import Backend
from registry.keys import NodeKey, Wallet
from registry.signing import next_seq, sign_advert

log = logging.getLogger("waypost.node")

_LOOK_EVERY_S = 2.0
_WARMTH_EVERY_S = 60.0  # at most so often an advert is signed that tells of another warmth alone


@dataclass(frozen=True)
class Identity:
    """Who publishes, where: what an advert says beside its offers."""

    node: NodeKey
    delegate: Wallet
    url: str
    tls_spki_sha256: str | None  # of the TLS that it serves itself
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
        self._offered: Callable[[], Sequence[Offered]] = _nothing
        self._offers = Offers()
        self._poked = asyncio.Event()
        self._advert: Advert | None = None
        self._signed_by: Mandate | None = None
        self._signed_at = 0.0
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

    async def run(self, offered: Callable[[], Sequence[Offered]]) -> None:
        """Publish until cancelled. `offered` is asked at each look: after a poke, and every 2 s."""
        self._offered = offered
        self._ask_for_mandate()
        async with asyncio.TaskGroup() as group:
            for poster in self._posters:
                group.create_task(poster.run())
            while True:
                self._try_to_look()
                await self._wait()

    async def retire(self, limit_s: float) -> None:
        """Say that nothing is served any more, to all boards that can be reached within `limit_s`."""
        self._offered = _nothing
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
        offers, last = self._offers.take(self._offered(), self._now()), self._advert
        if last is None and not offers:
            return
        if last is None or self._is_due(last, offers, mandate):
            self._sign(offers, mandate)
        elif last.offers != offers and not 0 <= self._now() - self._signed_at < _WARMTH_EVERY_S:
            self._sign(offers, mandate, warmth_of=last)

    def _is_due(self, last: Advert, offers: tuple[Offer, ...], mandate: Mandate) -> bool:
        """Is there a reason for another advert, warmth apart?"""
        if self._signed_by != mandate or without_warmth(last.offers) != without_warmth(offers):
            return True
        if offers and self._now() < last.issued_at - MAX_AHEAD_S:
            return True  # the clock was wrong: readers take no advert from the future
        as_long_as_may_be = last.expires_at >= mandate.delegation.expires_at
        return bool(offers) and not as_long_as_may_be and self._now() >= self._renew_at

    def _sign(self, offers: tuple[Offer, ...], mandate: Mandate, warmth_of: Advert | None = None) -> None:
        """`warmth_of`: the advert from which this one differs in warmth alone. It ends no later than that one, since
        a board where posting costs money never gets it, and is to be renewed in time all the same."""
        now = self._now()
        who, issued = self._who, int(now)
        hardware = AdvertHardware(gpu=who.hardware.gpu, vram_mib=who.hardware.vram_mib) if who.hardware.gpu else None
        advert = Advert(
            operator=mandate.delegation.operator, node=who.node.public, seq=self._next_seq(now), issued_at=issued,
            expires_at=min(issued + who.life_s, (warmth_of or mandate.delegation).expires_at),
            url=who.url, tls_spki_sha256=who.tls_spki_sha256, offers=offers, hardware=hardware, region=who.region,
            vm=Vm(platform="aleph", item_hash=who.vm_hash) if who.vm_hash else None,
        )  # fmt: skip
        self.current = sign_advert(advert, who.delegate, who.node, mandate.signed)
        self._advert, self._signed_by, self._signed_at = advert, mandate, now
        if warmth_of is None:
            life_s = advert.expires_at - now
            self._renew_at = now + life_s * (0.45 + random.random() / 10)  # noqa: S311 - not a secret
        for poster in self._posters:
            poster.post(Posting(self.current, advert))
        log.info("advert %d: %s", advert.seq, summary(offers))

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


def _nothing() -> tuple[Offered, ...]:
    return ()
