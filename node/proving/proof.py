"""What a model has shown before it is advertised: that it loads, and how fast it answers. Values alone.

Not here: making it show that (preflight).
"""

from __future__ import annotations

from dataclasses import dataclass

from node.sizes.memory import Memory


@dataclass(frozen=True)
class Proof:
    """`load_s` until it was ready, `answer_s` for the whole probe; tokens a second where it writes text.

    `taken` is what its processes held afterwards; None where that cannot be known, as of an external engine.
    """

    load_s: float
    answer_s: float
    tokens_per_s: float | None = None
    taken: Memory | None = None

    def __str__(self) -> str:
        speed = "" if self.tokens_per_s is None else f", {self.tokens_per_s:.1f} tokens/s"
        taken = "" if self.taken is None else f", takes {self.taken}"
        return f"loaded in {self.load_s:.1f} s, answered in {self.answer_s:.2f} s{speed}{taken}"
