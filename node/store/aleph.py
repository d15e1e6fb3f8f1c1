"""`aleph://`: the STORE message that an item hash names -> the file that it names, and what its bytes must hash to.

The item hash is that of the message's text, and the text names the file by its SHA-256: so neither the node of the
network nor the way to it can put other bytes in. Who signed the message does not matter: the operator chose the hash.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from node.store.limits import Limits
from node.store.patience import Broken, Patience
from node.store.ranges import Held, Refused, read_answer
from node.store.site import Site
from node.store.source import Source
from node.uri import RemoteUri
from node.weights import WeightsError

_ANSWER_BYTES = 8 * 1024 * 1024  # a message's text has at most 200,000 characters, perhaps escaped twice
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CID = re.compile(r"[A-Za-z0-9]{46,128}")
_STATUSES = {
    "pending": "the network has not processed this message yet; wait, or give another node with --aleph-api",
    "forgotten": "its owner has had this message forgotten; give another source",
    "removed": "the network has removed this file, which nobody pays for any more; give another source",
    "rejected": "the network has rejected this message; check the item hash",
}


async def resolve_aleph(uri: RemoteUri, api: str, site: Site, limits: Limits) -> tuple[Source, ...]:
    """The one file. Raises WeightsError."""
    item_hash, api = uri.location, api.rstrip("/")
    answer = await _json(site, f"{api}/api/v0/messages/{item_hash}", uri, limits)
    message = _message(uri, answer)
    text = _inline(uri, message)
    if text is None:
        text = await _get(site, f"{api}/api/v0/storage/raw/{item_hash}", uri, limits)
    if hashlib.sha256(text).hexdigest() != item_hash:
        raise WeightsError(f"{uri.shown}: the node answered with another message than this; give another --aleph-api")
    file_hash, vouched = _file(uri, text)
    return (Source(uri.names[0], f"{api}/api/v0/storage/raw/{file_hash}", None, vouched),)


def _message(uri: RemoteUri, answer: Any) -> Mapping[str, Any]:
    status = answer.get("status") if isinstance(answer, dict) else None
    if status not in ("processed", "removing"):
        raise WeightsError(f"{uri.shown}: {_STATUSES.get(str(status), 'this is no Aleph node; check --aleph-api')}")
    message = answer.get("message")
    if not isinstance(message, dict):
        raise WeightsError(f"{uri.shown}: this is no answer of an Aleph node; check --aleph-api")
    if message.get("type") != "STORE":
        raise WeightsError(f"{uri.shown}: this is no STORE message, so it names no file; check the item hash")
    return message


def _inline(uri: RemoteUri, message: Mapping[str, Any]) -> bytes | None:
    """The message's text; None if it is stored as a file of its own, under the same hash."""
    if message.get("item_type") != "inline":
        return None
    text = message.get("item_content")
    return text.encode("utf-8", "replace") if isinstance(text, str) else b""


def _file(uri: RemoteUri, text: bytes) -> tuple[str, str | None]:
    """The file's hash, and its SHA-256."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    content = content if isinstance(content, dict) else {}
    kind, file_hash = content.get("item_type"), content.get("item_hash")
    if kind == "storage" and isinstance(file_hash, str) and _SHA256.fullmatch(file_hash):
        if uri.sha256 not in (None, file_hash):
            raise WeightsError(f"{uri.shown}: its file has the sha256 {file_hash}; correct #sha256= or the item hash")
        return file_hash, file_hash
    if kind == "ipfs" and isinstance(file_hash, str) and _CID.fullmatch(file_hash):
        if uri.sha256 is None:
            raise WeightsError(
                f"{uri.shown}: its file is on IPFS, whose hashes are not the bytes' own; add #sha256= and its digest"
            )
        return file_hash, uri.sha256
    raise WeightsError(f"{uri.shown}: its text names no file; check the item hash")


async def _json(site: Site, url: str, uri: RemoteUri, limits: Limits) -> Any:
    try:
        return json.loads(await _get(site, url, uri, limits))
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{uri.shown}: this is no answer of an Aleph node; check --aleph-api") from error


async def _get(site: Site, url: str, uri: RemoteUri, limits: Limits) -> bytes:
    """A short answer, whole."""
    patience = Patience(uri.shown, limits)
    while True:
        try:
            async with asyncio.timeout(limits.answer_s):
                return await _once(site, url)
        except Refused as refused:
            raise WeightsError(f"{uri.shown}: the network's node does not have this: {refused}") from refused
        except Broken as broken:
            await patience.wait(broken)
        except TimeoutError:
            await patience.wait(Broken(f"not a whole answer within {limits.answer_s:g} s"))


async def _once(site: Site, url: str) -> bytes:
    async with site.open("GET", url, {"Accept-Encoding": "identity"}) as response:
        read_answer(response.status, response.headers, Held(), vouched=True)
        body = bytearray()
        async for piece in site.read(response):
            body += piece
            if len(body) > _ANSWER_BYTES:
                raise Refused(f"its answer has more than {_ANSWER_BYTES} bytes")
        return bytes(body)
