"""The model's name in a body that goes to an engine which knows it by another; every other byte stays as it came.

Not here: sending it (external).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, replace

import orjson

from relay.call import Call
from relay.errors import BadRequest
from relay.form import Form, Part

_INLINE_BYTES = 256 * 1024  # a longer body is gone through in a thread
# Possessive, so that a long string costs no memory for ways back.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]]', re.DOTALL)
_COLON = re.compile(rb"[ \t\r\n]*:")
_KEY_MOST_BYTES = len(rb'"\u006d\u006f\u0064\u0065\u006c"')


async def renamed(call: Call, model: str) -> Call:
    """The call as the engine knows the model. Raises BadRequest for a form that cannot hold that name."""
    if call.form is not None:
        return _form(call, call.form, model)
    if len(call.body) <= _INLINE_BYTES:
        return replace(call, body=spliced(call.body, model))
    return replace(call, body=await asyncio.to_thread(spliced, call.body, model))


def spliced(body: bytes, model: str) -> bytes:
    """A JSON object, its `model` set. A repeated one is set each time: nobody must read another than was checked.

    One that has none, where `models` named it, is given it.
    """
    name = orjson.dumps(model)
    pieces, at = list[bytes](), 0
    for start, end in _models(body):
        pieces += (body[at:start], name)
        at = end
    if not pieces:
        at = body.index(b"{") + 1
        pieces += (body[:at], b'"model":', name, b",")
    return b"".join((*pieces, body[at:]))


def _models(body: bytes) -> Iterator[tuple[int, int]]:
    """Where the strings are that the object itself has under `model`."""
    depth, wanted = 0, False
    for token in _TOKEN.finditer(body):
        start, end = token.span()
        if body[start] in b"{[":
            depth += 1
        elif body[start] in b"}]":
            depth -= 1
        elif depth == 1 and _COLON.match(body, end):
            wanted = end - start <= _KEY_MOST_BYTES and orjson.loads(token[0]) == "model"
        elif depth == 1 and wanted:
            yield start, end


@dataclass(frozen=True)
class _Form(Call):
    """A call with a form, the content of some of its parts replaced."""

    replaced: Mapping[Part, bytes] | None = None

    @property
    def size(self) -> int:
        assert self.form is not None
        return self.form.spliced_size(self.replaced or {})

    def payload(self) -> bytes | AsyncIterator[bytes]:
        assert self.form is not None
        return self.form.spliced(self.replaced or {})


def _form(call: Call, form: Form, model: str) -> Call:
    boundary = form.content_type.partition('boundary="')[2].rstrip('"')
    if f"--{boundary}" in model:
        raise BadRequest("The body's boundary cannot be used with this model; choose another.", code="invalid_boundary")
    name = model.encode()
    replaced = {part: name for part in form.parts if part.name == "model"}
    return _Form(call.endpoint, call.model, call.stream, call.request_id, form=form, replaced=replaced)
