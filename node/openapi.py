"""What the node alone adds to the description of its HTTP surface (relay.openapi)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relay.openapi import errors_of, get

_CHALLENGE = {"type": "object", "required": ["nonce", "url", "gateway"], "properties": {
    "nonce": {"type": "string", "description": "32 bytes, unpadded base64url"},
    "url": {"type": "string", "description": "this node's public URL"},
    "gateway": {"type": "string", "description": "the gateway's key"},
}}  # fmt: skip

PATHS: Mapping[str, Any] = {
    "/.well-known/waypost/advert": {"get": get("The node's current advert, signed.", errors=(404,))},
    "/.well-known/waypost/challenge": {
        "post": {
            "summary": "Prove that this node holds its key, at its URL.",
            "requestBody": {"required": True, "content": {"application/json": {"schema": _CHALLENGE}}},
            "responses": get("")["responses"] | errors_of((400, 413)),
        }
    },
}
