"""Speech by Piper: text to samples, sentence by sentence. The one file that knows Piper.

The library piper-tts is under GPL-3.0-or-later, which is why only the worker's own process loads it. Voices have
licences of their own, in the MODEL_CARD beside them; en_US-joe-medium, the demo's, is CC0. Not here: formats, voices
under other names, requests.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from piper import PiperConfig, PiperVoice, SynthesisConfig

log = logging.getLogger("waypost.piper")

LONGEST = 300  # phonemes said in one go, some 20 s: more would be memory (1.5 GB for 100 s), and waiting
_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")  # the phonemizer takes no NUL, and reads none of the others out
_RESTS = frozenset(",;:.!?")
_RIGID = 0.3  # each sound has a least length, which the scale does not stretch: so much, over what it does stretch


@dataclass(frozen=True)
class Sentence:
    """What is said in one go. `tokens`: the phoneme ids that the voice is given."""

    tokens: list[int]


class Piper:
    """One voice, which may have several speakers. May be used from several threads."""

    def __init__(self, name: str, voice: PiperVoice, device: str) -> None:
        self.name = name
        self.device = device
        self.rate_hz = voice.config.sample_rate
        self.samples_per_frame = voice.config.hop_length
        self.speakers: dict[str, int] = dict(voice.config.speaker_id_map)
        self._voice = voice
        self._phonemizing = threading.Lock()

    def __repr__(self) -> str:
        return f"<Piper {self.name} on {self.device}, {len(self.speakers) or 1} speakers>"

    @classmethod
    def load(cls, model: Path, threads: int, device: str) -> Piper:
        """Read `model` (.onnx) and its .onnx.json, and say a word, so that what does not work shows here.

        The voice's name is its file's, wherever links to it lie.
        """
        config = _config(model.with_name(f"{model.name}.json"))
        errors = []
        for provider in _providers(device):
            piper = cls(model.resolve().stem, PiperVoice(_session(model, threads, provider), config), provider)
            try:
                for _ in piper.say(piper.sentences("1, 2.", 1.0), None, 1.0):
                    pass
            except Exception as error:  # the runtime raises whatever it likes where a GPU's libraries are amiss
                log.warning("%s does not work here: %s", provider, error)
                errors.append(error)
            else:
                log.info("voice %s on %s", piper.name, provider)
                return piper
        raise errors[-1]

    def sentences(self, text: str, speed: float) -> list[Sentence]:
        """What there is to say; empty where the text holds nothing that can be said. Slow speech is cut finer."""
        with self._phonemizing:
            phonemes = self._voice.phonemize(_CONTROLS.sub(" ", text))
        longest = int(LONGEST / _stretch(min(speed, 1.0)))
        parts = [part for sentence in phonemes if sentence for part in _parts(sentence, longest)]
        return [Sentence(list(self._voice.phonemes_to_ids(list(part)))) for part in parts]

    def say(self, sentences: Sequence[Sentence], speaker: int | None, speed: float) -> Generator[NDArray[np.int16]]:
        """The samples of each sentence, computed when it is asked for. `speed` is at most 1: slower."""
        scale = self._voice.config.length_scale * _stretch(speed)
        settings = SynthesisConfig(speaker_id=speaker, length_scale=scale)
        for sentence in sentences:
            made = self._voice.phoneme_ids_to_audio(sentence.tokens, settings)
            assert isinstance(made, np.ndarray)
            loudest = max(float(np.max(np.abs(made))), 1e-8)
            yield (made / loudest * 32767).astype(np.int16)


def _config(file: Path) -> PiperConfig:
    """A voice's. Raises OSError or ValueError that says what to do."""
    try:
        return PiperConfig.from_dict(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{file} is missing; put the voice's configuration beside it") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} is no configuration of a Piper voice; fetch it again ({error!r})") from error


def _providers(device: str) -> list[str]:
    """ONNX Runtime's names, to be tried in this order."""
    if device == "cpu":
        return [_CPU]
    there = _CUDA in onnxruntime.get_available_providers()
    if device == "cuda":
        if not there:
            raise RuntimeError("--device cuda needs the package onnxruntime-gpu in place of onnxruntime")
        return [_CUDA]
    return [_CUDA, _CPU] if there else [_CPU]


def _session(model: Path, threads: int, provider: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait would take the CPU from the engines beside.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(model), sess_options=options, providers=[provider])
    if provider not in session.get_providers():
        raise RuntimeError(f"ONNX Runtime could not use {provider}")
    return session


def _stretch(speed: float) -> float:
    """What the voice's scale is multiplied by, to come out at this speed."""
    return 1 / speed + (1 / speed - 1) * _RIGID


def _parts(phonemes: Sequence[str], longest: int) -> Generator[Sequence[str]]:
    """A sentence that is too long to be said in one go, cut at a rest in it, else between two words."""
    while len(phonemes) > longest:
        spaces = [at for at in range(longest // 2, longest) if phonemes[at] == " "]
        rests = [at for at in spaces if phonemes[at - 1] in _RESTS]
        cut = (rests or spaces or [longest - 1])[-1] + 1
        yield phonemes[:cut]
        phonemes = phonemes[cut:]
    if phonemes:
        yield phonemes
