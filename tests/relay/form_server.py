"""A server that reads multipart bodies and says what it found; run alone, its memory can be measured.

`python form_server.py LIMIT_BYTES [FILE_LIMIT_BYTES]` prints its port. The second limit makes every disk seem full.
"""

from __future__ import annotations

import asyncio
import hashlib
import resource
import sys
from pathlib import Path

from aiohttp import web

from relay.form import Form, Part, read_form
from relay.http import make_app
from relay.incoming import Taken
from relay.serving import serve


def routes(limit_bytes: int) -> list[web.AbstractRouteDef]:
    """`/parts` tells of the parts, `/raw` of the body, `/twice` of two readers at once, `/spliced` of a new model."""

    async def parts(request: web.Request) -> web.StreamResponse:
        with await read_form(Taken(request), limit_bytes) as form:
            return web.json_response([await _told(form, part) for part in form.parts])

    async def raw(request: web.Request) -> web.StreamResponse:
        with await read_form(Taken(request), limit_bytes) as form:
            return web.json_response({"type": form.content_type, "size": form.size, "sha256": await _digest(form)})

    async def twice(request: web.Request) -> web.StreamResponse:
        with await read_form(Taken(request), limit_bytes) as form:
            return web.json_response(await asyncio.gather(_digest(form), _digest(form), _digest(form)))

    async def spliced(request: web.Request) -> web.StreamResponse:
        with await read_form(Taken(request), limit_bytes) as form:
            replaced = {part: b"another" for part in form.parts if part.name == "model"}
            body = b"".join([piece async for piece in form.spliced(replaced)])
            assert len(body) == form.spliced_size(replaced)
            return web.Response(body=body, content_type="application/octet-stream")

    async def peak(_: web.Request) -> web.StreamResponse:
        lines = Path("/proc/self/status").read_text().splitlines()  # noqa: ASYNC240 - this is memory, no disk
        kib = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
        return web.json_response({"peak_bytes": int(kib) * 1024})

    async def spools(_: web.Request) -> web.StreamResponse:
        opened = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]  # noqa: ASYNC240
        return web.json_response({"open": sum("(deleted)" in str(path) for path in opened)})

    return [
        web.post("/parts", parts),
        web.post("/raw", raw),
        web.post("/twice", twice),
        web.post("/spliced", spliced),
        web.get("/peak", peak),
        web.get("/spools", spools),
    ]


async def _told(form: Form, part: Part) -> dict[str, object]:
    content = b"".join([piece async for piece in form.pieces(part.start, part.end)])
    assert form.read(part, 4) == content[:4]
    told = {"name": part.name, "filename": part.filename, "type": part.content_type, "content": content.decode()}
    return told | ({"texts": form.texts(part.name)} if part.filename is None else {})


async def _digest(form: Form) -> str:
    digest = hashlib.sha256()
    async for piece in form.pieces():
        digest.update(piece)
    return digest.hexdigest()


def main(limit_bytes: int, file_limit_bytes: int | None = None) -> None:
    if file_limit_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit_bytes, file_limit_bytes))
    app = make_app(routes(limit_bytes), body_limit_bytes=limit_bytes)
    ready = lambda _, port: print(f"port={port}.", flush=True)  # noqa: E731
    asyncio.run(serve(app, "127.0.0.1", 0, stop=asyncio.Event(), on_ready=ready))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
