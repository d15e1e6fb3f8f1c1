"""What was heard, and how OpenAI's API writes it down. Pure: no engine, no I/O."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from node.workers.languages import NAMES

PLAIN = "text/plain"
JSON = "application/json"


@dataclass(frozen=True)
class Word:
    """Times are seconds from the recording's start."""

    word: str
    start: float
    end: float


@dataclass(frozen=True)
class Segment:
    """Some words said in one go. `text` begins with a space where it is to be one; `seek` counts 10 ms."""

    seek: int
    start: float
    end: float
    text: str
    tokens: Sequence[int]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    words: Sequence[Word] = ()


@dataclass(frozen=True)
class Transcript:
    """`language` is a code, `task` transcribe or translate."""

    task: str
    language: str
    duration_s: float
    segments: Sequence[Segment]

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments).strip()

    def usage(self) -> dict[str, Any]:
        return {"type": "duration", "seconds": math.ceil(self.duration_s)}


def render(transcript: Transcript, format_: str, granularities: Collection[str]) -> tuple[str, bytes]:
    """Media type and body of an answer in one of the API's formats. Subtitles are plain text, as at OpenAI."""
    if format_ == "json":
        return JSON, orjson.dumps({"text": transcript.text, "usage": transcript.usage()})
    if format_ == "verbose_json":
        return JSON, orjson.dumps(_verbose(transcript, granularities))
    write = {"text": _text, "srt": _srt, "vtt": _vtt}[format_]
    return PLAIN, write(transcript).encode()


def _verbose(transcript: Transcript, granularities: Collection[str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "task": transcript.task,
        "language": NAMES.get(transcript.language, transcript.language),
        "duration": round(transcript.duration_s, 3),
        "text": transcript.text,
        "usage": transcript.usage(),
    }
    if "segment" in granularities:
        found["segments"] = [_segment(index, segment) for index, segment in enumerate(transcript.segments)]
    if "word" in granularities:
        words = [word for segment in transcript.segments for word in segment.words]
        found["words"] = [{"word": word.word, "start": word.start, "end": word.end} for word in words]
    return found


def _segment(index: int, segment: Segment) -> dict[str, Any]:
    return {
        "id": index,
        "seek": segment.seek,
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "tokens": list(segment.tokens),
        "temperature": segment.temperature,
        "avg_logprob": segment.avg_logprob,
        "compression_ratio": segment.compression_ratio,
        "no_speech_prob": segment.no_speech_prob,
    }


def _text(transcript: Transcript) -> str:
    return transcript.text + "\n"


def _srt(transcript: Transcript) -> str:
    cues = (
        f"{number}\n{_time(segment.start, ',')} --> {_time(segment.end, ',')}\n{_line(segment)}\n\n"
        for number, segment in enumerate(transcript.segments, 1)
    )
    return "".join(cues)


def _vtt(transcript: Transcript) -> str:
    cues = (
        f"{_time(segment.start, '.')} --> {_time(segment.end, '.')}\n{_escaped(_line(segment))}\n\n"
        for segment in transcript.segments
    )
    return "WEBVTT\n\n" + "".join(cues)


def _line(segment: Segment) -> str:
    """One line: an empty one would end the cue, and an arrow would begin its times."""
    return " ".join(segment.text.split()).replace("-->", "->")


def _escaped(line: str) -> str:
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _time(seconds: float, mark: str) -> str:
    thousandths = round(seconds * 1000)
    minutes, thousandths = divmod(thousandths, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{thousandths // 1000:02}{mark}{thousandths % 1000:03}"
