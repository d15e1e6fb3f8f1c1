"""Asking a node to prove that it holds its key at its URL, before it is first routed to.

Budgets bound what a hostile registry can make the gateway do to anybody's host.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

import aiohttp
import orjson

from gateway.addresses import AddressRefused
from gateway.tls import verification
from registry.advert import Advert, Reason, Refused
from registry.keys import NodeKey, verify_node
from registry.signing import challenge_message
from registry.trust import Believed
from relay.http import read_at_most

log = logging.getLogger("waypost.gateway")

PATH = "/.well-known/waypost/challenge"
_LIMIT_S = 5.0
_ANSWER_LIMIT_BYTES = 4096
_AT_ONCE = 64
_BURST = 128  # challenges of one host, in a row
_REFILL_S = 1.0  # then one every so often
_HOSTS_KEPT = 10_000
_RETRY_FIRST_S = 1.0
_RETRY_MOST_S = 300.0
_FAILURES_COUNTED = 16

Identity = tuple[str, str, str | None]  # node key, URL, TLS key: a change of any asks for a new proof


def identity(advert: Advert) -> Identity:
    return advert.node, advert.url, advert.tls_spki_sha256


async def challenge(session: aiohttp.ClientSession, advert: Advert, gateway: NodeKey) -> None:
    """Ask once. Raises Refused: `url refused` where the gateway does not go, else `challenge failed` with why."""
    if advert.tls_spki_sha256 and not advert.url.startswith("https:"):
        raise Refused(Reason.CHALLENGE_FAILED, "the advert names a TLS key, and a URL without TLS")
    nonce = urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
    body = orjson.dumps({"nonce": nonce, "url": advert.url, "gateway": gateway.public})
    signature = await _ask(session, advert, body)
    message = challenge_message(nonce, advert.url, advert.tls_spki_sha256, gateway.public)
    if not verify_node(advert.node, message, signature):
        raise Refused(Reason.CHALLENGE_FAILED, "the answer is not signed by the advertised node key")


async def _ask(session: aiohttp.ClientSession, advert: Advert, body: bytes) -> str:
    tls = verification(advert.tls_spki_sha256)
    headers = {"Content-Type": "application/json"}
    try:
        async with (
            asyncio.timeout(_LIMIT_S),
            session.post(advert.url + PATH, data=body, headers=headers, allow_redirects=False, ssl=tls) as response,
        ):
            if response.status != 200:
                raise Refused(Reason.CHALLENGE_FAILED, f"{advert.url} answered with status {response.status}")
            answer = await read_at_most(response, _ANSWER_LIMIT_BYTES)
    except TimeoutError as error:
        raise Refused(Reason.CHALLENGE_FAILED, f"{advert.url} did not answer within {_LIMIT_S:.0f} s") from error
    except (aiohttp.ClientError, OSError) as error:
        if isinstance(getattr(error, "os_error", error), AddressRefused):
            raise Refused(Reason.URL_REFUSED, str(getattr(error, "os_error", error))) from error
        raise Refused(Reason.CHALLENGE_FAILED, f"{advert.url} could not be reached") from error
    return _signature(answer)


def _signature(answer: bytes) -> str:
    try:
        parsed = orjson.loads(answer)
    except orjson.JSONDecodeError as error:
        raise Refused(Reason.CHALLENGE_FAILED, "the answer is not JSON") from error
    signature = parsed.get("signature") if isinstance(parsed, dict) else None
    if not isinstance(signature, str):
        raise Refused(Reason.CHALLENGE_FAILED, "the answer has no signature")
    return signature


@dataclass
class _Attempt:
    """What is known of one identity: proven, or when to ask again."""

    proven: bool = False
    failures: int = 0
    next_at: float = 0.0

    def is_due(self, now: float) -> bool:
        return not self.proven and now >= self.next_at


class Prover:
    """Owns which nodes have proven themselves, and asks those that have not, in the background."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        gateway: NodeKey,
        clock: Callable[[], float],
    ) -> None:
        self._session = session
        self._gateway = gateway
        self._clock = clock
        self._attempts: dict[Identity, _Attempt] = {}
        self._tasks: dict[Identity, asyncio.Task[None]] = {}
        # Strangers cannot use up what those have who were named: each kind has its own share.
        self._at_once = {named: asyncio.Semaphore(_AT_ONCE) for named in (True, False)}
        self._hosts = {named: HostBudget(clock) for named in (True, False)}

    def __repr__(self) -> str:
        proven = sum(attempt.proven for attempt in self._attempts.values())
        return f"<Prover proven={proven} known={len(self._attempts)} asking={len(self._tasks)}>"

    @property
    def proven_count(self) -> int:
        return sum(attempt.proven for attempt in self._attempts.values())

    def proven(self, who: Identity) -> bool:
        attempt = self._attempts.get(who)
        return attempt is not None and attempt.proven

    def want(self, listed: Iterable[Believed]) -> None:
        """Prove these, and forget all others. Cheap when nothing is new."""
        wanted = {identity(one.advert): one for one in listed}
        for who in self._attempts.keys() - wanted.keys():
            del self._attempts[who]
        for who in self._tasks.keys() - wanted.keys():
            self._tasks[who].cancel()
        for who in wanted:
            self._attempts.setdefault(who, _Attempt())
        now = self._clock()
        due = [who for who, attempt in self._attempts.items() if attempt.is_due(now) and who not in self._tasks]
        for who in sorted(due, key=lambda who: self._attempts[who].failures):  # who never failed comes first
            one = wanted[who]
            if self._hosts[one.explicit].take(urlsplit(one.advert.url).hostname or ""):
                task = asyncio.create_task(self._prove(who, one, self._attempts[who]))
                self._tasks[who] = task
                task.add_done_callback(partial(self._asked, who))

    async def close(self) -> None:
        """Stop asking."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _asked(self, who: Identity, _: asyncio.Task[None]) -> None:
        del self._tasks[who]

    async def _prove(self, who: Identity, one: Believed, attempt: _Attempt) -> None:
        try:
            async with self._at_once[one.explicit]:
                await challenge(self._session, one.advert, self._gateway)
        except Refused as refused:
            wait = min(_RETRY_FIRST_S * 2**attempt.failures, _RETRY_MOST_S)
            attempt.failures = min(attempt.failures + 1, _FAILURES_COUNTED)
            attempt.next_at = self._clock() + wait
            log.warning("node %s at %s: %s; asked again in %.0f s", who[0], who[1], refused, wait)
            return
        attempt.proven = True
        log.info("node %s at %s has proven its key", who[0], who[1])


class HostBudget:
    """A bounded number of challenges a host: a burst, then one every few seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, host: str) -> bool:
        """Whether one more challenge to this host may be made now."""
        now = self._clock()
        left, since = self._buckets.pop(host, (float(_BURST), now))
        left = min(_BURST, left + (now - since) / _REFILL_S)
        allowed = left >= 1
        self._buckets[host] = (left - 1 if allowed else left, now)
        if len(self._buckets) > _HOSTS_KEPT:
            del self._buckets[next(iter(self._buckets))]
        return allowed
