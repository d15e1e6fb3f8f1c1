"""Which chat template a model is served with: its own, or ChatML.

Not here: how an engine is told (engines).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

CHATML = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message.role + '\\n' + (message.content or '') + '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)
TURN_END = "<|im_end|>"


class TemplateError(Exception):
    """A template that was asked for and is not there; one line with the fix."""


@dataclass(frozen=True)
class Template:
    """A template in Jinja, and whether it is the model's own."""

    text: str
    own: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def choose(wish: Literal["auto", "model", "chatml"], own: str | None) -> Template:
    """`auto` is the model's own if it has one, else ChatML. Raises TemplateError."""
    if wish == "model" and not own:
        raise TemplateError("its GGUF has no chat template; set template = 'chatml' or 'auto'")
    if own and wish != "chatml":
        return Template(own, own=True)
    return Template(CHATML, own=False)
