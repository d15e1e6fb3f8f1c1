"""How large a model is served, as numbers. A value.

Not here: choosing them (sizing), what memory they take (portions), and which flags say so (engines).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

MOST_CHECKPOINTS = 4  # a slot; llama-server makes two of a prompt
LEAST_WHOLE_BATCH = 512  # tokens; room for several short inputs at once
_USUAL_BATCH, _USUAL_UBATCH = 2048, 512  # llama-server's own


@dataclass(frozen=True)
class Sizing:
    """`context` is per request. `gpu_layers` and `batch` None leave it to the engine.

    `whole`: a batch holds an input whole. `vectors`: what is answered are vectors of tokens, not one next token.
    `prompt_cache_mib` and `checkpoints` (a slot) bound what the engine remembers of earlier prompts. `mapped`: the
    weights are used as they lie in the file; else they are read from it. `flash`: attention without its square.
    """

    context: int
    parallel: int
    threads: int
    gpu_layers: int | None
    batch: int | None
    whole: bool = False
    vectors: bool = False
    prompt_cache_mib: int = 0
    checkpoints: int = 0
    mapped: bool = True
    flash: bool = True

    @property
    def ubatch(self) -> int:
        """Tokens that are computed at once."""
        return self.batch or _USUAL_UBATCH

    @property
    def rows(self) -> int:
        """Tokens whose output is kept at once."""
        return (self.batch or _USUAL_BATCH) if self.vectors else self.parallel

    def of(self, context: int, parallel: int) -> Sizing:
        """The same for other requests."""
        batch = max(context, LEAST_WHOLE_BATCH) if self.whole else self.batch
        return replace(self, context=context, parallel=parallel, batch=batch)
