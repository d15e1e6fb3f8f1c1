"""Text to speech to text, through gateway and node, with the official OpenAI client and real models.

Not here: what the engines do with odd input (tests/workers).
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import aiohttp
import openai
import orjson
import pytest
from openai import AsyncOpenAI

from tests.stack import SPEECH_ALIAS, SPEECH_MODEL, TRANSCRIPTION_ALIAS, TRANSCRIPTION_MODEL, Stack
from tests.workers.sound import seconds_of
from tests.workers.words import word_error_rate, words_of

pytestmark = pytest.mark.engine
SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "Yesterday we went to the market and bought bread, butter and apples.",
    "Tomorrow morning the train to the city leaves early from the main station.",
    "Please write down the number of the house before you close the door.",
)
TEXT = " ".join(SENTENCES)
SHORT = " ".join(SENTENCES[:2])
MOST_WRONG = 0.25  # the voice is a little different each time; it is mostly 0 to 0.1
CUE = re.compile(r"(\d\d:)?\d\d:\d\d[.,]\d\d\d --> (\d\d:)?\d\d:\d\d[.,]\d\d\d")


@pytest.fixture(scope="module")
def client(full_stack: Stack) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=full_stack.base_url, api_key="any key does", max_retries=0)


@pytest.fixture(scope="module")
async def spoken(client: AsyncOpenAI) -> bytes:
    """Two sentences, as WAV."""
    return await _say(client, SHORT, "wav")


@pytest.mark.parametrize("format_", ["wav", "mp3", "flac", "opus", "aac"])
async def test_what_was_spoken_is_heard(client: AsyncOpenAI, format_: str) -> None:
    sound = await _say(client, TEXT, format_)
    made = await client.audio.transcriptions.create(model=TRANSCRIPTION_MODEL, file=(f"speech.{format_}", sound))
    error = word_error_rate(TEXT, made.text)
    print(f"word error rate, {format_}: {error:.3f}")
    assert error < MOST_WRONG, made.text


async def test_each_sentence_by_itself(client: AsyncOpenAI) -> None:
    heard = []
    for sentence in SENTENCES:
        sound = await _say(client, sentence, "wav", model=SPEECH_ALIAS)
        made = await client.audio.transcriptions.create(model=TRANSCRIPTION_ALIAS, file=("speech.wav", sound))
        heard.append(made.text)
    error = word_error_rate(TEXT, " ".join(heard))
    print(f"word error rate, sentence by sentence: {error:.3f}")
    assert error < MOST_WRONG, heard


async def test_pcm_is_bare_samples(client: AsyncOpenAI, spoken: bytes) -> None:
    sound = await _say(client, TEXT, "pcm")
    assert not sound.startswith(b"RIFF")
    assert len(sound) % 2 == 0
    assert sound.count(0) < len(sound)


async def test_a_quicker_voice_is_shorter(client: AsyncOpenAI, spoken: bytes) -> None:
    made = await client.audio.speech.create(
        model=SPEECH_MODEL, voice="default", input=SHORT, response_format="wav", speed=2
    )
    assert seconds_of(await made.aread()) < 0.75 * seconds_of(spoken)


async def test_speech_arrives_in_pieces(client: AsyncOpenAI) -> None:
    """Each sentence is sent when it is made: what comes first is less than half of all."""
    asked = client.audio.speech.with_streaming_response.create(
        model=SPEECH_MODEL, voice="alloy", input=TEXT, response_format="pcm"
    )
    async with asked as response:
        pieces = [piece async for piece in response.iter_bytes()]
    assert len(pieces) > 1
    assert len(pieces[0]) < sum(map(len, pieces)) / 2


async def test_speech_as_events(full_stack: Stack, session: aiohttp.ClientSession) -> None:
    body = {"model": SPEECH_MODEL, "voice": "default", "input": TEXT, "stream_format": "sse", "response_format": "pcm"}
    async with session.post(f"{full_stack.base_url}/audio/speech", json=body) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        events = _events(await response.read())
    kinds = [event["type"] for event in events]
    assert kinds.count("speech.audio.delta") >= len(SENTENCES)
    assert kinds[-1] == "speech.audio.done"


async def test_text(client: AsyncOpenAI, spoken: bytes) -> None:
    text = await client.audio.transcriptions.create(
        model=TRANSCRIPTION_MODEL, file=("speech.wav", spoken), response_format="text"
    )
    assert word_error_rate(SHORT, str(text)) < MOST_WRONG


@pytest.mark.parametrize("format_", ["srt", "vtt"])
async def test_subtitles(client: AsyncOpenAI, spoken: bytes, format_: str) -> None:
    made = str(
        await client.audio.transcriptions.create(
            model=TRANSCRIPTION_MODEL, file=("speech.wav", spoken), response_format=format_
        )
    )
    assert made.startswith("WEBVTT" if format_ == "vtt" else "1\n")
    said = [line for line in made.splitlines() if line and not CUE.search(line) and not line.isdigit()]
    assert CUE.search(made)
    assert word_error_rate(SHORT, " ".join(said).removeprefix("WEBVTT")) < MOST_WRONG


async def test_verbose_json_has_the_times_of_words(client: AsyncOpenAI, spoken: bytes) -> None:
    made = await client.audio.transcriptions.create(
        model=TRANSCRIPTION_MODEL,
        file=("speech.wav", spoken),
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
        language="en",
    )
    assert made.language == "english"
    assert float(made.duration) == pytest.approx(seconds_of(spoken), abs=0.5)
    assert made.words and made.segments
    starts = [word.start for word in made.words]
    assert starts == sorted(starts)
    assert all(word.start <= word.end <= float(made.duration) + 0.5 for word in made.words)
    assert words_of(" ".join(word.word for word in made.words)) == words_of(made.text)


async def test_a_transcription_streams(client: AsyncOpenAI, spoken: bytes) -> None:
    stream = await client.audio.transcriptions.create(
        model=TRANSCRIPTION_MODEL, file=("speech.wav", spoken), stream=True
    )
    events = [event async for event in stream]
    assert events[-1].type == "transcript.text.done"
    deltas = "".join(event.delta for event in events if event.type == "transcript.text.delta")
    assert word_error_rate(SHORT, deltas) < MOST_WRONG
    assert word_error_rate(SHORT, events[-1].text) < MOST_WRONG


@pytest.mark.parametrize("format_", ["json", "text", "srt", "verbose_json", "vtt"])
async def test_a_translation_answers(client: AsyncOpenAI, spoken: bytes, format_: str) -> None:
    """Into English; what is English stays so."""
    made = await client.audio.translations.create(
        model=TRANSCRIPTION_MODEL, file=("speech.wav", spoken), response_format=format_
    )
    text = made if isinstance(made, str) else made.text
    heard = [line for line in text.removeprefix("WEBVTT").splitlines() if not CUE.search(line) and not line.isdigit()]
    assert word_error_rate(SHORT, " ".join(heard)) < MOST_WRONG


async def test_the_file_may_come_before_the_model(full_stack: Stack, session: aiohttp.ClientSession) -> None:
    """As the official client for Node sends it."""
    client = AsyncOpenAI(base_url=full_stack.base_url, api_key="any", max_retries=0)
    sound = await _say(client, SENTENCES[0], "wav")
    form = aiohttp.FormData()
    form.add_field("file", io.BytesIO(sound), filename="speech.wav", content_type="audio/wav")
    form.add_field("response_format", "json")
    form.add_field("model", TRANSCRIPTION_MODEL)
    async with session.post(f"{full_stack.base_url}/audio/transcriptions", data=form) as response:
        assert response.status == 200
        assert word_error_rate(SENTENCES[0], (await response.json())["text"]) < MOST_WRONG


async def test_an_unknown_voice_is_the_clients_fault(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.audio.speech.create(model=SPEECH_MODEL, voice="nobody", input="Hello.")
    assert refused.value.param == "voice"


async def _say(client: AsyncOpenAI, text: str, format_: str, model: str = SPEECH_MODEL) -> bytes:
    made = await client.audio.speech.create(model=model, voice="default", input=text, response_format=format_)  # type: ignore[arg-type]
    return await made.aread()


def _events(body: bytes) -> Sequence[dict[str, str]]:
    lines = (line.removeprefix(b"data: ") for line in body.splitlines() if line.startswith(b"data: "))
    return [orjson.loads(line) for line in lines if line != b"[DONE]"]
