"""Reading sound back, and making some that is not speech."""

from __future__ import annotations

import io
import struct

import av
import numpy as np


def seconds_of(sound: bytes, format_: str | None = None) -> float:
    """How long it plays, by decoding all of it."""
    samples = 0.0
    with av.open(io.BytesIO(sound), "r", format=format_) as container:
        for frame in container.decode(audio=0):
            samples += frame.samples / frame.sample_rate
    return samples


def wav(samples: bytes, rate_hz: int = 16_000) -> bytes:
    """16-bit mono samples as a file."""
    form = struct.pack("<HHIIHH", 1, 1, rate_hz, rate_hz * 2, 2, 16)
    data = b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", 28 + len(data)) + b"WAVEfmt " + struct.pack("<I", 16) + form + data


def film(side: int) -> bytes:
    """A second of silence, and a picture of `side` by `side` pixels that is small as a file."""
    out = io.BytesIO()
    with av.open(out, "w", format="mov") as target:
        sound, pictures = target.add_stream("pcm_s16le", rate=16_000, layout="mono"), target.add_stream("png", rate=1)
        assert isinstance(sound, av.AudioStream) and isinstance(pictures, av.VideoStream)
        pictures.width = pictures.height = side
        pictures.pix_fmt = "rgb24"
        picture = av.VideoFrame(side, side, "rgb24")
        picture.planes[0].update(bytes(picture.planes[0].buffer_size))
        target.mux([*pictures.encode(picture), *pictures.encode(None)])
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.int16), format="s16", layout="mono")
        samples.sample_rate = 16_000
        target.mux([*sound.encode(samples), *sound.encode(None)])
    return out.getvalue()


def silence(seconds: float) -> bytes:
    return wav(bytes(int(seconds * 16_000) * 2))


def converted(sound: bytes, container: str, codec: str, rate_hz: int = 48_000) -> bytes:
    """The same sound in another format."""
    out = io.BytesIO()
    with av.open(io.BytesIO(sound), "r") as source, av.open(out, "w", format=container) as target:
        stream = target.add_stream(codec, rate=rate_hz, layout="mono")
        assert isinstance(stream, av.AudioStream)
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=rate_hz)
        for frame in [*source.decode(audio=0), None]:
            for made in resampler.resample(frame):
                target.mux(stream.encode(made))
        target.mux(stream.encode(None))
    return out.getvalue()
