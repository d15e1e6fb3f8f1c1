"""The worker program for speech: `POST /v1/audio/speech` as OpenAI's API has it, on a Unix socket.

The sound leaves sentence by sentence, as it is made. `instructions` are taken and change nothing: Piper's voices cannot
be told how to speak. Not here: Piper (piper), formats (encoding), what a body must be like (relay.speech_input).
"""

from __future__ import annotations

import argparse
import base64
import sys
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from aiohttp import web

from node.workers.serving import Loading, as_event, break_off, make_parser, run, threads_for
from node.workers.steps import Slots
from relay.call import parse_object
from relay.errors import BadRequest
from relay.speech_input import SpeechRequest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from node.workers.piper import Piper

# OpenAI's voices: each is answered by the voice that is there, since SDKs and programs name them without asking.
OPENAI_VOICES = frozenset(
    ["alloy", "ash", "ballad", "coral", "echo", "fable", "onyx", "nova", "sage", "shimmer", "verse", "marin", "cedar"]
)
MEDIA_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}


def main(words: Sequence[str]) -> NoReturn:
    parser = make_parser("speech", "a Piper voice, VOICE.onnx, with its VOICE.onnx.json beside it")
    options = parser.parse_args(words)
    loading = Loading(lambda: _load(options))
    slots = Slots(options.slots)
    speech = Speech(loading, slots)
    run(options.socket, loading, slots, [web.post("/v1/audio/speech", speech.answer)])


def _load(options: argparse.Namespace) -> Piper:
    import node.workers.encoding  # noqa: F401 - heavy, and soon needed
    from node.workers.piper import Piper

    return Piper.load(options.model, threads_for(options), options.device)


@dataclass(frozen=True)
class Piece:
    """Some bytes of sound, and what was used for them so far: phonemes in, the voice's frames out."""

    sound: bytes
    input_tokens: int
    output_tokens: int


class Speech:
    """Answers requests with the voice."""

    def __init__(self, loading: Loading[Piper], slots: Slots) -> None:
        self._loading = loading
        self._slots = slots

    def __repr__(self) -> str:
        return f"<Speech {self._loading!r} {self._slots!r}>"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        piper = self._loading.engine
        asked = SpeechRequest.read(parse_object(await request.read()))
        speaker = speaker_of(piper, asked.voice)
        async with aclosing(self._slots.steps(lambda: speak(piper, asked, speaker))) as pieces:
            first = await anext(pieces)  # what can be wrong with the request is told by now
            response = web.StreamResponse()
            response.content_type = "text/event-stream" if asked.events else MEDIA_TYPES[asked.format]
            await response.prepare(request)
            await _send(request, response, first, pieces, asked.events)
        return response


def speaker_of(piper: Piper, voice: str) -> int | None:
    """The speaker that a voice's name means; None is the voice's own. Raises BadRequest that names those there are."""
    if voice in piper.speakers:
        return piper.speakers[voice]
    if voice in ("default", piper.name) or voice in OPENAI_VOICES:
        return None
    there = ["default", piper.name, *list(piper.speakers)[:20]]
    text = f"There is no voice {voice[:64]!r}; use {', '.join(there)} or a name of OpenAI's such as 'alloy'."
    raise BadRequest(text, param="voice", code="unknown_voice")


def speak(piper: Piper, asked: SpeechRequest, speaker: int | None) -> Generator[Piece]:
    """Sound, a sentence a step. Raises BadRequest before the first where there is nothing to say."""
    from node.workers.encoding import encode
    from node.workers.tempo import faster

    sentences = piper.sentences(asked.text, asked.speed)
    if not sentences:
        raise BadRequest("'input' holds nothing that can be spoken.", param="input", code="empty_input")
    given = sum(len(sentence.tokens) for sentence in sentences)
    frames = 0

    def said() -> Generator[NDArray[np.int16]]:
        nonlocal frames
        for samples in piper.say(sentences, speaker, min(asked.speed, 1.0)):
            frames += len(samples) // piper.samples_per_frame
            yield faster(samples, piper.rate_hz, asked.speed) if asked.speed > 1 else samples

    for sound in encode(said(), piper.rate_hz, asked.format, whole=len(sentences) == 1):
        yield Piece(sound, given, frames)


async def _send(
    request: web.Request, response: web.StreamResponse, first: Piece, rest: AsyncGenerator[Piece], events: bool
) -> None:
    last = first
    try:
        await response.write(_delta(first) if events else first.sound)
        async for last in rest:
            if last.sound:
                await response.write(_delta(last) if events else last.sound)
    except ConnectionError:
        raise  # the client is gone
    except Exception as error:  # libraries raise whatever they like, here in the midst of an answer
        break_off(request, error)
        return
    if events:
        await response.write(_done(last))
    await response.write_eof()


def _delta(piece: Piece) -> bytes:
    return as_event({"type": "speech.audio.delta", "audio": base64.b64encode(piece.sound).decode()})


def _done(last: Piece) -> bytes:
    given, made = last.input_tokens, last.output_tokens
    usage = {"input_tokens": given, "output_tokens": made, "total_tokens": given + made}
    return as_event({"type": "speech.audio.done", "usage": usage})


if __name__ == "__main__":
    main(sys.argv[1:])
