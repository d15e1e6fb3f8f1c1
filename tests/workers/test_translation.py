"""Translation into English, which a multilingual model does and an English one cannot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.workers.words import TEXT, word_error_rate
from tests.workers.worker import Worker, ready


@pytest.fixture(scope="module")
async def translator(multilingual: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Worker]:
    async with ready(tmp_path_factory.mktemp("translator"), "transcription", multilingual, threads=1) as worker:
        yield worker


async def test_an_english_model_says_that_it_cannot(transcription: Worker, spoken: bytes) -> None:
    answered = await transcription.hear(spoken, "translations")
    assert answered.error() == (400, "model", "not_multilingual")
    assert "multilingual" in answered.json()["error"]["message"]


async def test_what_is_english_stays_so(translator: Worker, spoken: bytes) -> None:
    told = (await translator.hear(spoken, "translations", response_format="verbose_json")).json()
    assert (told["task"], told["language"]) == ("translate", "english")
    assert word_error_rate(TEXT, told["text"]) < 0.25


async def test_the_language_is_recognised(translator: Worker, spoken: bytes) -> None:
    told = (await translator.hear(spoken, response_format="verbose_json")).json()
    assert told["language"] == "english"
    assert word_error_rate(TEXT, told["text"]) < 0.25


async def test_a_language_it_does_not_know(translator: Worker, spoken: bytes) -> None:
    """Only later models know Cantonese."""
    assert (await translator.hear(spoken, language="yue")).error() == (400, "language", "unknown_language")
