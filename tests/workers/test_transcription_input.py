"""What the transcription worker refuses, and that it lives on."""

from __future__ import annotations

import asyncio
import os
import struct

import pytest

from tests.workers.sound import converted, film, silence, wav
from tests.workers.worker import Worker, form


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"response_format": "docx"}, "response_format", "invalid_value"),
        ({"temperature": "-1"}, "temperature", "invalid_value"),
        ({"temperature": "NaN"}, "temperature", "invalid_value"),
        ({"language": "xx"}, "language", "unknown_language"),
        ({"language": "de"}, "language", "unknown_language"),
        ({"language": "Klingon"}, "language", "unknown_language"),
        ({"granularities": "word"}, "timestamp_granularities[]", "invalid_value"),
        ({"stream": "true", "response_format": "srt"}, "stream", "invalid_value"),
    ],
    ids=str,
)
async def test_fields(transcription: Worker, fields: dict[str, str], param: str, code: str) -> None:
    assert (await transcription.hear(silence(1), **fields)).error() == (400, param, code)


def _files() -> dict[str, tuple[bytes, str]]:
    m4a = converted(silence(2), "mp4", "aac")
    return {
        "nothing": (b"", "empty_file"),
        "one byte": (b"\0", "invalid_audio"),
        "text": (b"This is no sound, whatever its name says.\n" * 100, "invalid_audio"),
        "random": (os.urandom(50_000), "invalid_audio"),
        "zeros": (bytes(50_000), "invalid_audio"),
        "a picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0\x90wS\xde", "invalid_audio"),
        "a wav's head alone": (wav(b""), "invalid_audio"),
        "half a wav's head": (silence(1)[:20], "invalid_audio"),
        "m4a without its end": (m4a[: len(m4a) // 3], "invalid_audio"),
        "wav of 1 Hz": (wav(bytes(400), rate_hz=1), "unsupported_rate"),
        "wav of 0 Hz": (wav(bytes(10_000), rate_hz=0), "invalid_audio"),
        "subtitles": (b"1\n00:00:00,000 --> 00:00:01,000\nHello.\n\n", "invalid_audio"),
        "longer than 600 s": (wav(bytes(601 * 8_000 * 2), rate_hz=8_000), "audio_too_long"),
        "gigabytes, it says": (_boasting(), "invalid_audio"),
    }


def _boasting() -> bytes:
    return b"RIFF\xff\xff\xff\xffWAVEfmt \xff\xff\xff\x7f" + struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16)


@pytest.mark.parametrize("name", _files())
async def test_files_that_are_no_audio(transcription: Worker, name: str) -> None:
    content, code = _files()[name]
    assert (await transcription.hear(content)).error() == (400, "file", code)
    assert (await transcription.hear(content, stream="true")).error() == (400, "file", code)


async def test_no_file(transcription: Worker) -> None:
    answered = await transcription.post("transcriptions", data=form(None))
    assert answered.error() == (400, "file", "missing_file")


async def test_a_body_that_is_no_form(transcription: Worker) -> None:
    assert (await transcription.post("transcriptions", json={"model": "m"})).status == 415
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert (await transcription.post("transcriptions", data=b"--x\r\nrubbish", headers=headers)).status == 400


async def test_a_recording_that_is_cut_off_is_heard_so_far(transcription: Worker, spoken: bytes) -> None:
    for sound in (spoken, converted(spoken, "mp3", "libmp3lame"), converted(spoken, "ogg", "libopus")):
        answered = await transcription.hear(sound[: len(sound) // 2])
        assert answered.status == 200 and "brown fox" in answered.json()["text"]


async def test_damage_in_the_middle_is_survived(transcription: Worker, spoken: bytes) -> None:
    sound = bytearray(converted(spoken, "mp3", "libmp3lame"))
    sound[len(sound) // 2 : len(sound) // 2 + 2000] = os.urandom(2000)
    answered = await transcription.hear(bytes(sound))
    assert answered.status == 200 and "brown fox" in answered.json()["text"]


async def test_a_playlist_is_not_followed(transcription: Worker) -> None:
    """ffmpeg would fetch what it names: from this machine's disk, or from its network."""
    asked = asyncio.Event()

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a.ts"
    lists = [
        f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{url}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile '{url}'\n",
        f'<?xml version="1.0"?><MPD><Period><AdaptationSet><Representation><BaseURL>{url}</BaseURL></Representation>'
        "</AdaptationSet></Period></MPD>",
    ]
    async with server:
        for text in lists:
            assert (await transcription.hear(text.encode())).error() == (400, "file", "invalid_audio")
    assert not asked.is_set()


async def test_pictures_in_a_film_are_not_looked_at(transcription: Worker) -> None:
    """A file of half a megabyte would take as many bytes as its picture has once it is decoded."""
    sound = film(9_000)
    assert len(sound) < 1_000_000
    assert (await transcription.hear(silence(1))).status == 200
    with transcription.peaking(100_000_000):
        assert (await transcription.hear(sound)).status == 200


async def test_it_lives_on(transcription: Worker) -> None:
    assert (await transcription.hear(silence(1))).status == 200
    assert "Traceback" not in transcription.program.output()
