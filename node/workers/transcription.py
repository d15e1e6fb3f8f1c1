"""The worker program for transcription, on a Unix socket: `POST /v1/audio/transcriptions` and `/v1/audio/translations`
as OpenAI's API has them.

Not here: Whisper (whisper), decoding (decoding), formats (transcript), what a form must be like (relay.audio_input).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from aiohttp import web

from node.workers.languages import NAMES, code_of
from node.workers.serving import Loading, as_event, break_off, make_parser, run, threads_for
from node.workers.steps import Slots
from node.workers.transcript import Segment, Transcript, render
from node.workers.upload import Upload
from relay.audio_input import AudioRequest
from relay.endpoints import UPLOAD_LIMIT_BYTES
from relay.errors import BadRequest
from relay.form import Form, read_form
from relay.http import Handler
from relay.incoming import Taken

if TYPE_CHECKING:
    from node.workers.whisper import Reached, Settings, Whisper

MOST_AUDIO_S = 4 * 3600
_TASKS = {"transcriptions": "transcribe", "translations": "translate"}


def main(words: Sequence[str]) -> NoReturn:
    parser = make_parser("transcription", "the folder of a Whisper model in CTranslate2's format")
    parser.add_argument("--compute-type", default="auto", help="CTranslate2's; auto: int8 on a CPU, float16 on a GPU")
    parser.add_argument("--max-audio-s", type=float, default=MOST_AUDIO_S, help="longest recording; default 4 hours")
    options = parser.parse_args(words)
    loading = Loading(lambda: _load(options))
    slots = Slots(options.slots)
    desk = Transcription(loading, slots, options.max_audio_s)
    run(options.socket, loading, slots, [web.post(f"/v1/audio/{name}", desk.answers(name)) for name in _TASKS])


def _load(options: argparse.Namespace) -> Whisper:
    # Threads that spin while they wait would take the CPU from the engines beside, and on busy cores from each other.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from node.workers.whisper import Whisper

    return Whisper.load(
        options.model,
        threads=threads_for(options),
        slots=options.slots,
        device=options.device,
        compute_type=options.compute_type,
    )


@dataclass
class _Heard:
    """What one request has come to so far."""

    task: str
    language: str = "en"
    read_s: float = 0.0
    segments: list[Segment] = field(default_factory=list)

    def take(self, step: Segment | Reached) -> bool:
        """Whether it is a further segment."""
        if isinstance(step, Segment):
            self.segments.append(step)
            return True
        self.language, self.read_s = step.language, step.read_s
        return False

    def transcript(self) -> Transcript:
        return Transcript(self.task, self.language, self.read_s, self.segments)


class Transcription:
    """Answers requests with the model."""

    def __init__(self, loading: Loading[Whisper], slots: Slots, most_s: float) -> None:
        self._loading = loading
        self._slots = slots
        self._most_s = most_s

    def __repr__(self) -> str:
        return f"<Transcription {self._loading!r} {self._slots!r}>"

    def answers(self, name: str) -> Handler:
        """The handler of one of the two endpoints."""

        async def answer(request: web.Request) -> web.StreamResponse:
            whisper = self._loading.engine
            with await read_form(Taken(request), UPLOAD_LIMIT_BYTES) as form:
                asked = AudioRequest.read(form)
                settings = settings_for(whisper, asked, _TASKS[name])
                steps = self._slots.steps(lambda: _listen(whisper, form, asked, settings, self._most_s))
                async with aclosing(steps):
                    send = _send_events if asked.stream else _send_whole
                    return await send(request, asked, steps, _Heard(settings.task))

        return answer


def settings_for(whisper: Whisper, asked: AudioRequest, task: str) -> Settings:
    """What the model is to do. Raises BadRequest where it cannot."""
    from node.workers.whisper import Settings

    if task == "translate" and not whisper.multilingual:
        text = "This model knows English only, so it translates nothing; use a multilingual Whisper."
        raise BadRequest(text, param="model", code="not_multilingual")
    return Settings(
        task=task,
        language=_language(whisper, asked.language),
        prompt=asked.prompt,
        temperature=asked.temperature,
        words="word" in asked.granularities,
    )


def _language(whisper: Whisper, given: str | None) -> str | None:
    if given is None:
        return None
    code = code_of(given)
    if code in whisper.languages:
        return code
    if code is None:
        text = f"'language' {given!r} is unknown; use an ISO-639-1 code such as 'en', or leave it out."
    else:
        text = f"This model does not know {NAMES[code].title()}; leave 'language' out, or use another model."
    raise BadRequest(text, param="language", code="unknown_language")


def _listen(
    whisper: Whisper, form: Form, asked: AudioRequest, settings: Settings, most_s: float
) -> Generator[Segment | Reached]:
    from node.workers.decoding import Recording

    with closing(Recording(Upload(form, asked.file), most_s)) as recording:
        yield from whisper.listen(recording, settings)


async def _send_whole(
    request: web.Request, asked: AudioRequest, steps: AsyncGenerator[Segment | Reached], heard: _Heard
) -> web.StreamResponse:
    async for step in steps:
        heard.take(step)
    content_type, body = render(heard.transcript(), asked.format, asked.granularities)
    return web.Response(body=body, content_type=content_type, charset="utf-8")


async def _send_events(
    request: web.Request, asked: AudioRequest, steps: AsyncGenerator[Segment | Reached], heard: _Heard
) -> web.StreamResponse:
    """Each segment as it is understood. The head waits for the first, since until then the answer may be an error."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    try:
        async for step in steps:
            if heard.take(step):
                if not response.prepared:
                    await response.prepare(request)
                await response.write(_delta(heard))
    except ConnectionError:
        raise  # the client is gone
    except Exception as error:
        if not response.prepared:
            raise
        break_off(request, error)
        return response
    if not response.prepared:
        await response.prepare(request)
    transcript = heard.transcript()
    done = {"type": "transcript.text.done", "text": transcript.text, "usage": transcript.usage()}
    await response.write(as_event(done))
    await response.write_eof()
    return response


def _delta(heard: _Heard) -> bytes:
    text = heard.segments[-1].text
    return as_event({"type": "transcript.text.delta", "delta": text.lstrip() if len(heard.segments) == 1 else text})


if __name__ == "__main__":
    main(sys.argv[1:])
