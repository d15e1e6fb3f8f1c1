"""Speech in the formats of OpenAI's API: 24 kHz, mono, written as it comes.

ffmpeg's libraries, which PyAV (BSD) carries, do the work; wav and pcm need none of it. Nothing is ever rewritten, since
the beginning is with the client already: an mp3 says nothing of its length, and a wav says 0xFFFFFFFF, as OpenAI's does
and as players and Python's `wave` take it, unless its whole was at hand at once.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import av

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RATE_HZ = 24_000
BITRATE = 96_000  # plenty for one voice
_UNKNOWN = 0xFFFFFFFF


@dataclass(frozen=True)
class _Coding:
    """How ffmpeg calls a format. Its options keep it from going back to the beginning."""

    container: str
    codec: str
    options: dict[str, str] = field(default_factory=dict)


_CODINGS = {
    "mp3": _Coding("mp3", "libmp3lame", {"write_xing": "0", "id3v2_version": "0"}),
    "opus": _Coding("ogg", "libopus", {"page_duration": "200000"}),  # microseconds: pages leave early
    "aac": _Coding("adts", "aac"),
    "flac": _Coding("flac", "flac"),
}


def encode(sentences: Iterable[NDArray[np.int16]], rate_hz: int, format_: str, whole: bool) -> Generator[bytes]:
    """The bytes of each sentence (16-bit samples at `rate_hz`), at least one piece a sentence, then the end's.

    `whole`: there is one sentence only, so that a wav can tell its length.
    """
    if format_ == "pcm":
        yield from _samples(sentences, rate_hz)
    elif format_ == "wav":
        yield from _wav(sentences, rate_hz, whole)
    else:
        yield from _coded(sentences, rate_hz, _CODINGS[format_])


def _samples(sentences: Iterable[NDArray[np.int16]], rate_hz: int) -> Generator[bytes]:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
    for frames in _resampled(sentences, rate_hz, resampler):
        yield b"".join(frame.to_ndarray().tobytes() for frame in frames)


def _wav(sentences: Iterable[NDArray[np.int16]], rate_hz: int, whole: bool) -> Generator[bytes]:
    pieces: Iterable[bytes] = _samples(sentences, rate_hz)
    size = None
    if whole:
        pieces = [b"".join(pieces)]
        size = len(pieces[0])
    header = _wav_header(size)
    for piece in pieces:
        yield header + piece
        header = b""


def _wav_header(size: int | None) -> bytes:
    riff, data = (_UNKNOWN, _UNKNOWN) if size is None else (36 + size, size)
    form = struct.pack("<HHIIHH", 1, 1, RATE_HZ, RATE_HZ * 2, 2, 16)
    return b"RIFF" + struct.pack("<I", riff) + b"WAVEfmt \x10\0\0\0" + form + b"data" + struct.pack("<I", data)


def _coded(sentences: Iterable[NDArray[np.int16]], rate_hz: int, coding: _Coding) -> Generator[bytes]:
    sink = _Sink()
    # Each packet is handed on at once, and not when some 32 KiB have come together.
    options = {**coding.options, "flush_packets": "1"}
    with av.open(sink, "w", format=coding.container, container_options=options) as container:
        stream = container.add_stream(coding.codec, rate=RATE_HZ, layout="mono")
        assert isinstance(stream, av.AudioStream)
        if coding.codec != "flac":
            stream.bit_rate = BITRATE
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=RATE_HZ)
        for frames in _resampled(sentences, rate_hz, resampler):
            for frame in frames:
                container.mux(stream.encode(frame))
            yield sink.take()
        container.mux(stream.encode(None))
    yield sink.take()


def _resampled(
    sentences: Iterable[NDArray[np.int16]], rate_hz: int, resampler: av.AudioResampler
) -> Generator[list[av.AudioFrame]]:
    for sentence in sentences:
        frame = av.AudioFrame.from_ndarray(sentence.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = rate_hz
        yield resampler.resample(frame)
    yield resampler.resample(None)


class _Sink:
    """A file that can only be written on: without `seek`, ffmpeg knows that it cannot go back."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)

    def take(self) -> bytes:
        """What was written since the last call."""
        taken = bytes(self._written)
        self._written.clear()
        return taken
