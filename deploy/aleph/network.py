"""One node of the network, as whoever deploys asks it: prices, credits, messages and what became of them.

What it says is its word alone; what it shows as ours is believed only with our signature (registry.aleph.messages).
Not here: what is posted and when (paying).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import aiohttp

from deploy.aleph.hosts import Compute, read_hosts
from deploy.aleph.pricing import PriceList
from deploy.aleph.web import Answer, Away, Web
from registry.aleph.messages import Forged, Message, checksum, item_content, item_hash, verify
from registry.answers import one_line
from registry.commands.failure import CommandError

__all__ = ["Network", "Refusal"]

PRICES_BY = "0xFba561a84A537fCaa567bb7A2257e7142701ae2A"  # the network's own address
NO_CREDITS = 6  # the network's number for it
SETTLED = ("processed", "removing", "removed", "forgotten")
_ASK_EVERY_S = 1.0
_UPLOAD_S = 3600.0


class Refusal(Exception):
    """The network will not have a message. `code` is its own number for why, None if it does not say."""

    def __init__(self, code: int | None, details: Any) -> None:
        super().__init__(one_line(json.dumps(details)) if details else f"error code {code}")
        self.code = code
        self.details = details


class Network:
    """Raises Away where the node does not answer as it should."""

    def __init__(self, web: Web, api: str, hosts_url: str) -> None:
        self._web = web
        self.api = api
        self._hosts_url = hosts_url

    async def hosts(self) -> list[Compute]:
        """All compute hosts that are up, as the network lists them."""
        answer = await self._web.get(self._hosts_url, params={"filter_inactive": "true"})
        try:
            if answer.status != 200:
                raise ValueError(f"it answered {answer.status}")
            return read_hosts(answer.json())
        except ValueError as error:
            raise CommandError(f"--hosts {self._hosts_url}: {error}; is it the list of compute hosts?") from error

    async def prices(self) -> PriceList:
        answer = await self._ask(f"/api/v0/aggregates/{PRICES_BY}.json", {"keys": "pricing,settings"})
        data = answer.json().get("data") if answer.status == 200 else None
        if not isinstance(data, dict) or not isinstance(data.get("pricing"), dict):
            raise CommandError(f"--api {self.api} has no price list (status {answer.status}); is it an Aleph node?")
        return PriceList(data["pricing"], data.get("settings") or {})

    async def credits(self, owner: str) -> Decimal:
        """What the owner has left."""
        answer = await self._ask(f"/api/v0/addresses/{checksum(owner)}/balance")
        if answer.status == 404:
            return Decimal(0)
        return _number(answer, "credit_balance")

    async def estimate(self, envelope: Mapping[str, Any], content: Mapping[str, Any]) -> Decimal:
        """Credits an hour for what a message asks for; the network counts them by the second.

        Nothing is taken of what is shown for this: with another content the message's signature is void.
        """
        shown = {"content": content, "item_content": item_content(content), "item_hash": item_hash(content)}
        message = {**envelope, **shown}
        answer = await self._web.post(f"{self.api}/api/v0/price/estimate", json={"message": message})
        if answer.status != 200:
            raise CommandError(f"{answer.who} gives no price ({answer.status}): {answer.words()}")
        return _number(answer, "cost", "required_tokens") * 3600

    async def price(self, hashed: str) -> Decimal:
        """Credits an hour for a message that is there."""
        return _number(await self._ask(f"/api/v0/price/{hashed}"), "cost", "required_tokens") * 3600

    async def message(self, hashed: str) -> dict[str, Any] | None:
        """What the node knows of a message, `status` at least; None if nothing."""
        answer = await self._ask(f"/api/v0/messages/{hashed}")
        if answer.status == 404:
            return None
        known = answer.json() if answer.status == 200 else None
        if not isinstance(known, dict) or not isinstance(known.get("status"), str):
            raise Away(f"{answer.who} answered {answer.status} about message {hashed}: {answer.words()}")
        return known

    async def instances(self, owner: str) -> list[tuple[dict[str, Any], Message]]:
        """The owner's machines, each with its envelope; what the owner has not signed is left out."""
        params = {"msgTypes": "INSTANCE", "addresses": checksum(owner), "pagination": "200"}
        answer = await self._ask("/api/v0/messages.json", params)
        listed = answer.json().get("messages") if answer.status == 200 else None
        if not isinstance(listed, list):
            raise Away(f"{answer.who} answered {answer.status} to a question for messages: {answer.words()}")
        found = []
        for raw in listed:
            try:
                message = verify(raw)
            except Forged:
                continue
            if (
                message is not None
                and message.kind == "INSTANCE"
                and message.sender == message.address == owner.lower()
            ):
                found.append((raw, message))
        return found

    async def post(self, envelope: Mapping[str, Any], settle_s: float) -> str:
        """Have the network take a message; its status once it is processed. Raises Refusal, TimeoutError."""
        answer = await self._web.post(f"{self.api}/api/v0/messages", json={"sync": True, "message": dict(envelope)})
        return await self._taken(answer, str(envelope["item_hash"]), settle_s)

    async def upload(self, envelope: Mapping[str, Any], file: Path, *, ipfs: bool, settle_s: float) -> str:
        """The same for a file with the message that pays for it."""
        form = aiohttp.FormData()
        metadata = json.dumps({"message": dict(envelope), "sync": True})
        form.add_field("metadata", metadata, content_type="application/json")
        path = f"{self.api}/api/v0/{'ipfs' if ipfs else 'storage'}/add_file"
        with file.open("rb") as content:
            form.add_field("file", content, filename=file.name, content_type="application/octet-stream")
            answer = await self._web.post(path, data=form, timeout=aiohttp.ClientTimeout(total=_UPLOAD_S))
        if answer.status == 413:
            raise CommandError(f"--image {file}: {answer.who} takes no file of this size; try --storage ipfs")
        if answer.status == 402:
            raise Refusal(NO_CREDITS, None)
        if answer.status == 403:
            raise CommandError(f"{answer.who} takes no files here ({answer.words()}); try the other --storage")
        return await self._taken(answer, str(envelope["item_hash"]), settle_s)

    async def _taken(self, answer: Answer, hashed: str, settle_s: float) -> str:
        if answer.status not in (200, 202, 422):
            raise Away(f"{answer.who} answered {answer.status} to a message: {answer.words()}")
        if answer.status == 422 and await self.message(hashed) is None:
            raise Refusal(None, answer.words())  # not even well formed
        return await self.settled(hashed, settle_s)

    async def settled(self, hashed: str, settle_s: float) -> str:
        """Wait until a message is processed, or was; its status. Raises Refusal; TimeoutError if it stays pending."""
        deadline = time.monotonic() + settle_s
        while True:
            known = await self.message(hashed)
            status = "unknown" if known is None else known["status"]
            if status in SETTLED:
                return str(status)
            if status == "rejected" and known is not None:
                code = known.get("error_code")
                raise Refusal(code if isinstance(code, int) else None, known.get("details"))
            if time.monotonic() >= deadline:
                raise TimeoutError(status)
            await asyncio.sleep(_ASK_EVERY_S)

    async def _ask(self, path: str, params: Mapping[str, str] | None = None) -> Answer:
        answer = await self._web.get(self.api + path, params=params)
        if answer.status >= 500 or answer.status == 429:
            raise Away(f"{answer.who} answered {answer.status} to {path}: {answer.words()}")
        return answer


def _number(answer: Answer, *names: str) -> Decimal:
    """The first of these fields that is there, as a number that is not negative."""
    said = answer.json() if answer.status == 200 else {}
    fields: dict[str, Any] = said if isinstance(said, dict) else {}
    for name in names:
        if fields.get(name) is not None:
            try:
                number = Decimal(str(fields[name]))
            except InvalidOperation:
                break
            if number.is_finite() and number >= 0:
                return number
    raise Away(f"{answer.who} answered {answer.status} where {names[0]} was asked for: {answer.words()}")
