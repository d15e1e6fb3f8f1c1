"""What the node alone adds to the description of its HTTP surface (relay.openapi)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from node.telemetry.health import PHASES, Status
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
_COUNT = {"type": "integer", "minimum": 0}
_NUMBER = {"type": ["number", "null"], "minimum": 0}
_MEMORY = of("ram_bytes vram_bytes", ram_bytes=_COUNT, vram_bytes=_COUNT)
_PROGRESS = of(
    "done_bytes total_bytes bytes_per_s",
    done_bytes=_COUNT, total_bytes={"type": ["integer", "null"], "minimum": 0}, bytes_per_s=_COUNT,
)  # fmt: skip
_MODEL = of(
    "state phase warm",
    state={**_TEXT, "description": "of its engine; of a model without one, its phase"},
    phase={"enum": list(PHASES)},
    warm={"type": "boolean", "description": "whether it answers without being loaded first"},
    progress=_PROGRESS, starts=_COUNT, slots=_COUNT, in_flight=_COUNT, waiting=_COUNT, loads=_COUNT, unloads=_COUNT,
    memory=of("needed taken", needed=_MEMORY, taken={"anyOf": [_MEMORY, {"type": "null"}]}),
    tokens_per_s=_NUMBER, cache_hit_ratio={**_NUMBER, "maximum": 1},
)  # fmt: skip
_GPU = of(
    "gpu name memory_total_bytes memory_used_bytes utilization_ratio temperature_celsius power_watts",
    gpu={**_TEXT, "description": "its number as nvidia-smi has it"}, name=_TEXT,
    memory_total_bytes=_COUNT, memory_used_bytes=_COUNT,
    utilization_ratio=_NUMBER, temperature_celsius={"type": ["number", "null"]}, power_watts=_NUMBER,
)  # fmt: skip
_HEALTH = of(
    "status models memory gpus registries",
    status={"enum": [status.value for status in Status]},
    models={"type": "object", "additionalProperties": _MODEL},
    memory=of("budget set_aside taken", budget=_MEMORY, set_aside=_MEMORY, taken=_MEMORY),
    gpus={"type": "array", "items": _GPU},
    registries={"type": "array", "items": of("url state", url=_TEXT, state=_TEXT)},
)

PATHS: Mapping[str, Any] = {
    "/health": {
        "get": get("200 ready, 202 cold: able but not loaded, 503 starting or draining.", _HEALTH, also=(202, 503)),
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
