"""Transcription by faster-whisper: samples to segments of text. The one file that knows it.

faster-whisper (MIT) runs Whisper's models (MIT, OpenAI's) in CTranslate2's format, and carries Silero's voice activity
detection (MIT). That detection is always on: what is silent costs no time, and Whisper hears words in silence ("You",
"Thank you."). Not here: decoding files (decoding), what a transcript looks like (transcript).
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path

import ctranslate2
import faster_whisper
import numpy as np
from faster_whisper.vad import get_vad_model
from numpy.typing import NDArray

from node.workers.decoding import RATE_HZ, Recording
from node.workers.languages import NAMES
from node.workers.transcript import Segment, Word

log = logging.getLogger("waypost.whisper")

WINDOW_S = 180  # heard at once: bounds the memory that a recording of hours needs
_OVERLAP_S = 1  # of a window in which nothing was said: it may end within a word's beginning
_PROMPT_CHARACTERS = 2000  # more than the 224 tokens that Whisper heeds
_MEMORY_CHARACTERS = 500  # of what was said, told to the next window
_UNSURE = 0.5  # temperature above which what was said is not worth telling
# As OpenAI's API has it for 0: warmer until the words are likely, and do not repeat themselves.
_TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_COMPUTE_TYPES = {"cpu": "int8", "cuda": "float16"}


@dataclass(frozen=True)
class Settings:
    """`language` is a code, None to have it recognised; `task` transcribe or translate; `words`: with their times."""

    task: str = "transcribe"
    language: str | None = None
    prompt: str | None = None
    temperature: float | None = None
    words: bool = False


@dataclass(frozen=True)
class Reached:
    """How far the recording was read, and in which language it is."""

    read_s: float
    language: str


class Whisper:
    """One model. May be used from as many threads as it was loaded for."""

    def __init__(self, name: str, model: faster_whisper.WhisperModel, device: str) -> None:
        self.name = name
        self.device = device
        self.multilingual = bool(model.model.is_multilingual)
        known = (code for code in NAMES if model.hf_tokenizer.token_to_id(f"<|{code}|>") is not None)
        self.languages = frozenset(known) if self.multilingual else frozenset({"en"})
        self._model = model

    def __repr__(self) -> str:
        return f"<Whisper {self.name} on {self.device}, {len(self.languages)} languages>"

    @classmethod
    def load(cls, folder: Path, *, threads: int, slots: int, device: str, compute_type: str) -> Whisper:
        """Read a model's folder. `auto` takes a GPU if it works, `int8` on a CPU and `float16` on a GPU."""
        if not (folder / "model.bin").is_file():
            raise FileNotFoundError(f"{folder} has no model.bin: it must be a Whisper model in CTranslate2's format")
        get_vad_model()
        devices = [device] if device != "auto" else ["cuda", "cpu"] if ctranslate2.get_cuda_device_count() else ["cpu"]
        errors = []
        for kind in devices:
            precision = _COMPUTE_TYPES[kind] if compute_type == "auto" else compute_type
            try:
                whisper = cls(folder.name, _open(folder, kind, precision, threads, slots), f"{kind}, {precision}")
            except (RuntimeError, ValueError) as error:  # a GPU whose libraries are amiss
                log.warning("%s does not work here: %s", kind, error)
                errors.append(error)
            else:
                log.info("%r", whisper)
                return whisper
        raise errors[-1]

    def listen(self, recording: Recording, settings: Settings) -> Generator[Segment | Reached]:
        """What is said, as it is understood. Each window of the recording is told as reached before its segments."""
        samples: NDArray[np.float32] = np.zeros(0, np.float32)
        start_s, language, said = 0.0, settings.language, ""
        while not recording.ended:
            samples = np.concatenate([samples, recording.read(WINDOW_S * RATE_HZ - len(samples))])
            heard, info = self._model.transcribe(
                samples,
                task=settings.task,
                language=language,
                initial_prompt=_prompt(settings.prompt, said),
                temperature=settings.temperature or _TEMPERATURES,
                word_timestamps=settings.words,
                vad_filter=True,
            )
            yield Reached(recording.read_s, info.language)
            if info.duration_after_vad > 0:
                language = info.language
            window = _Window(start_s, len(samples) / RATE_HZ, recording.ended)
            for segment in window.kept(heard):
                said = "" if segment.temperature > _UNSURE else (said + segment.text)[-_MEMORY_CHARACTERS:]
                yield segment
            cut = int((window.next_s - start_s) * RATE_HZ)
            start_s, samples = window.next_s, samples[cut:]


def _open(folder: Path, device: str, compute_type: str, threads: int, slots: int) -> faster_whisper.WhisperModel:
    model = faster_whisper.WhisperModel(
        str(folder), device=device, compute_type=compute_type, cpu_threads=threads, num_workers=slots
    )
    if device == "cuda":  # its libraries are first looked for when something is computed
        model.encode(np.zeros((model.feature_extractor.mel_filters.shape[0], 3000), np.float32))
    return model


def _prompt(given: str | None, said: str) -> str | None:
    return " ".join(text for text in ((given or "")[-_PROMPT_CHARACTERS:], said.strip()) if text) or None


class _Window:
    """A part of a recording. What was said last in it may be cut off in its middle, so the next window begins there."""

    def __init__(self, start_s: float, length_s: float, last: bool) -> None:
        self.next_s = start_s + length_s - (0 if last else min(_OVERLAP_S, length_s / 2))
        self._start_s = start_s
        self._length_s = length_s
        self._last = last

    def kept(self, heard: Iterable[faster_whisper.transcribe.Segment]) -> Generator[Segment]:
        """The segments in the recording's time; one that begins late waits for the next window."""
        held = None
        for segment in heard:
            if held is not None:
                yield self._placed(held)
            held = segment
        if held is None:
            return
        if self._last or held.start < self._length_s / 2:
            yield self._placed(held)
            # What follows it was listened to, and is not worth doing so again.
            self.next_s = max(self.next_s, self._start_s + min(held.end, self._length_s))
        else:
            self.next_s = self._start_s + held.start

    def _placed(self, segment: faster_whisper.transcribe.Segment) -> Segment:
        words = [Word(word.word.strip(), self._time(word.start), self._time(word.end)) for word in segment.words or ()]
        return Segment(
            seek=segment.seek + round(self._start_s * 100),
            start=self._time(segment.start),
            end=self._time(segment.end),
            text=segment.text,
            tokens=segment.tokens,
            temperature=segment.temperature or 0.0,
            avg_logprob=segment.avg_logprob,
            compression_ratio=segment.compression_ratio,
            no_speech_prob=segment.no_speech_prob,
            words=words,
        )

    def _time(self, seconds: float) -> float:
        return round(self._start_s + min(float(seconds), self._length_s), 3)  # some of them are numpy's
