"""What the node alone adds to the description of its HTTP surface (relay.openapi)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from registry.fields import NODE_KEY, NONCE
from relay.answer_schemas import PICTURES, of
from relay.openapi import errors_of, get, parameter

_TEXT = {"type": "string"}
_CHALLENGE = of(
    "nonce url gateway",
    nonce={**_TEXT, "pattern": f"^(?:{NONCE})$", "description": "32 bytes, unpadded base64url"},
    url={**_TEXT, "description": "this node's public URL"},
    gateway={**_TEXT, "pattern": f"^(?:{NODE_KEY})$", "description": "the gateway's key"},
)
_HEALTH = of(
    "status models",
    status={"enum": ["starting", "ready", "draining"]},
    models={"type": "object", "additionalProperties": of("state", state=_TEXT)},
    registries={"type": "array", "items": {"type": "object"}},
)

PATHS: Mapping[str, Any] = {
    "/health": {
        "get": get("200 ready, 202 able but not loaded, 503 starting or draining.", _HEALTH, also=(202, 503)),
    },
    "/.well-known/waypost/advert": {
        "get": get("The node's current advert, signed.", of("kind text signature"), errors=(404,))
    },
    "/.well-known/waypost/challenge": {
        "post": {
            "requestBody": {"required": True, "content": {"application/json": {"schema": _CHALLENGE}}},
            **get("Prove that this node holds its key, at its URL.", of("signature"), errors=(400, 413)),
        }
    },
    "/files/{name}": {
        "get": {
            "summary": "A picture whose address was given in an answer.",
            "responses": {"200": {"description": "OK", "content": {kind: {} for kind in PICTURES}}} | errors_of((404,)),
        },
        "parameters": [parameter("name", "path"), parameter("expires", "query"), parameter("signature", "query")],
    },
}
