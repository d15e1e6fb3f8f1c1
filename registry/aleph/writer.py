"""Messages to a node, signed by one wallet, through Aleph's SDK; and what became of them, in words for an operator.

Not here: what to post and when (backend).
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from types import ModuleType
from typing import TYPE_CHECKING, Any

import aiohttp
from pydantic import ValidationError

from registry.aleph.host import Host
from registry.aleph.messages import MAX_CONTENT, POST_TYPE, checksum, item_content, item_hash
from registry.aleph.rights import Rights
from registry.answers import one_line
from registry.backend import Pending, Rejected, Unreachable
from registry.keys import Wallet

if TYPE_CHECKING:
    from aleph.sdk.client.authenticated_http import AuthenticatedAlephHttpClient

__all__ = ["Writer"]

MAX_UNSETTLED = 256  # texts whose fate is not known

_PERMISSION_DENIED = 2  # the network's error code


class Writer:
    """Posts in `wallet`'s name, or in another's where that one lets it. Connects when first used."""

    def __init__(self, host: Host, wallet: Wallet) -> None:
        self._host = host
        self._wallet = wallet
        self._opening = asyncio.Lock()
        self._connections = AsyncExitStack()
        self._client: AuthenticatedAlephHttpClient | None = None
        self._unsettled: dict[str, Mapping[str, Any]] = {}  # what was sent for a text, by the text's digest

    def __repr__(self) -> str:
        return f"Writer({self._wallet.address}, unsettled={len(self._unsettled)})"

    async def post(self, text: str, content: Mapping[str, Any], address: str, now: float) -> str:
        """Post `content`, which stands for `text`; the message's hash. Raises Unreachable, Pending, Rejected.

        A text whose fate is not known is never posted a second time: the first message is asked after, or sent again.
        """
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        again = digest in self._unsettled
        message = self._unsettled.get(digest) or self._content(address, now, type=POST_TYPE, content=content)
        self._unsettled[digest] = message
        if len(self._unsettled) > MAX_UNSETTLED:
            del self._unsettled[next(iter(self._unsettled))]
        try:
            await self._deliver("POST", message, again=again)
        except Rejected:
            del self._unsettled[digest]
            raise
        self._unsettled.pop(digest, None)
        return item_hash(message)

    async def forget(self, hashes: Sequence[str], address: str, now: float) -> None:
        """Take messages back. Raises as `post`."""
        content = self._content(address, now, hashes=list(hashes), aggregates=[], reason="replaced")
        await self._deliver("FORGET", content)

    async def set_rights(self, rights: Rights) -> None:
        """Say who may post in the wallet's own name, in place of what it said before. Raises as `post`."""
        await self._deliver("AGGREGATE", self._sized(rights.aggregate(self._wallet.address)))

    async def close(self) -> None:
        await self._connections.aclose()

    def _content(self, address: str, now: float, **fields: Any) -> dict[str, Any]:
        return self._sized({"address": checksum(address), "time": now, **fields})

    def _sized(self, content: dict[str, Any]) -> dict[str, Any]:
        size = len(item_content(content))
        if size > MAX_CONTENT:
            raise self._rejected(f"the message has {size} characters; Aleph takes at most {MAX_CONTENT}")
        return content

    async def _deliver(self, kind: str, content: Mapping[str, Any], again: bool = False) -> None:
        hashed = item_hash(content)
        status = await self._status(hashed) if again else None
        if status is None:
            status = await self._submit(kind, content)
        if status == "pending":
            status = await self._settled(hashed)
        if status == "pending":
            raise Pending(
                f"registry {self._host.place.url}: took message {hashed}, but it is not on the board yet; "
                f"a node asks again by itself, a command has to be run again"
            )
        if status == "rejected":
            raise await self._refusal(content, "for no reason that it tells")

    async def _submit(self, kind: str, content: Mapping[str, Any]) -> str:
        """Sign and send; the status that the node gives. Raises Unreachable, Rejected."""
        self._host.check_open()
        sdk = await self._sdk()
        client = await self._connected(sdk)
        try:
            async with asyncio.timeout(self._host.limits.submit_s):
                _, status, _ = await client.submit(
                    content=dict(content),
                    message_type=sdk.MessageType(kind),
                    channel=self._host.place.channel,
                    sync=True,
                )
        except sdk.InvalidMessageError as error:
            raise await self._refusal(content, str(error)) from error
        except ValidationError as error:
            raise self._rejected(f"this cannot be a message ({error.errors()[0]['msg']})") from error
        except TimeoutError as error:
            raise self._host.unreachable(f"no answer to a message within {self._host.limits.submit_s:g} s") from error
        except (sdk.BroadcastError, aiohttp.ClientError, OSError, RuntimeError, ValueError, LookupError) as error:
            self._host.check_open()
            raise self._host.unreachable(f"did not take a message ({error or type(error).__name__})") from error
        return str(status.value)

    async def _settled(self, hashed: str) -> str | None:
        """Ask for a while how a pending message went."""
        try:
            async with asyncio.timeout(self._host.limits.settle_s):
                while True:
                    status = await self._status(hashed)
                    if status not in (None, "pending"):
                        return status
                    await asyncio.sleep(self._host.limits.ask_every_s)
        except TimeoutError:
            return "pending"

    async def _status(self, hashed: str) -> str | None:
        answer = await self._host.message(hashed)
        return None if answer is None else str(answer["status"])

    async def _refusal(self, content: Mapping[str, Any], said: str) -> Rejected:
        code, details = await self._reason(item_hash(content))
        address, sender = content["address"], checksum(self._wallet.address)
        if code == _PERMISSION_DENIED and address != sender:
            return self._rejected(
                f"{address.lower()} does not let {sender.lower()} post here; run `waypost registry delegate "
                f"{sender.lower()} --registry '{self._host.place.url}' ...` on the operator's machine"
            )
        reason = said if code is None else f"error code {code}" + (f", {details}" if details else "")
        return self._rejected(f"refuses the message: {reason}")

    async def _reason(self, hashed: str) -> tuple[object, object]:
        """The node's error code and details for a message that it refused, if it tells."""
        try:
            answer = await self._host.message(hashed)
        except Unreachable:
            return None, None
        if answer is None or answer["status"] != "rejected":
            return None, None
        return answer.get("error_code"), answer.get("details")

    def _rejected(self, why: str) -> Rejected:
        return Rejected(f"registry {self._host.place.url}: {one_line(why)}")

    async def _connected(self, sdk: ModuleType) -> AuthenticatedAlephHttpClient:
        async with self._opening:
            client = self._client
            if client is None:
                client = sdk.connect(self._host.place.origin, self._wallet)
                self._client = await self._connections.enter_async_context(client)
            return client

    async def _sdk(self) -> ModuleType:
        try:
            return await asyncio.to_thread(importlib.import_module, "registry.aleph.sdk")  # streams go on meanwhile
        except ImportError as error:
            raise self._rejected("posting to Aleph needs the extra: pip install 'waypost[aleph]'") from error
