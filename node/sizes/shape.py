"""What a GGUF's model is made of, as far as memory depends on it: from its header's fields and its list of tensors.

Pure. A field that is missing, or that makes no sense, is None or empty, and who asks must then expect the most. The
rules are llama.cpp's (llama-hparams.cpp, llama-kv-cache-iswa.cpp, models/). Not here: reading the header (gguf), and
how much memory follows (portions).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

MOST = 1 << 32  # no size of a model is larger
_MOST_LAYERS = 4096
_NUMBER_BYTES = 2  # keys and values are kept in 16 bits
_STATE_BYTES = 4  # a recurrent state in 32
# Of each so many layers the last sees the whole context, the others a window of it.
_PERIODS = {
    "afmoe": 4, "cohere2": 4, "gemma2": 2, "gemma3": 6, "gemma3n": 5, "gemma4": 0, "gpt-oss": 2, "llama4": 4, "olmo2": 4
}  # fmt: skip
_WINDOWS = {"gemma2": 4096, "llama4": 8192}  # where the file need not say
_KEPT_BY_FIRST = {"gemma3n": 20}  # later layers look at what these keep
_RECURRENT = frozenset(("mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"))
_INTERVALS = {"qwen3next": 4, "qwen35": 4, "qwen35moe": 4, "minimax-01": 4}  # the last of so many is not recurrent

# What llama.cpp lays out anew for an x86 CPU (ggml-cpu/repack.cpp); another CPU may do so with more types.
_REPACKED = frozenset(("Q4_0", "Q4_K", "Q2_K", "IQ4_NL", "MXFP4"))

Field = Callable[[str], Any]


@dataclass(frozen=True)
class Tensors:
    """Bytes of the weights in this file. `layers` is by number; `words` maps words to vectors, `output` back.

    `repacked` are those that llama.cpp lays out anew for a CPU, in memory of their own; `twice` those of them that it
    needs as they were too.
    """

    total: int = 0
    words: int = 0
    output: int = 0
    layers: tuple[int, ...] = ()
    repacked: int = 0
    twice: int = 0


@dataclass(frozen=True)
class Shape:
    """Sizes are counts of numbers; `kept`, `windowed` and `state` are bytes.

    `kept` is what layers that see everything keep for a token, `windowed` what those that see only the last `window`
    tokens do; `state` is what recurrent layers keep for a whole request.
    """

    layers: int | None = None
    embedding: int | None = None
    feed_forward: int | None = None
    vocabulary: int | None = None
    heads: int | None = None
    head_width: int | None = None
    inner: int | None = None  # of state-space layers
    kept: int | None = None
    windowed: int = 0
    window: int = 0
    state: int = 0
    tensors: Tensors = field(default_factory=Tensors)


def read_shape(found: Mapping[str, Any], architecture: str, tensors: Tensors) -> Shape:
    """Of the header's fields. Never raises."""

    def field(key: str) -> Any:
        return found.get(f"{architecture}.{key}")

    layers = _number(field("block_count"))
    layers = layers if layers is not None and layers <= _MOST_LAYERS else None
    embedding, heads = _number(field("embedding_length")), _number(field("attention.head_count"))
    width = _number(field("attention.key_length")) or (embedding // heads if embedding and heads else None)
    kept, windowed, window = _kept(field, architecture, layers, width, embedding)
    return Shape(
        layers=layers,
        embedding=embedding,
        feed_forward=_feed_forward(field),
        vocabulary=_number(found.get("tokenizer.ggml.tokens")) or _number(field("vocab_size")),
        heads=heads,
        head_width=width,
        inner=_number(field("ssm.inner_size")),
        kept=kept,
        windowed=windowed,
        window=window,
        state=_state(field, layers, embedding, heads),
        tensors=tensors,
    )


def _number(value: object) -> int | None:
    """Positive, and the largest where layers differ; None if it makes no sense."""
    if isinstance(value, list):
        return max((number for number in map(_number, value) if number), default=None)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST else None


def _by_layer(value: object, layers: int) -> list[int] | None:
    """One number a layer, 0 allowed."""
    if isinstance(value, list) and len(value) == layers and all(isinstance(item, int) for item in value):
        return [item if 0 <= item <= MOST else MOST for item in value]
    number = _number(value)
    return None if number is None else [number] * layers


def _feed_forward(field: Field) -> int | None:
    """The widest that is computed for a token: of experts, all that it is given to."""
    experts = (_number(field("expert_feed_forward_length")) or 0) * (_number(field("expert_used_count")) or 0)
    shared = _number(field("expert_shared_feed_forward_length")) or 0
    return max(_number(field("feed_forward_length")) or 0, experts + shared) or None


def _kept(
    field: Field, architecture: str, layers: int | None, width: int | None, embedding: int | None
) -> tuple[int | None, int, int]:
    """(bytes a token in layers that see everything, the same in layers with a window, the window in tokens)."""
    if architecture in _RECURRENT:
        return 0, 0, 0
    if layers is None or width is None:
        return None, 0, 0
    heads = _by_layer(field("attention.head_count_kv") or field("attention.head_count"), layers)
    if heads is None:
        return None, 0, 0
    heads = [count if keeps else 0 for count, keeps in zip(heads, _keeping(field, architecture, layers), strict=True)]
    window = _number(field("attention.sliding_window")) or _WINDOWS.get(architecture, 0)
    narrow = _windowed(field, architecture, layers) if window else [False] * layers
    wide = _pair(field, width, "") * _NUMBER_BYTES
    thin = max(wide, _pair(field, 0, "_swa") * _NUMBER_BYTES)
    full = sum(count * wide for count, is_narrow in zip(heads, narrow, strict=True) if not is_narrow)
    limited = sum(count * thin for count, is_narrow in zip(heads, narrow, strict=True) if is_narrow)
    return full, limited, window if limited else 0


def _pair(field: Field, width: int, suffix: str) -> int:
    """Width of a head's key and value together; where both come from one latent vector, the key is all there is."""
    key = _number(field(f"attention.key_length{suffix}")) or width
    if _number(field("attention.key_length_mla")) and _number(field("attention.value_length_mla")):
        return key
    return key + (_number(field(f"attention.value_length{suffix}")) or width)


def _keeping(field: Field, architecture: str, layers: int) -> list[bool]:
    """Which layers keep keys and values of their own."""
    shared = _number(field("attention.shared_kv_layers")) if architecture == "gemma4" else None
    first = _KEPT_BY_FIRST.get(architecture, max(0, layers - (shared or 0)))
    interval = _number(field("full_attention_interval")) or _INTERVALS.get(architecture)
    if architecture not in _INTERVALS or not interval:
        return [layer < first for layer in range(layers)]
    recurrent = field("attention.recurrent_layers")
    if isinstance(recurrent, list):  # that many at least, if it cannot be read
        return [not bool(item) for item in recurrent] if len(recurrent) == layers else [True] * layers
    return [(layer + 1) % interval == 0 for layer in range(layers)]


def _windowed(field: Field, architecture: str, layers: int) -> list[bool]:
    """Which layers see a window only. Where it is not known for sure, none does: that takes more memory."""
    pattern = field("attention.sliding_window_pattern")
    if architecture not in _PERIODS:
        return [False] * layers
    if isinstance(pattern, list):
        return [bool(item) for item in pattern] if len(pattern) == layers else [False] * layers
    period = _number(pattern) or _PERIODS[architecture]
    return [bool(period) and layer % period < period - 1 for layer in range(layers)]


def _state(field: Field, layers: int | None, embedding: int | None, heads: int | None) -> int:
    """Bytes that recurrent layers keep for a request, however long it is; all layers count, where it is not told."""
    a_layer = _state_of_layer(field, embedding or 0, heads or 0)
    each = _by_layer(field("attention.head_count_kv"), layers) if layers else None
    recurrent = each.count(0) if each and 0 in each else layers or 0
    return a_layer * recurrent * _STATE_BYTES


def _state_of_layer(field: Field, embedding: int, heads: int) -> int:
    """Numbers, as llama_hparams::n_embd_r and n_embd_s have it."""
    if head := _number(field("wkv.head_size")):
        return embedding * ((_number(field("token_shift_count")) or 2) + head)
    if lasting := _number(field("shortconv.l_cache")):
        return embedding * (lasting - 1)
    kernel = _number(field("ssm.conv_kernel")) or 0
    if width := _number(field("kda.head_dim")):
        return (3 * ((kernel or 4) - 1) + width) * heads * width
    inner, state = _number(field("ssm.inner_size")) or 0, _number(field("ssm.state_size")) or 0
    groups = _number(field("ssm.group_count")) or 0
    return max(0, kernel - 1) * (inner + 2 * groups * state) + state * inner


def add_up(tensors: Iterable[tuple[str, str | None, int]]) -> Tensors:
    """(name, name of its type, bytes) of each tensor -> sums."""
    total = words = output = repacked = 0
    tied = False
    layers: dict[int, int] = {}
    for name, kind, size in tensors:
        total += size
        group, _, rest = name.partition(".")
        if group == "blk" and (number := _layer(rest)) is not None:
            layers[number] = layers.get(number, 0) + size
        elif group == "output" and rest == "weight":
            output += size
        elif group == "token_embd" and rest == "weight":
            words, tied = words + size, kind in _REPACKED
            continue
        repacked += size if kind in _REPACKED else 0
    twice = words if tied and not output else 0
    ordered = tuple(layers.get(number, 0) for number in range(max(layers, default=-1) + 1))
    return Tensors(total, words, output, ordered, repacked + twice, twice)


def _layer(rest: str) -> int | None:
    number = rest.partition(".")[0]
    if not (number.isascii() and number.isdigit() and len(number) < 5):
        return None
    return int(number) if int(number) < _MOST_LAYERS else None
