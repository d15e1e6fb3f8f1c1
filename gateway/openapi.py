"""What the gateway alone adds to the description of its HTTP surface (relay.openapi)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relay.answer_schemas import of
from relay.openapi import get

_COUNT = {"type": "integer", "minimum": 0}
_HEALTH = of(
    "status nodes proven registries",
    status={"enum": ["starting", "ready", "draining"]},
    nodes=_COUNT,
    proven=_COUNT,
    registries={"type": "array", "items": {"type": "object"}},
)

PATHS: Mapping[str, Any] = {
    "/health": {"get": get("200 ready, 503 starting or draining.", _HEALTH, also=(503,))},
}
