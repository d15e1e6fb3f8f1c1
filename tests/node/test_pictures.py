"""Pictures kept for a while: fetched with their address, and with nothing else."""

from __future__ import annotations

import re
import resource
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from node.pictures import PictureLimits, Pictures
from relay.errors import TooLarge, Unavailable
from tests.relay.serving import serving

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


class Clock:
    """A time that a test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def kept(folder: Path, limits: PictureLimits, clock: Clock) -> AsyncIterator[Pictures]:
    """A store whose addresses lead to a server that serves it."""
    base: list[str] = []
    pictures = Pictures(folder / "pictures", lambda: base[0], limits, clock)
    async with serving(pictures.routes()) as served:
        base.append(served.url)
        yield pictures


async def fetch(url: str) -> tuple[int, bytes, Mapping[str, str]]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.read(), response.headers


async def test_a_picture_is_fetched_with_its_address(tmp_path: Path) -> None:
    async with kept(tmp_path, PictureLimits(), Clock()) as pictures:
        url = await pictures.keep(PNG, "png")
        assert re.search(r"/files/[\w-]{22}\.png\?expires=1800003600&signature=[0-9a-f]{64}$", url)
        status, body, headers = await fetch(url)
    assert (status, body, headers["Content-Type"]) == (200, PNG, "image/png")
    assert headers["Cache-Control"].startswith("private")
    assert headers["X-Content-Type-Options"] == "nosniff"


async def test_files_are_for_this_user_alone(tmp_path: Path) -> None:
    Pictures(tmp_path / "pictures", lambda: "")
    assert stat.S_IMODE((tmp_path / "pictures").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("pattern", "instead"),
    [
        (r"signature=.*", "signature=" + "0" * 64),
        (r"&signature=.*", ""),
        (r"signature=.", "signature=%ff"),
        (r"expires=\d+", "expires=9999999999"),
        (r"\?.*", ""),
        (r"files/.", "files/~"),
        (r"\.png", ".webp"),
        (r"files/[^?]*", "files/..%2f..%2fetc%2fpasswd"),
    ],
)
async def test_a_forged_address_finds_nothing(tmp_path: Path, pattern: str, instead: str) -> None:
    async with kept(tmp_path, PictureLimits(), Clock()) as pictures:
        url = await pictures.keep(PNG, "png")
        status, body, _ = await fetch(re.sub(pattern, instead, url))
    assert status == 404
    assert b"PNG" not in body


async def test_an_address_expires_and_its_file_goes(tmp_path: Path) -> None:
    clock = Clock()
    async with kept(tmp_path, PictureLimits(lifetime_s=60), clock) as pictures:
        url = await pictures.keep(PNG, "jpeg")
        clock.now += 59
        assert (await fetch(url))[0] == 200
        clock.now += 2
        assert (await fetch(url))[0] == 404
        assert list((tmp_path / "pictures").iterdir()) == []


async def test_the_oldest_leave_when_there_are_too_many(tmp_path: Path) -> None:
    async with kept(tmp_path, PictureLimits(total_bytes=2 * len(PNG)), Clock()) as pictures:
        urls = [await pictures.keep(PNG, "png") for _ in range(3)]
        assert [(await fetch(url))[0] for url in urls] == [404, 200, 200]
        with pytest.raises(TooLarge):
            await pictures.keep(bytes(3 * len(PNG)), "png")
        assert (await fetch(urls[2]))[0] == 200


async def test_what_cannot_be_written_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    async with kept(tmp_path, PictureLimits(total_bytes=2 * len(PNG)), Clock()) as pictures:
        before = await pictures.keep(PNG, "png")
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(PNG) // 2, limit[1]))  # as on a full disk: half of it fits
        try:
            with pytest.raises(Unavailable) as refused:
                await pictures.keep(PNG, "png")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        assert refused.value.code == "no_space"
        assert len(list((tmp_path / "pictures").iterdir())) == 1
        assert (await fetch(before))[0] == 200
        assert (await fetch(await pictures.keep(PNG, "png")))[0] == 200
        assert (await fetch(before))[0] == 200  # the lost one takes no room


async def test_another_store_signs_otherwise(tmp_path: Path) -> None:
    async with kept(tmp_path, PictureLimits(), Clock()) as one, kept(tmp_path, PictureLimits(), Clock()) as other:
        url, also = await one.keep(PNG, "png"), await other.keep(PNG, "png")
        assert (await fetch(re.sub(r"//[^/]*", re.search(r"//[^/]*", also)[0], url)))[0] == 404  # type: ignore[index]
