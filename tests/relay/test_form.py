"""Multipart bodies: what is read from them, what is refused and in which words, and that they cost no memory."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from relay.errors import BadRequest
from relay.parts import MOST_PARTS, TEXT_LIMIT_BYTES, Parts
from tests.programs import running
from tests.relay.form_server import routes
from tests.relay.serving import Served, serving

LIMIT_BYTES = 8 * 1024 * 1024
FORM = "multipart/form-data; boundary=b"
SMALL_BYTES, LARGE_BYTES = 3 * 1024 * 1024, 200 * 1024 * 1024
PEAK_GROWTH_BYTES = 8 * 1024 * 1024


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving(routes(LIMIT_BYTES)) as made:
        yield made


def field(name: str, content: str | bytes, more: str = "", headers: str = "") -> bytes:
    """One part of a body with the boundary `b`."""
    body = content.encode() if isinstance(content, str) else content
    return f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n{headers}\r\n'.encode() + body + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--b--\r\n"


MODEL = field("model", "whisper")


async def post(served: Served, path: str, body: Any, content_type: str = FORM, **headers: str) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(served.url + path, data=body, headers={"Content-Type": content_type, **headers}) as response,
    ):
        return response.status, await response.json()


async def test_what_aiohttp_sends_is_read_with_order_and_repeated_fields_kept(served: Served) -> None:
    sent = aiohttp.FormData()
    sent.add_field("file", b"RIFF....", filename="speech.wav", content_type="audio/wav")
    sent.add_field("model", "whisper")
    sent.add_field("granularities[]", "word")
    sent.add_field("prompt", "Grüße")
    sent.add_field("granularities[]", "segment")
    sent.add_field("empty", "")
    async with aiohttp.ClientSession() as session, session.post(f"{served.url}/parts", data=sent) as response:
        found = await response.json()
    assert [(part["name"], part["content"]) for part in found] == [
        ("file", "RIFF...."),
        ("model", "whisper"),
        ("granularities[]", "word"),
        ("prompt", "Grüße"),
        ("granularities[]", "segment"),
        ("empty", ""),
    ]
    assert (found[0]["filename"], found[0]["type"]) == ("speech.wav", "audio/wav")
    assert found[2]["texts"] == ["word", "segment"]


@pytest.mark.parametrize(
    ("more", "filename"),
    [
        ('; filename="a;b \\"c\\".wav"', 'a;b "c".wav'),
        ('; filename="Grüße.wav"', "Grüße.wav"),
        ("; filename=plain.wav", "plain.wav"),
        ("; filename*=UTF-8''Gr%C3%BC%C3%9Fe.wav", "Grüße.wav"),
        ("; filename=\"old.wav\"; filename*=UTF-8''new.wav", "old.wav"),
        ('; filename=""', ""),
    ],
)
async def test_file_names_of_all_kinds_make_a_file(served: Served, more: str, filename: str) -> None:
    status, found = await post(served, "/parts", form(field("file", "x", more), MODEL))
    assert (status, found[0]["filename"]) == (200, filename)


@pytest.mark.parametrize("size", [0, 1, 1024 * 1024, 1024 * 1024 + 1, 5 * 1024 * 1024])
async def test_the_raw_body_passes_unchanged_to_several_readers_at_once(served: Served, size: int) -> None:
    body = form(field("file", random.Random(size).randbytes(size), '; filename="f"'), MODEL)
    digest = hashlib.sha256(body).hexdigest()
    status, raw = await post(served, "/raw", body, 'multipart/form-data; charset=x; boundary="b"')
    assert (status, raw["size"], raw["sha256"]) == (200, len(body), digest)
    assert raw["type"] == 'multipart/form-data; boundary="b"'
    assert await post(served, "/twice", body) == (200, [digest] * 3)


async def test_one_parts_content_can_be_replaced(served: Served) -> None:
    file = field("file", b"\r\n--not the boundary" * 20_000 * 4, '; filename="f"')
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{served.url}/spliced", data=form(file, MODEL, field("n", "1")), headers={"Content-Type": FORM}
        ) as response,
    ):
        assert await response.read() == form(file, field("model", "another"), field("n", "1"))


REFUSED = {
    "JSON": (415, "unsupported_media_type", "multipart/form-data", form(MODEL), "application/json"),
    "urlencoded": (415, "unsupported_media_type", "form", b"model=x", "application/x-www-form-urlencoded"),
    "another multipart": (415, "unsupported_media_type", "form", form(MODEL), "multipart/mixed; boundary=b"),
    "no boundary": (400, "invalid_boundary", "boundary", form(MODEL), "multipart/form-data"),
    "empty boundary": (400, "invalid_boundary", "boundary", form(MODEL), 'multipart/form-data; boundary=""'),
    "long boundary": (400, "invalid_boundary", "70", form(MODEL), f"multipart/form-data; boundary={'b' * 71}"),
    "odd boundary": (400, "invalid_boundary", "boundary", form(MODEL), 'multipart/form-data; boundary="b\\"<"'),
    "two boundaries": (400, "invalid_boundary", "boundary", form(MODEL), f"{FORM}; boundary=c"),
    "another boundary": (400, "invalid_multipart", "begin", form(MODEL), "multipart/form-data; boundary=c"),
    "empty": (400, "invalid_multipart", "ends before", b"", FORM),
    "no end": (400, "invalid_multipart", "ends before", MODEL, FORM),
    "half an end": (400, "invalid_multipart", "ends before", MODEL + b"--b-", FORM),
    "half a header": (400, "invalid_multipart", "ends before", MODEL[:20], FORM),
    "no parts": (400, "empty_multipart", "no parts", b"--b--\r\n", FORM),
    "many parts": (400, "too_many_parts", "256", form(*[field("a", "")] * (MOST_PARTS + 1)), FORM),
    "garbage before": (400, "invalid_multipart", "begin", b"garbage\r\n" + form(MODEL), FORM),
    "lines before": (400, "invalid_multipart", "begin", b"\r\n" + form(MODEL), FORM),
    "garbage after": (400, "invalid_multipart", "follows", form(MODEL) + b"garbage", FORM),
    "a form after": (400, "invalid_multipart", "follows", form(MODEL) * 2, FORM),
    "no name": (400, "unnamed_part", 'name="..."', form(field("", "x")), FORM),
    "no headers": (400, "unnamed_part", "name", b"--b\r\n\r\nx\r\n--b--\r\n", FORM),
    "no form-data": (400, "unnamed_part", "form-data", form(MODEL).replace(b"form-data", b"attachment"), FORM),
    "two names": (400, "invalid_multipart", "Content-Disposition", form(field("a", "x", '; name="b"')), FORM),
    "two dispositions": (
        400, "invalid_multipart", "repeated",
        form(field("a", "x", headers='Content-Disposition: form-data; name="b"\r\n')), FORM,
    ),
    "a split header": (400, "invalid_multipart", "malformed", form(field("a", "x", "\nX: y")), FORM),
    "an empty header": (400, "invalid_multipart", "empty", form(field("a", "x", headers="X:\r\n")), FORM),
    "a huge header": (400, "invalid_multipart", "headers", form(field("a" * 10_000, "x")), FORM),
    "many headers": (
        400, "invalid_multipart", "headers",
        form(field("a", "x", headers="".join(f"X-{n}: 1\r\n" for n in range(20)))), FORM,
    ),
    "base64": (
        400, "unsupported_encoding", "base64",
        form(field("model", "eA==", "", "Content-Transfer-Encoding: base64\r\n")), FORM,
    ),
    "latin-1": (
        400, "unsupported_charset", "UTF-8",
        form(field("prompt", b"\xfc", "", "Content-Type: text/plain; charset=iso-8859-1\r\n")), FORM,
    ),
    "no UTF-8": (400, "invalid_text", "UTF-8", form(field("prompt", b"\xfc")), FORM),
    "a huge field": (400, "field_too_large", "filename", form(field("file", b"x" * (TEXT_LIMIT_BYTES + 1))), FORM),
    "huge fields": (400, "field_too_large", "filename", form(*[field("a", b"x" * TEXT_LIMIT_BYTES)] * 5), FORM),
    "two models": (400, "repeated_field", "once", form(MODEL, field("model", "other")), FORM),
    "a model's file": (400, "invalid_type", "filename", form(MODEL, field("model", "x", '; filename="f"')), FORM),
    "too large": (413, "body_too_large", "limit", form(field("f", b"x" * LIMIT_BYTES, '; filename="f"')), FORM),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
async def test_what_cannot_be_read_is_refused_with_the_reason(served: Served, what: str) -> None:
    expected, code, words, body, content_type = REFUSED[what]
    status, answer = await post(served, "/parts", body, content_type)
    assert (status, answer["error"]["code"]) == (expected, code), answer
    assert words in answer["error"]["message"], answer


async def test_the_same_model_twice_is_no_contradiction(served: Served) -> None:
    assert (await post(served, "/parts", form(MODEL, MODEL)))[0] == 200


async def test_a_compressed_body_is_refused(served: Served) -> None:
    status, answer = await post(served, "/parts", form(MODEL), **{"Content-Encoding": "gzip"})
    assert (status, answer["error"]["code"]) == (415, "unsupported_encoding")


async def test_a_gigabyte_is_refused_before_it_is_sent(served: Served) -> None:
    head = f"POST /parts HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: {1 << 30}\r\n\r\n"
    assert (await served.send(head.encode())).startswith(b"HTTP/1.1 413 ")


async def test_a_body_without_length_is_cut_off_at_the_limit(served: Served) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield field("f", b"", '; filename="f"').removesuffix(b"\r\n")
        for _ in range(2 * LIMIT_BYTES // 65536):
            yield b"x" * 65536

    assert (await post(served, "/parts", endless()))[0] == 413


def test_wherever_the_body_is_cut_into_pieces_the_parts_are_the_same() -> None:
    rng = random.Random(7)
    steps = (1, 1, 1, 2, 3, 7, 1000)
    crumbs = [b"\r", b"\n", b"-", b"--", b"\r\n--", b"\r\n--b", b"\r\n--bo", b"\r\n--boundary-", b"x", b""]
    for _ in range(300):
        contents = [b"".join(rng.choices(crumbs, k=rng.randrange(12))) for _ in range(rng.randrange(1, 4))]
        contents = [c for c in contents if b"\r\n--boundary" not in b"\r\n" + c + b"\r\n"] or [b""]
        head = b'--boundary\r\nContent-Disposition: form-data; name="n"; filename=""\r\n\r\n'
        body = b"".join(head + content + b"\r\n" for content in contents) + b"--boundary--\r\n"
        parts = Parts(b"boundary")
        at = 0
        while at < len(body):
            step = rng.choice(steps)
            parts.feed(body[at : at + step])
            at += step
        parts.finish()
        assert [body[part.start : part.end] for part in parts.found] == contents


def test_no_bytes_at_all_make_anything_but_parts_or_a_refusal() -> None:
    rng = random.Random(11)
    good = form(field("a", "x", '; filename="f"', "Content-Type: text/plain\r\n"), MODEL)
    for _ in range(2000):
        mutant = bytearray(good)
        for _ in range(rng.randrange(1, 5)):
            mutant[rng.randrange(len(mutant))] = rng.choice(b'\r\n-b"; :=\x00\xff')
        parts = Parts(b"b")
        with contextlib.suppress(BadRequest):
            parts.feed(bytes(mutant))
            parts.finish()
            assert all(mutant[p.end :].startswith(b"\r\n--b") and p.start <= p.end for p in parts.found)


@contextlib.asynccontextmanager
async def server_of_its_own(folder: Path, *limits: int) -> AsyncIterator[Served]:
    words = [str(Path(__file__).with_name("form_server.py")), *map(str, limits)]
    async with running(words, folder / "log", {"TMPDIR": str(folder)}) as program:
        port = re.search(r"port=(\d+)\.", await program.saw("."))
        assert port is not None
        yield Served("127.0.0.1", int(port[1]), [])


async def get(served: Served, path: str) -> Any:
    async with aiohttp.ClientSession() as session, session.get(served.url + path) as response:
        return await response.json()


async def upload(size: int, digest: Any) -> AsyncIterator[bytes]:
    block = bytes(range(256)) * 1024
    yield field("file", b"", '; filename="f"').removesuffix(b"\r\n")
    for _ in range(size // len(block)):
        digest.update(block)
        yield block
    yield b"\r\n" + form(MODEL)


async def test_a_large_upload_costs_disk_and_not_memory(tmp_path: Path) -> None:
    async with server_of_its_own(tmp_path, 2 * LARGE_BYTES) as served:
        await post(served, "/raw", upload(SMALL_BYTES, hashlib.sha256()))
        before = (await get(served, "/peak"))["peak_bytes"]
        status, raw = await post(served, "/raw", upload(LARGE_BYTES, hashlib.sha256()))
        grown = (await get(served, "/peak"))["peak_bytes"] - before
        assert (status, raw["size"] > LARGE_BYTES) == (200, True)
        assert grown < PEAK_GROWTH_BYTES, f"{grown} bytes more for {LARGE_BYTES}"
        assert (await get(served, "/spools"))["open"] == 0, "the spool is closed after the request"


async def test_a_client_that_leaves_takes_its_spool_with_it(tmp_path: Path) -> None:
    async with server_of_its_own(tmp_path, LARGE_BYTES) as served:
        _, writer = await asyncio.open_connection(served.host, served.port)
        head = f"POST /raw HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: {LARGE_BYTES}\r\n\r\n"
        writer.write(head.encode() + field("file", b"x" * SMALL_BYTES, '; filename="f"'))
        await writer.drain()
        await spools(served, 1)
        writer.transport.abort()
        await spools(served, 0)
    assert os.listdir(tmp_path) == ["log"], "the file never had a name"


async def spools(served: Served, count: int) -> None:
    """Wait until so many spools are open."""
    async with asyncio.timeout(90):
        while (await get(served, "/spools"))["open"] != count:  # noqa: ASYNC110 - it happens in another process
            await asyncio.sleep(0.02)


async def test_a_full_disk_is_said_and_harms_nobody_else(tmp_path: Path) -> None:
    async with server_of_its_own(tmp_path, LARGE_BYTES, 2 * 1024 * 1024) as served:
        status, answer = await post(served, "/raw", upload(SMALL_BYTES, hashlib.sha256()))
        assert (status, answer["error"]["code"]) == (503, "no_space"), answer
        await spools(served, 0)
        assert (await post(served, "/raw", form(MODEL)))[0] == 200
