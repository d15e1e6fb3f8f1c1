"""Faster speech at the same pitch, by ffmpeg's `atempo`, which PyAV carries.

Piper's own scale cannot do it: each of its sounds keeps a least length, so that twice as fast comes out as 1.5 times.
Slower speech is Piper's to make, which sounds better. Not here: formats (encoding).
"""

from __future__ import annotations

import av
import numpy as np
from numpy.typing import NDArray


def faster(samples: NDArray[np.int16], rate_hz: int, tempo: float) -> NDArray[np.int16]:
    """The whole of a sentence, `tempo` (from 1 to 100) times as fast."""
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=rate_hz, format="s16", layout="mono")
    sink = graph.add("abuffersink")
    graph.link_nodes(source, graph.add("atempo", f"{tempo:.4f}"), sink).configure()
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate = rate_hz
    source.push(frame)
    source.push(None)
    made: list[NDArray[np.int16]] = []
    while True:
        try:
            pulled = sink.pull()
        except (EOFError, BlockingIOError):
            return np.concatenate(made) if made else samples[:0]
        assert isinstance(pulled, av.AudioFrame)
        made.append(pulled.to_ndarray()[0])
