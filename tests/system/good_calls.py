"""One good call of each endpoint, as bytes, so that a test can break it wherever it wants.

Not here: what is asked for in earnest (the tests of each endpoint).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from PIL import Image

from tests.stack import MODEL_OF, Stack
from tests.workers.sound import silence

JSON = "application/json"
BOUNDARY = "the-boundary-of-these-tests"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
WAV = silence(0.5)


def png(side: int = 64) -> bytes:
    """A grey picture."""
    written = io.BytesIO()
    Image.new("RGB", (side, side), (120, 130, 140)).save(written, "png")
    return written.getvalue()


PNG = png()


@dataclass(frozen=True)
class File:
    """What goes into a form with a filename."""

    data: bytes
    name: str = "file.bin"
    kind: str = "application/octet-stream"


Field = tuple[str, str | bytes | File]


@dataclass(frozen=True)
class Asked:
    """One request to an endpoint, as it goes over the wire."""

    endpoint: str
    body: bytes
    kind: str = JSON

    @property
    def path(self) -> str:
        return f"/v1/{PATHS.get(self.endpoint, self.endpoint.replace('.', '/'))}"


PATHS = {"chat.completions": "chat/completions"}
BODIES: Mapping[str, Mapping[str, Any]] = {
    "chat.completions": {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2},
    "completions": {"prompt": "Hello", "max_tokens": 2},
    "responses": {"input": "Hello", "max_output_tokens": 2},
    "messages": {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2},
    "embeddings": {"input": "Hello"},
    "rerank": {"query": "Hello", "documents": ["Good day", "The sea"]},
    "images.generations": {"prompt": "a house", "size": "64x64", "steps": 1},
    "audio.speech": {"input": "Hello.", "response_format": "wav"},
}
FIELDS: Mapping[str, Mapping[str, str | File]] = {
    "images.edits": {"image": File(PNG, "a.png", "image/png"), "prompt": "a house", "size": "64x64", "steps": "1"},
    "audio.transcriptions": {"file": File(WAV, "a.wav", "audio/wav")},
    "audio.translations": {"file": File(WAV, "a.wav", "audio/wav")},
}


def of_json(endpoint: str, **changes: Any) -> Asked:
    """The good call with some of its fields changed; `...` leaves one out."""
    return Asked(endpoint, orjson.dumps(_changed({"model": MODEL_OF[endpoint], **BODIES[endpoint]}, changes)))


def of_form(endpoint: str, *further: Field, **changes: Any) -> Asked:
    """The same for a form; `further` fields come behind."""
    fields = _changed({"model": MODEL_OF[endpoint], **FIELDS[endpoint]}, changes)
    return Asked(endpoint, encoded([*fields.items(), *further]), FORM)


def good(endpoint: str) -> Asked:
    """The good call of an endpoint, whichever body it takes."""
    return of_form(endpoint) if endpoint in FIELDS else of_json(endpoint)


def encoded(fields: list[Field]) -> bytes:
    """A multipart body with its closing boundary."""
    return b"".join(map(_part, fields)) + f"--{BOUNDARY}--\r\n".encode()


def _part(field: Field) -> bytes:
    name, value = field
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
    if isinstance(value, File):
        head += f'; filename="{value.name}"\r\nContent-Type: {value.kind}'
        value = value.data
    return f"{head}\r\n\r\n".encode() + (value.encode() if isinstance(value, str) else value) + b"\r\n"


def _changed(fields: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**fields, **changes}.items() if value is not ...}


async def send(
    session: aiohttp.ClientSession, base: str, asked: Asked, **headers: str
) -> tuple[int, Mapping[str, str], bytes]:
    """Ask; returns status, headers and body."""
    sent = {"Content-Type": asked.kind, **headers}
    async with session.post(base + asked.path, data=asked.body, headers=sent) as response:
        return response.status, response.headers, await response.read()


async def assert_alive(session: aiohttp.ClientSession, base: str, endpoint: str) -> None:
    """The engine of that endpoint answers a good call; a translation's is tried by a transcription."""
    tried = endpoint.replace("translations", "transcriptions")
    status, _, body = await send(session, base, good(tried))
    assert status == 200, f"{tried}: {body[:500]!r}"


def base_of(stack: Stack, where: str) -> str:
    return stack.gateway_url if where == "gateway" else stack.nodes[0].url
