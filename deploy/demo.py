"""The demo models: one small model for each kind of endpoint, where set-up put them.

Not here: installing them (installing, and the project's scripts), and asking them (calls).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_SHARE = Path(sys.prefix) / "share" / "waypost"


class NotInstalled(Exception):
    """A demo model that is not there; the text names it."""


@dataclass(frozen=True)
class Demo:
    """One model as `up` serves it: its file or folder, a name and an alias, and settings of `[node.models.NAME]`."""

    name: str
    alias: str
    what: str
    file: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def options(self) -> dict[str, Any]:
        """Its table in a node's configuration. Raises NotInstalled."""
        path = _SHARE / self.file
        if not path.exists():
            raise NotInstalled(f"{self.what} ({path})")
        return {"uri": str(path), "aliases": [self.alias], **self.settings}


CHAT = Demo("smollm2-135m-instruct", "smollm2", "the chat model SmolLM2 135M", "smollm2-135m-instruct.gguf")
EMBEDDING = Demo("all-minilm-l6-v2", "minilm", "the embedding model MiniLM", "all-minilm-l6-v2.gguf")
IMAGE = Demo(
    "demo-image", "noise", "the demo's image model of random weights", "demo-image.safetensors", {"size": "64x64"}
)
SPEECH = Demo("piper-joe", "joe", "Piper's voice Joe", "voice.onnx")
TRANSCRIPTION = Demo("whisper-base", "whisper", "Whisper base", "whisper-base")
VISION = Demo(
    "demo-vision", "blind", "the demo's vision model of random weights", "demo-vision.gguf",
    {"projector": str(_SHARE / "demo-vision-mmproj.gguf"), "parallel": 1, "context": 2048},
)  # fmt: skip
DEMOS = (CHAT, EMBEDDING, IMAGE, SPEECH, TRANSCRIPTION, VISION)
RANDOM = frozenset({IMAGE.name, VISION.name})  # their answers mean nothing
