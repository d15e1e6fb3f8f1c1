"""Workers with the demo's voice and models, shared by tests that leave them as they are."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.workers.worker import Worker, ready

SHARE = Path(sys.prefix) / "share" / "waypost"


@pytest.fixture(scope="session")
def voice() -> Path:
    """Piper's en_US-joe-medium (CC0)."""
    return _demo("voice.onnx")


@pytest.fixture(scope="session")
def whisper() -> Path:
    """Whisper tiny.en (MIT), which knows English only."""
    return _demo("whisper-tiny")


@pytest.fixture(scope="session")
def multilingual() -> Path:
    """Whisper base (MIT), which knows 99 languages."""
    return _demo("whisper-base")


def _demo(name: str) -> Path:
    path = SHARE / name
    assert path.exists(), f"the demo models are not set up: {path}; make test does it"
    return path


@pytest.fixture(scope="session")
async def speech(voice: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Worker]:
    async with ready(tmp_path_factory.mktemp("speech"), "speech", voice, slots=2, threads=1) as worker:
        yield worker


@pytest.fixture(scope="session")
async def transcription(whisper: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Worker]:
    folder = tmp_path_factory.mktemp("transcription")
    async with ready(folder, "transcription", whisper, slots=2, threads=1, max_audio_s=600) as worker:
        yield worker


@pytest.fixture(scope="session")
async def spoken(speech: Worker) -> bytes:
    """A wav of `tests.workers.words.TEXT`."""
    from tests.workers.words import TEXT

    return (await speech.say(TEXT, response_format="wav")).body
