"""No room on the disk, a folder that cannot be written, and what a person sees meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from node.store.bar import Bar, line
from node.store.meter import Meter
from node.store.progress import Progress, size_text
from node.store.store import Store
from node.uri import RemoteUri, WeightsUri
from node.weights import WeightsError, open_weights
from tests.fakes.weights import NAME, SIZE, WeightsHost, digest, weights_host
from tests.node.fetcher import QUICK
from tests.programs import running

MIB = 1024 * 1024


@pytest.fixture(scope="module")
async def host(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WeightsHost]:
    async with weights_host(tmp_path_factory.mktemp("host")) as running_host:
        yield running_host


@contextlib.asynccontextmanager
async def a_store(folder: Path, reserve_bytes: int = 0) -> AsyncIterator[Store]:
    store = Store(folder, "http://127.0.0.1:1", limits=replace(QUICK, reserve_bytes=reserve_bytes))
    yield store
    await store.close()


async def test_room_is_asked_for_before_the_first_byte(host: WeightsHost, tmp_path: Path) -> None:
    await host.begin()
    reserve = shutil.disk_usage(tmp_path).free + MIB
    async with a_store(tmp_path, reserve) as store:
        with pytest.raises(WeightsError, match=r"1.9 MiB are still to come and .* must stay free, .*--weights DIR"):
            await store.fetch(RemoteUri.parse(host.file()), Progress("model"))
    assert not [part for part in tmp_path.rglob("*.part") if part.stat().st_size]  # noqa: ASYNC240


async def test_a_disk_that_is_full_in_the_middle_is_named_and_gone_on_with(host: WeightsHost, tmp_path: Path) -> None:
    """The largest file that a process may write stands for the disk."""
    await host.begin()
    words = ["-m", "tests.node.fetcher", str(tmp_path / "weights"), host.file()]
    code = f"import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({MIB}, {MIB})); "
    limited = ["-c", f"{code}sys.argv = {words[1:]!r}; runpy.run_module('tests.node.fetcher', run_name='__main__')"]
    async with running(limited, tmp_path / "limited.log") as program:
        assert await program.process.wait() == 0, program.output()
        assert "no space is left" in program.output() and "with --weights DIR" in program.output()
        assert "Traceback" not in program.output()
    await host.begin()
    async with running(words, tmp_path / "free.log") as program:
        assert await program.process.wait() == 0, program.output()
        assert digest() in program.output()
    assert await host.begins() == [MIB]


async def test_a_real_full_disk_is_named(host: WeightsHost, tmp_path: Path) -> None:
    small = f"mount -t tmpfs -o size=1m none {tmp_path}"
    if (await alone(small)).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    await host.begin(chunked=True)
    done = await alone(f"{small} && exec {sys.executable} -m tests.node.fetcher {tmp_path} {host.file()}")
    assert "no space is left (No space left on device); make some, or choose another folder" in done.stdout, done.stderr


async def alone(command: str) -> subprocess.CompletedProcess[str]:
    """A shell whose mounts nobody else sees."""
    words = ["unshare", "-Urm", "sh", "-c", command]
    return await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True, timeout=90)


@pytest.mark.parametrize("blocked", ["a file stands there", "a file stands above"])
async def test_a_folder_that_cannot_be_made_is_named(blocked: str, host: WeightsHost, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    folder = tmp_path / "taken" / "deep" if "above" in blocked else tmp_path / "taken"
    async with a_store(folder) as store:
        with pytest.raises(WeightsError, match=f"{tmp_path}.*: cannot be written .*Not a directory.*--weights DIR"):
            await store.fetch(RemoteUri.parse(host.file()), Progress("model"))


async def test_the_digest_of_what_was_fetched_is_not_computed_again(host: WeightsHost, tmp_path: Path) -> None:
    """It is known from the fetching, for as long as nobody touches the file."""
    await host.begin()
    async with a_store(tmp_path / "weights") as store:
        path = await store.fetch(RemoteUri.parse(host.file()), Progress("model"))
    stand_in = path.rename(path.with_name("v.onnx"))
    record = path.with_name(f".{NAME}.record").rename(path.with_name(".v.onnx.record"))
    assert open_weights(WeightsUri(stand_in), tmp_path).sha256 == digest()
    assert not (tmp_path / "digests.json").exists()
    os.utime(stand_in, ns=(1, 1))
    record.write_text(record.read_text().replace(digest(), "f" * 64))
    assert open_weights(WeightsUri(stand_in), tmp_path).sha256 == digest(), "a record of another file says nothing"


async def test_off_a_terminal_the_log_tells_of_each_tenth(
    host: WeightsHost, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await host.begin()
    with caplog.at_level(logging.INFO, "waypost.node"):
        async with a_store(tmp_path) as store:
            await store.fetch(RemoteUri.parse(f"{host.file()}?key=secret"), Progress("smollm2"))
    assert f"smollm2: fetching {host.file()}" in caplog.messages and "secret" not in caplog.text
    assert "smollm2: fetched 1.9 MiB in 0 s" in caplog.messages


def test_a_line_for_each_tenth_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    bar, progress = Bar(io.StringIO()), Progress("m", 0, 1000 * MIB, 10.0 * MIB)
    with caplog.at_level(logging.INFO, "waypost.node"):
        bar.begin(progress, "hf://o/r/m.gguf")
        for done in range(1001):
            progress.done = done * MIB
            bar.draw([progress])
    assert [text.split(",")[0] for text in caplog.messages[1:]] == [f"m: {tenth}0 %" for tenth in range(1, 11)]


def test_on_a_terminal_one_line_shows_all_downloads() -> None:
    one = Progress("one", 45 * MIB, 100 * MIB, 12.5 * MIB)
    two = Progress("two", 3 * MIB, None, 0.0)
    assert line([one, two], 200) == "one: 45 %, 45.0 MiB of 100.0 MiB, 12.5 MiB/s, 0:04 to go | two: 3.0 MiB, 0 B/s"
    assert line([one, two], 20) == "one: 45 %, 45.0 M..."
    assert [line([one, two], width) for width in (3, 2, 0, -1)] == ["...", "..", "", ""]

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    bar = Bar(out)
    bar.begin(one, "hf://o/r/one.gguf")
    bar.draw([one])
    bar.end(one, 8.0)
    assert out.getvalue() == "\r\x1b[K\r\x1b[Kone: 45 %, 45.0 MiB of 100.0 MiB, 12.5 MiB/s, 0:04 to go\r\x1b[K"


def test_a_terminal_that_is_gone_or_was_never_there_ends_no_download() -> None:
    class Gone(io.StringIO):
        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    closed = io.StringIO()
    closed.close()
    for out in (Gone(), closed, None):
        bar, progress = Bar(out), Progress("one", MIB, 2 * MIB)
        bar.begin(progress, "hf://o/r/one.gguf")
        bar.draw([progress])
        bar.end(progress, 1.0)


def test_speed_is_that_of_the_last_seconds_and_ends_with_the_bytes() -> None:
    meter, seen = Meter("m"), Progress("other name")
    meter.join(seen)
    for second in range(11):
        meter.set(second * MIB, 100 * MIB)
        meter.tick(float(second))
    assert seen.per_s == pytest.approx(MIB) and seen.remaining_s == pytest.approx(90) and seen.name == "other name"
    for second in range(11, 30):
        meter.tick(float(second))
    assert seen.per_s == 0.0 and seen.remaining_s is None
    meter.set(0, 100 * MIB)
    meter.tick(30.0)
    meter.set(MIB, 100 * MIB)
    meter.tick(31.0)
    assert seen.per_s == pytest.approx(MIB), "from the first byte again is no negative speed"


def test_sizes_for_people() -> None:
    assert [size_text(count) for count in (0, 1023, 1536, 5 * MIB, SIZE, 40 * 1024 * MIB)] == [
        "0 B", "1023 B", "1.5 KiB", "5.0 MiB", "1.9 MiB", "40.00 GiB",
    ]  # fmt: skip
