"""Asking a node to prove that it holds its key at its URL, before it is first routed to.

Budgets bound what a hostile registry can make the gateway do to anybody's host.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

import aiohttp
import orjson

from gateway.addresses import AddressRefused
from gateway.tls import verification
from gateway.turns import Turns
from registry.advert import Advert, Reason, Refused
from registry.keys import NodeKey, verify_node
from registry.signing import challenge_message
from registry.trust import Believed, Key
from relay.http import read_at_most

log = logging.getLogger("waypost.gateway")

PATH = "/.well-known/waypost/challenge"
_LIMIT_S = 5.0
_ANSWER_LIMIT_BYTES = 4096
_AT_ONCE = 64
_RETRY_FIRST_S = 1.0
_RETRY_MOST_S = 300.0
_FAILURES_COUNTED = 16
_LOOK_S = 0.1

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
    """What is known of one identity, and the adverts that give it."""

    believed: dict[Key, Believed] = field(default_factory=dict)
    proven: bool = False
    failures: int = 0
    next_at: float = 0.0
    task: asyncio.Task[None] | None = None

    @property
    def explicit(self) -> bool:
        return any(one.explicit for one in self.believed.values())

    @property
    def is_settled(self) -> bool:
        """Has it been asked, or is it gone?"""
        return self.proven or bool(self.failures) or not self.believed

    @property
    def advert(self) -> Advert:
        return next(iter(self.believed.values())).advert


class Prover:
    """Owns which nodes have proven themselves, and asks those that have not, in the background."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        gateway: NodeKey,
        clock: Callable[[], float],
        on_proven: Callable[[Iterable[Key]], None] = lambda _: None,
    ) -> None:
        self._session = session
        self._gateway = gateway
        self._clock = clock
        self._on_proven = on_proven
        self._by_key: dict[Key, Identity] = {}
        self._attempts: dict[Identity, _Attempt] = {}
        self._asking: set[asyncio.Task[None]] = set()
        self._closed = False
        self.proven_count = 0
        # Strangers cannot use up what those have who were named: each kind has its own share.
        self._running = dict.fromkeys((True, False), 0)
        self._turns = {named: Turns(partial(self._is_due, named), clock) for named in (True, False)}

    def __repr__(self) -> str:
        return f"<Prover proven={self.proven_count} known={len(self._attempts)} asking={len(self._asking)}>"

    def proven(self, who: Identity) -> bool:
        attempt = self._attempts.get(who)
        return attempt is not None and attempt.proven

    def follow(self, key: Key, believed: Believed | None) -> None:
        """What is believed of this node by now. `ask` then asks for the proof that is missing."""
        before = self._by_key.pop(key, None)
        if believed is not None:
            self._by_key[key] = who = identity(believed.advert)
            attempt = self._attempts.setdefault(who, _Attempt())
            known, explicit = bool(attempt.believed), attempt.explicit
            attempt.believed[key] = believed
            if not known or attempt.explicit != explicit:
                self._await_turn(who, attempt)
        if before is not None and before != self._by_key.get(key):
            self._forget(before, key)

    def ask(self) -> None:
        """Challenge those whose turn it is."""
        for named, turns in self._turns.items():
            while not self._closed and self._running[named] < _AT_ONCE and (who := turns.take()) is not None:
                attempt = self._attempts[who]
                attempt.task = asyncio.create_task(self._prove(who, attempt))
                self._asking.add(attempt.task)
                self._running[named] += 1
                attempt.task.add_done_callback(partial(self._asked, who, attempt, named))

    async def asked_all(self) -> None:
        """Returns when each of those that are followed now has proven itself, or has failed to for the first time."""
        waiting = list(self._attempts.values())
        while waiting:
            if waiting[-1].is_settled:
                waiting.pop()
            elif self._asking:
                await asyncio.wait(self._asking, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(_LOOK_S)  # its host has used up its turns

    async def close(self) -> None:
        """Stop asking."""
        self._closed = True
        tasks = list(self._asking)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, who: Identity, key: Key) -> None:
        attempt = self._attempts[who]
        explicit = attempt.explicit
        del attempt.believed[key]
        if attempt.believed and attempt.explicit != explicit:
            self._await_turn(who, attempt)
        if not attempt.believed:
            del self._attempts[who]
            self.proven_count -= attempt.proven
            if attempt.task is not None:
                attempt.task.cancel()

    def _await_turn(self, who: Identity, attempt: _Attempt) -> None:
        if not attempt.proven:
            host = urlsplit(who[1]).hostname or ""
            self._turns[attempt.explicit].add(who, host, attempt.failures, attempt.next_at)

    def _is_due(self, named: bool, who: Identity) -> bool:
        attempt = self._attempts.get(who)
        if attempt is None or attempt.proven or attempt.task is not None:
            return False
        return attempt.explicit == named and attempt.next_at <= self._clock()

    def _asked(self, who: Identity, attempt: _Attempt, named: bool, task: asyncio.Task[None]) -> None:
        self._asking.discard(task)
        self._running[named] -= 1
        attempt.task = None
        if self._attempts.get(who) is attempt:
            self._await_turn(who, attempt)
        self.ask()

    async def _prove(self, who: Identity, attempt: _Attempt) -> None:
        try:
            await challenge(self._session, attempt.advert, self._gateway)
        except Refused as refused:
            wait = min(_RETRY_FIRST_S * 2**attempt.failures, _RETRY_MOST_S)
            level = logging.INFO if attempt.failures else logging.WARNING
            attempt.failures = min(attempt.failures + 1, _FAILURES_COUNTED)
            attempt.next_at = self._clock() + wait
            log.log(level, "node %s at %s: %s; asked again in %.0f s", who[0], who[1], refused, wait)
            return
        attempt.proven = True
        self.proven_count += 1
        self._on_proven(attempt.believed)
        log.info("node %s at %s has proven its key", who[0], who[1])
