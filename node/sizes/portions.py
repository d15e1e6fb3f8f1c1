"""What of a model in llama-server takes how much memory: weights, context, scratch, output, the process, its caches.

Pure; measured figures and their sources are in docs/decisions/0009-memory-estimate.md. What a header does not tell is
taken as large as it may be. Not here: their sum and what would fit (footprint), other engines (footprint_other).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from node.gguf import Metadata
from node.sizes.memory import MIB, Memory
from node.sizes.shape import Shape
from node.sizes.sized import Sizing

_PROCESS = 32 * MIB  # llama-server without a model: its libraries and threads
_PER_WORD = 400  # bytes of the process for each word of the vocabulary
_CUDA_PROCESS = 400 * MIB  # further memory of the machine where CUDA's libraries are loaded
_CUDA_CONTEXT = 640 * MIB  # on each GPU, before anything is in it: 450 MiB were seen on small ones
_FLOAT = 4
_PAD = 256  # cells of a window are counted in these
_PROJECTOR_WORK = 32 * MIB  # to look at one picture, and at least
_PROJECTOR_SHARE = 0.5  # of the projector's size, for the same
# Of what a header does not say, the most that is common.
_EMBEDDING, _WIDENING, _VOCABULARY, _KEPT = 16_384, 4, 262_144, MIB
_SLACK = 1.03  # a prompt's cells are described too
_CHECKPOINTS_EACH = 2  # are made of one prompt
_NO_FLASH = frozenset(("grok",))


def parts(
    metadata: Metadata, sizing: Sizing, weights_bytes: int, *, on_gpu: bool, projector_bytes: int = 0, gpus: int = 1
) -> Mapping[str, Memory]:
    """The most that it takes while it answers. `weights_bytes` are of all files, the projector's with them."""
    shape = metadata.shape
    share = _gpu_share(shape, sizing, on_gpu)
    computing = _computing(metadata, sizing)
    return {
        "weights": _weights(metadata, sizing, max(0, weights_bytes - projector_bytes), share),
        "context": _spread(context_bytes(metadata, sizing), share),
        "computing": Memory(
            computing if share < 1 else _handing_over(metadata, sizing), computing * gpus * (share > 0)
        ),
        "output": Memory(sizing.rows * (_vocabulary(shape) + _embedding(shape)) * _FLOAT),
        "process": _process(shape, gpus if share > 0 else 0),
        "projector": _projector(projector_bytes, on_gpu),
        "caches": Memory(
            sizing.prompt_cache_mib * MIB + sizing.parallel * sizing.checkpoints * checkpoint_bytes(metadata, sizing)
        ),
    }


def context_bytes(metadata: Metadata, sizing: Sizing) -> int:
    """Keys and values of all slots, and recurrent state. An encoder keeps none."""
    if metadata.is_encoder:
        return 0
    shape = metadata.shape
    kept = shape.kept if shape.kept is not None else metadata.kv_bytes or _KEPT
    cells = ceil(min(sizing.context, shape.window + sizing.ubatch) / _PAD) * _PAD
    return sizing.parallel * (kept * sizing.context + shape.windowed * cells + shape.state)


def checkpoint_bytes(metadata: Metadata, sizing: Sizing) -> int:
    """What cannot be rolled back in a slot, and is copied therefore: windows, and recurrent state."""
    shape = metadata.shape
    return 0 if metadata.is_encoder else shape.windowed * min(sizing.context, shape.window) + shape.state


def prompt_cache_mib(metadata: Metadata, sizing: Sizing) -> int:
    """Room to remember as much as all slots hold, and the checkpoints of the latest prompt in each."""
    checkpoints = min(_CHECKPOINTS_EACH, sizing.checkpoints) * sizing.parallel * checkpoint_bytes(metadata, sizing)
    return ceil((context_bytes(metadata, sizing) + checkpoints) * _SLACK / MIB)


def _gpu_share(shape: Shape, sizing: Sizing, on_gpu: bool) -> float:
    """Of the layers, as many as are on a GPU: the last ones, and what follows them counts as one."""
    if not on_gpu or sizing.gpu_layers == 0:
        return 0.0
    if sizing.gpu_layers is None:
        return 1.0
    return min(1.0, sizing.gpu_layers / ((shape.layers or sizing.gpu_layers) + 1))


def _weights(metadata: Metadata, sizing: Sizing, size: int, share: float) -> Memory:
    """The table of words is always used by the CPU; a GPU has a copy where it serves as output too."""
    tensors = metadata.shape.tensors
    if share == 0:
        return Memory(size + (tensors.repacked if sizing.mapped else tensors.twice))
    words = min(size, tensors.words or _vocabulary(metadata.shape) * _embedding(metadata.shape))
    output = tensors.output or words
    if share == 1:
        return Memory(words, size if not tensors.output else size - words)
    assert sizing.gpu_layers is not None
    layers = sizing.gpu_layers - 1
    known = metadata.parts == 1 and len(tensors.layers) == metadata.shape.layers
    there = sum(tensors.layers[len(tensors.layers) - layers :]) if known else ceil(size * share)
    return Memory(size - there if known else size, there + output)


def _spread(size: int, share: float) -> Memory:
    return Memory(size - int(size * share), ceil(size * share))


def _computing(metadata: Metadata, sizing: Sizing) -> int:
    """Scratch of one batch: the widest layer's rows, its quantized input, masks, and the last tokens' logits."""
    shape = metadata.shape
    embedding = _embedding(shape)
    inner = max(shape.feed_forward or 0, 2 * (shape.inner or 0)) or _WIDENING * embedding
    heads = shape.heads or embedding // 64
    attention = max(embedding, heads * (shape.head_width or 0))
    cells = sizing.ubatch if metadata.is_encoder else sizing.context
    rows = sizing.ubatch * (4 * inner + 4 * attention) * _FLOAT
    masks = cells * sizing.ubatch * (4 if metadata.is_encoder else 2)
    flash = sizing.flash and metadata.architecture not in _NO_FLASH
    scores = 0 if flash else 2 * heads * cells * sizing.ubatch * _FLOAT
    return rows + masks + scores + _vocabulary(shape) * sizing.parallel * _FLOAT


def _handing_over(metadata: Metadata, sizing: Sizing) -> int:
    """What the CPU prepares for a GPU."""
    return sizing.ubatch * (2 * sizing.context + 2 * _FLOAT * _embedding(metadata.shape))


def _process(shape: Shape, gpus: int) -> Memory:
    own = _PROCESS + _PER_WORD * _vocabulary(shape)
    return Memory(own + (_CUDA_PROCESS if gpus else 0), gpus * _CUDA_CONTEXT)


def _projector(size: int, on_gpu: bool) -> Memory:
    taken = size + max(_PROJECTOR_WORK, ceil(size * _PROJECTOR_SHARE)) if size else 0
    return Memory(0, taken) if on_gpu else Memory(taken)


def _embedding(shape: Shape) -> int:
    return shape.embedding or _EMBEDDING


def _vocabulary(shape: Shape) -> int:
    return shape.vocabulary or _VOCABULARY
