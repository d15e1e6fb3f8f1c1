"""The memory that a model of another engine than llama-server will take: straight lines through what was measured.

The figures are in docs/decisions/0009-memory-estimate.md. An engine that runs elsewhere takes none of ours. Not here:
llama-server (footprint), what was really taken (measuring).
"""

from __future__ import annotations

from node.sizes.memory import MIB, Memory

_SPEECH, _SPEECH_SLOT = 170 * MIB, 135 * MIB  # Python with onnxruntime; a long text in a slot
_TRANSCRIPTION, _TRANSCRIPTION_SLOT = 120 * MIB, 170 * MIB  # Python with CTranslate2; minutes of sound in a slot
_TRANSCRIBING_SHARE = 0.8  # of the weights, in each slot besides
_IMAGES = 120 * MIB  # sd-server and its tables
_IMAGES_SHARE = 1.05  # of the weights, with what is laid out anew
_PIXEL, _SMALL_PIXEL = 6656, 1800  # bytes: Stable Diffusion's own decoder, and one of a model as small as the demo's
_SMALL = 512 * MIB  # of weights


def speech(weights_bytes: int, slots: int) -> Memory:
    """Piper, all of whose slots read a long text."""
    return Memory(_SPEECH + max(0, weights_bytes) + slots * _SPEECH_SLOT)


def transcription(weights_bytes: int, slots: int) -> Memory:
    """faster-whisper on the CPU, all of whose slots listen for minutes."""
    size = max(0, weights_bytes)
    return Memory(_TRANSCRIPTION + size + slots * (_TRANSCRIPTION_SLOT + int(size * _TRANSCRIBING_SHARE)))


def images(weights_bytes: int, most_pixels: int, *, on_gpu: bool) -> Memory:
    """sd-server, decoding the largest picture; one at a time. What it computes on holds all of it."""
    pixel = _SMALL_PIXEL if weights_bytes < _SMALL else _PIXEL
    work = int(max(0, weights_bytes) * _IMAGES_SHARE) + most_pixels * pixel
    return Memory(_IMAGES, work) if on_gpu else Memory(_IMAGES + work)
