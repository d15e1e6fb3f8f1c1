"""Hosts that stay on the line for ever, and hands in the folder meanwhile: a clear line, and never a wrong file."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from node.store.limits import Limits
from node.store.progress import Progress
from node.store.store import Store
from node.uri import RemoteUri
from node.weights import WeightsError
from tests.fakes.weights import NAME, WeightsHost, digest, weights_host
from tests.node.fetcher import QUICK
from tests.programs import UP_LIMIT_S, running, until

BIG = 6_000_000
MIB = 1024 * 1024
LONG = b'HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\nETag: "1"\r\n\r\n'
HASH = "a" * 64


@contextlib.asynccontextmanager
async def drip(head: bytes, piece: bytes, every_s: float) -> AsyncIterator[str]:
    """The URL of a host that says `head` at once, then `piece` again and again, until nobody listens."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head)
            while not writer.is_closing():
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(every_s)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@contextlib.asynccontextmanager
async def a_store(folder: Path, limits: Limits, api: str = "http://127.0.0.1:1") -> AsyncIterator[Store]:
    store = Store(folder, api, limits=limits)
    try:
        yield store
    finally:
        await store.close()


TRICKLE = replace(QUICK, connect_s=0.2, gap_s=0.3, least_bytes_per_s=1000, answer_s=0.4, fruitless=3)


@pytest.mark.parametrize(
    ("head", "scheme", "why"),
    [
        (LONG, "http", r"only \d+ bytes within 0.3 s; given up after 3 tries"),
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", "http", r"no answer within 0.5 s; given up after 3 tries"),
        (LONG, "aleph", r"not a whole answer within 0.4 s; given up after 3 tries"),
    ],
)
async def test_a_trickle_is_as_good_as_silence(head: bytes, scheme: str, why: str, tmp_path: Path) -> None:
    async with drip(head, b"x", 0.02) as url, a_store(tmp_path, TRICKLE, url) as store:
        uri = RemoteUri.parse(f"aleph://{HASH}" if scheme == "aleph" else f"{url}/m.gguf")
        with pytest.raises(WeightsError, match=why):
            await store.fetch(uri, Progress("m"))


async def test_a_hub_that_trickles_does_not_keep_a_process_from_ending(tmp_path: Path) -> None:
    async with drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x", 0.02) as url:
        words = ["-m", "tests.node.fetcher", str(tmp_path / "weights"), "hf://o/r/m.gguf"]
        own = {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path), "HF_TOKEN": "", "HF_HUB_OFFLINE": ""}
        async with running(words, tmp_path / "log", {**own, "LIMITS": '{"connect_s": 0.2, "fruitless": 3}'}) as program:
            assert await asyncio.wait_for(program.process.wait(), UP_LIMIT_S) == 0
            assert "no answer from the hub within 0.8 s; given up after 3 tries" in program.output()


async def test_tries_that_each_bring_a_byte_are_counted(tmp_path: Path) -> None:
    async with drip(LONG + b"x", b"", 0.02) as url, a_store(tmp_path, TRICKLE) as store:
        with pytest.raises(WeightsError, match=r"not a byte within 0.3 s; given up after 3 tries"):
            await store.fetch(RemoteUri.parse(f"{url}/m.gguf"), Progress("m"))


async def test_a_body_without_end_leaves_room_on_the_disk(tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    limits = replace(QUICK, reserve_bytes=shutil.disk_usage(tmp_path).free - 64 * MIB)
    async with drip(head, b"40000\r\n" + bytes(0x40000) + b"\r\n", 0) as url, a_store(tmp_path, limits) as store:
        with pytest.raises(WeightsError, match="must stay free"):
            await store.fetch(RemoteUri.parse(f"{url}/m.gguf"), Progress("m"))


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[WeightsHost]:
    async with weights_host(tmp_path, {NAME: BIG}) as made:
        yield made


@contextlib.asynccontextmanager
async def halfway(host: WeightsHost, folder: Path) -> AsyncIterator[tuple[Store, asyncio.Task[Path], Path]]:
    """A store, its fetch that waits for the second half, and the part."""
    await host.begin({"stall": BIG // 2})
    async with a_store(folder, replace(QUICK, gap_s=0.8)) as store:
        progress = Progress("model")
        fetching = asyncio.create_task(store.fetch(RemoteUri.parse(host.file()), progress))
        await until(lambda: progress.done >= 1_000_000, limit_s=UP_LIMIT_S)
        (part,) = folder.glob("*/*.part")  # noqa: ASYNC240
        yield store, fetching, part


HANDS: dict[str, Callable[[Path], object]] = {
    "the folder is removed": lambda part: shutil.rmtree(part.parent),
    "the part is removed": lambda part: part.unlink(),
    "the part is cut": lambda part: os.truncate(part, 1000),
    "another part is put there": lambda part: part.write_bytes(b"") or part.rename(part.with_name("x")),
}


@pytest.mark.parametrize("hand", HANDS)
async def test_what_is_disturbed_while_it_comes_in_is_never_served(
    hand: str, host: WeightsHost, tmp_path: Path
) -> None:
    folder = tmp_path / "weights"
    async with halfway(host, folder) as (store, fetching, part):
        HANDS[hand](part)
        with pytest.raises(WeightsError, match=r"\.part: cannot be written \(somebody else has removed or changed it"):
            await fetching
        assert not list(folder.glob("*/*.gguf"))
        path = await store.fetch(RemoteUri.parse(host.file()), Progress("again"))
        assert hashlib.sha256(path.read_bytes()).hexdigest() == digest(NAME, BIG)


async def test_two_never_write_one_part_though_the_lock_is_deleted(host: WeightsHost, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    async with halfway(host, folder) as (_, fetching, part), a_store(folder, QUICK) as other:
        (part.parent / ".lock").unlink()
        with pytest.raises(WeightsError, match="another process is writing it"):
            await other.fetch(RemoteUri.parse(host.file()), Progress("other"))
        assert hashlib.sha256((await fetching).read_bytes()).hexdigest() == digest(NAME, BIG)


async def test_who_waited_for_a_lock_that_is_gone_takes_the_new_one(host: WeightsHost, tmp_path: Path) -> None:
    folder, uri = tmp_path / "weights", RemoteUri.parse(host.file())
    async with halfway(host, folder) as (_, fetching, part), a_store(folder, QUICK) as other:
        progress = Progress("waiting")
        waiting = asyncio.create_task(other.fetch(uri, progress))
        await until(lambda: progress.done >= 1_000_000, limit_s=UP_LIMIT_S)
        shutil.rmtree(part.parent)
        with pytest.raises(WeightsError):
            await fetching
        assert hashlib.sha256((await waiting).read_bytes()).hexdigest() == digest(NAME, BIG)
        assert (part.parent / ".lock").exists()


@pytest.mark.parametrize("name", [".lock", f"{NAME}.part"])
async def test_a_link_is_not_written_through(name: str, host: WeightsHost, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    async with halfway(host, folder) as (_, fetching, part):
        fetching.cancel()
        await asyncio.wait([fetching])
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (part.parent / name).unlink()
    (part.parent / name).symlink_to(precious)
    async with a_store(folder, QUICK) as store:
        with pytest.raises(WeightsError, match=f"{name}: cannot be written"):
            await store.fetch(RemoteUri.parse(host.file()), Progress("m"))
    assert precious.read_text() == "precious"
