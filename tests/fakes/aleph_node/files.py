"""Files: uploaded with the STORE message that pays for them, and sent as they are. IPFS differs in its hashes alone.

As on a real node a raw file has no validator and knows no ranges, and is compressed for whoever takes that.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from aiohttp import BodyPartReader, web
from aleph_cid import compute_cid
from pydantic import ValidationError

from tests.fakes.aleph_node.message import Code, Envelope, Malformed, Refused, read_content, read_envelope
from tests.fakes.aleph_node.rules import check_signature
from tests.fakes.aleph_node.store import Status

if TYPE_CHECKING:
    from tests.fakes.aleph_node.node import Node

_UNSIGNED_LIMIT_BYTES = 25 * 2**20
_HTTP = {Status.PROCESSED: 200, Status.PENDING: 202, Status.REJECTED: 422}


class Files:
    """`/api/v0/storage/add_file`, `/api/v0/storage/raw/{hash}`."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/api/v0/storage/add_file", self.add),
            web.post("/api/v0/ipfs/add_file", self.add),
            web.get("/api/v0/storage/raw/{item_hash}", self.raw),
        ]

    async def add(self, request: web.Request) -> web.Response:
        """A form: `file`, and before it `metadata`, {"message": a signed STORE of this very file, "sync"}."""
        parts: dict[str, bytes] = {}
        async for part in await request.multipart():
            if isinstance(part, BodyPartReader) and part.name:
                parts[part.name] = bytes(await part.read())
        if "file" not in parts:
            raise web.HTTPUnprocessableEntity(text="Missing 'file' in multipart form.")
        ipfs = "/ipfs/" in request.path
        file_hash = compute_cid(parts["file"]) if ipfs else hashlib.sha256(parts["file"]).hexdigest()
        metadata = _metadata(parts.get("metadata"))
        if metadata is None and len(parts["file"]) > _UNSIGNED_LIMIT_BYTES:
            raise web.HTTPRequestEntityTooLarge(max_size=_UNSIGNED_LIMIT_BYTES, actual_size=len(parts["file"]))
        if metadata is not None:
            _check_names(metadata["message"], file_hash)
        self._node.store.keep_blob(file_hash, parts["file"])
        if metadata is None:
            return web.json_response({"status": "success", "hash": file_hash})
        status = await self._node.publish(metadata["message"])
        known = self._node.store.status(metadata["message"]["item_hash"])
        if status is Status.REJECTED and known is not None and known["error_code"] == Code.CREDIT_INSUFFICIENT:
            raise web.HTTPPaymentRequired
        return web.json_response({"status": "success", "hash": file_hash}, status=_HTTP[status])

    async def raw(self, request: web.Request) -> web.Response:
        content = self._node.store.blob(request.match_info["item_hash"])
        if content is None:
            raise web.HTTPNotFound(text="Not found")
        content = self._node.misbehaviour.bytes_to_send(content)
        response = web.Response(body=content, content_type="application/octet-stream")
        response.enable_compression()
        return response


def _metadata(raw: bytes | None) -> dict[str, Any] | None:
    if raw is None:
        return None
    try:
        metadata = json.loads(raw)
        read_envelope(metadata["message"])
    except (ValueError, TypeError, KeyError, Malformed) as error:
        raise web.HTTPUnprocessableEntity(text=f"Could not decode metadata: {error}") from None
    return dict(metadata)


def _check_names(message: dict[str, Any], file_hash: str) -> None:
    """Whoever uploads must have signed for these bytes."""
    envelope = Envelope.model_validate(message)
    try:
        check_signature(envelope)
        named = read_content(envelope, envelope.item_content or "").get("item_hash")
    except (Refused, Malformed, ValidationError):
        raise web.HTTPForbidden from None
    if envelope.type != "STORE" or named != file_hash:
        raise web.HTTPUnprocessableEntity(text=f"File hash does not match ({named} != {file_hash})")
