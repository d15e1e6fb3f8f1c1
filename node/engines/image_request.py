"""What was asked for, in sd-server's own words; and what others could do and it does not.

Not here: reading a request (relay.image_input), and running what comes out (image_jobs).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from relay.errors import BadRequest
from relay.image_input import ImageWish

_MOST_AT_ONCE = 8  # pictures of one job; sd-server makes no more and does not say so
_MOST_STEPS = 100  # the same
# More than models read: CLIP takes 77 tokens at a time, T5 512. Text encoding cannot be cancelled, its cost grows with
# the square of the tokens, and a byte may be one: 4000 of them took half a minute on 2 cores, 16,000 ended sd-server.
_MOST_PROMPT_BYTES = 2000
_SEEDS = 2**32


def check(wish: ImageWish) -> None:
    """What others may do and sd-server does not. Raises BadRequest."""
    if wish.background == "transparent":
        text = "This model paints no transparent background; leave 'background' out."
        raise BadRequest(text, param="background", code="unsupported_value")
    if wish.steps is not None and wish.steps > _MOST_STEPS:
        text = f"'steps' must be at most {_MOST_STEPS} for this model."
        raise BadRequest(text, param="steps", code="invalid_value")
    for name, said in (("prompt", wish.prompt), ("negative_prompt", wish.negative_prompt)):
        if said is not None and len(said.encode()) > _MOST_PROMPT_BYTES:
            text = f"'{name}' must have at most {_MOST_PROMPT_BYTES} bytes for this model."
            raise BadRequest(text, param=name, code="string_too_long")


def jobs_of(wish: ImageWish, size: tuple[int, int], files: Mapping[str, Any]) -> list[dict[str, Any]]:
    """In sd-server's own words. Each picture has its seed, one more than the last."""
    seed = secrets.randbelow(_SEEDS) if wish.seed is None or wish.seed < 0 else wish.seed
    guidance = {"txt_cfg": wish.cfg_scale, "distilled_guidance": wish.guidance}
    sampling = {"sample_steps": wish.steps, "guidance": _given(guidance)}
    said = {
        "prompt": wish.prompt, "negative_prompt": wish.negative_prompt, "width": size[0], "height": size[1],
        "strength": wish.strength, "output_format": wish.output_format, "output_compression": wish.output_compression,
        "sample_params": _given(sampling), "embed_image_metadata": False,
    }  # fmt: skip
    starts = range(0, wish.n, _MOST_AT_ONCE)
    counts = [{"seed": seed + at, "batch_count": min(_MOST_AT_ONCE, wish.n - at)} for at in starts]
    return [{**_given(said), **files, **count} for count in counts]


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
