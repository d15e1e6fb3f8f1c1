"""A recording in whatever format, as samples for Whisper: 16 kHz, mono, decoded as they are asked for.

ffmpeg's libraries do it, which PyAV carries. They also read playlists and other files that name further files and URLs:
these are shut out, since an upload must not have this machine read or fetch anything. Not here: what is said in it.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Generator
from contextlib import suppress

import av
import numpy as np
from numpy.typing import NDArray

from relay.errors import BadRequest

log = logging.getLogger("waypost.decoding")

RATE_HZ = 16_000
_FORMATS = "wav,w64,mp3,flac,ogg,matroska,webm,mov,mp4,m4a,aac,mpeg,mpegts,aiff,caf,amr"


def _decoders() -> str:
    """All for sound. While ffmpeg looks at a file it decodes of each track: a small film may hold pictures of
    gigabytes."""
    found = []
    for name in sorted(av.codecs_available):
        with suppress(av.codec.codec.UnknownCodecError):
            found += [name] if av.Codec(name, "r").type == "audio" else []
    return ",".join(found)


_OPTIONS = {"format_whitelist": _FORMATS, "protocol_whitelist": "none", "codec_whitelist": _decoders()}
# Others are no recordings of speech, and their few samples would become many.
_SLOWEST_HZ, _FASTEST_HZ = 4_000, 768_000


class Recording:
    """The samples of a file, at most `most_s` seconds of them. All methods raise BadRequest where it is no audio."""

    def __init__(self, file: io.RawIOBase, most_s: float) -> None:
        self.samples = 0  # read so far
        self.ended = False
        self._blocks = _decode(file, most_s)
        self._rest: NDArray[np.int16] = np.zeros(0, np.int16)

    def __repr__(self) -> str:
        return f"<Recording {'ended' if self.ended else 'open'}: {self.samples / RATE_HZ:.1f} s read>"

    @property
    def read_s(self) -> float:
        return self.samples / RATE_HZ

    def read(self, samples: int) -> NDArray[np.float32]:
        """The next samples, from -1 to 1: as many as are asked for, or `ended`."""
        blocks, count = [self._rest], len(self._rest)
        while count <= samples:
            block = next(self._blocks, None)
            if block is None:
                self.ended = True
                break
            blocks.append(block)
            count += len(block)
        whole = np.concatenate(blocks)
        self._rest = whole[samples:].copy()
        self.samples += min(samples, count)
        return whole[:samples].astype(np.float32) / np.float32(32768)

    def close(self) -> None:
        self._blocks.close()


def _decode(file: io.RawIOBase, most_s: float) -> Generator[NDArray[np.int16]]:
    samples = 0
    try:
        with av.open(file, "r", options=_OPTIONS, metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise _no_audio()
            if container.duration and container.duration / av.time_base > most_s:
                raise _too_long(most_s)
            for block in _resampled(container):
                samples += len(block)
                if samples > most_s * RATE_HZ:
                    raise _too_long(most_s)
                yield block
    except (av.FFmpegError, UnicodeError) as error:
        if not samples:
            raise _no_audio() from error
        log.info("a recording broke off after %.1f s: %s", samples / RATE_HZ, error)  # what came before is good
    if not samples:
        raise _no_audio()


def _resampled(container: av.container.InputContainer) -> Generator[NDArray[np.int16]]:
    resampler, kind = None, None
    for frame in _frames(container):
        if not _SLOWEST_HZ <= frame.sample_rate <= _FASTEST_HZ:
            raise BadRequest(
                f"'file' has {frame.sample_rate} samples a second; send {_SLOWEST_HZ} to {_FASTEST_HZ}.",
                param="file",
                code="unsupported_rate",
            )
        if resampler is None or kind != (frame.format.name, frame.layout.name, frame.sample_rate):
            kind = (frame.format.name, frame.layout.name, frame.sample_rate)
            resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
        frame.pts = None  # broken ones would be an error, and are of no use
        for made in resampler.resample(frame):
            yield made.to_ndarray()[0]
    for made in resampler.resample(None) if resampler else ():
        yield made.to_ndarray()[0]


def _frames(container: av.container.InputContainer) -> Generator[av.AudioFrame]:
    for packet in container.demux(container.streams.audio[0]):
        try:
            yield from packet.decode()
        except av.InvalidDataError:
            continue  # a damaged packet is a crackle, not an end


def _no_audio() -> BadRequest:
    text = "'file' is not audio that can be read; send wav, mp3, flac, ogg, opus, m4a, mp4, mpeg or webm."
    return BadRequest(text, param="file", code="invalid_audio")


def _too_long(most_s: float) -> BadRequest:
    text = f"'file' is longer than {most_s:g} s, the limit here; send it in pieces."
    return BadRequest(text, param="file", code="audio_too_long")
