"""`waypost-upgrade`: a release is taken where the node can be used with it, and taken back where it cannot."""

from __future__ import annotations

import asyncio
import hashlib
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.programs import until
from tests.upgrade.vm import Vm, packed, tar_of, vm, wheel


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Vm]:
    async with vm(tmp_path) as made:
        await made.serves()
        yield made


@pytest.fixture(scope="module")
async def untouched(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Vm]:
    """One for tests that change nothing in it."""
    async with vm(tmp_path_factory.mktemp("vm")) as made:
        await made.serves()
        yield made


async def test_the_old_release_drains_before_the_new_one_runs_and_it_can_be_taken_back(
    machine: Vm, tmp_path: Path
) -> None:
    assert await machine.serves() == "1.0"
    held = asyncio.create_task(machine.get("/hold"))
    new = wheel(tmp_path, "1.1")
    digest = hashlib.sha256(new.read_bytes()).hexdigest()
    upgrading = asyncio.create_task(machine.upgrade(new, "--sha256", digest))
    await until(lambda: "restart" in machine.asked)
    assert not held.done()
    (machine.root / "var/lib/waypost/go").touch()
    assert (await held)["version"] == "1.0"
    done = await upgrading
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[-1] == "1.1 runs"
    assert await machine.serves() == "1.1"
    listed = (await machine.upgrade("--list")).out.splitlines()
    assert [line.split()[0] for line in listed] == ["1.0", "1.1"]
    assert listed[0].endswith("before") and listed[1].endswith("runs") and digest[:16] in listed[1]
    assert (await machine.upgrade("--back")).status == 0
    assert (machine.current, await machine.serves()) == ("1.0", "1.0")
    assert (await machine.upgrade("--back")).out.splitlines()[-1] == "1.1 runs", "and forth"


@pytest.mark.parametrize(
    ("manner", "fault"), [("mute", "after 2 s it says starting"), ("refuse", "the unit is failed; ")]
)
async def test_a_release_that_cannot_be_used_is_taken_back(
    machine: Vm, tmp_path: Path, manner: str, fault: str
) -> None:
    done = await machine.upgrade(wheel(tmp_path, "1.1", manner), "--healthy-s", "2" if manner == "mute" else "300")
    assert done.status == 1
    assert f"1.1 cannot be used: {fault}" in done.err
    assert done.err.splitlines()[-1] == "waypost-upgrade: 1.0 runs again; 1.1 stays beside it, for you to look at"
    assert (machine.current, await machine.serves()) == ("1.0", "1.0")
    assert "no release before 1.0" in (await machine.upgrade("--back")).err, "the bad one is nothing to go back to"
    assert (await machine.upgrade(wheel(tmp_path, "1.2"))).status == 0, "and the next one is taken"
    assert machine.releases == ["1.0", "1.2"], "what is neither the current one nor the one before goes"


Spoiled = Callable[[Path], Path]


def _text(folder: Path) -> Path:
    (folder / "waypost-1.1-py3-none-any.tar").write_text("no tar\n")
    return folder / "waypost-1.1-py3-none-any.tar"


REFUSED: dict[str, tuple[Spoiled, str]] = {
    "does not start": (lambda folder: wheel(folder, "1.1", "broken"), "1.1 does not start, and is not installed: "),
    "takes no configuration": (lambda folder: wheel(folder, "1.1", "choosy"), "does not take "),
    "asks for more": (lambda folder: wheel(folder, "1.1", requires=["nowhere-known>=2"]), "give a tar with all wheels"),
    "is what runs": (lambda folder: wheel(folder, "1.0"), "1.0 runs already; another build needs a version of its own"),
    "no tar": (_text, "is neither a wheel nor a tar of wheels"),
    "not there": (lambda folder: folder / "waypost-1.1-py3-none-any.whl", "No such file or directory; name a wheel"),
    "no agent": (lambda folder: tar_of(folder / "r.tar"), "there must be one waypost-VERSION-py3-none-any.whl"),
    "two agents": (
        lambda folder: tar_of(folder / "r.tar", wheel(folder, "1.1"), wheel(folder, "1.2")),
        "and there are 2",
    ),
    "a tar that lacks something": (
        lambda folder: tar_of(
            folder / "r.tar", wheel(folder, "1.1", requires=["needed"]), packed(folder, "other", "1", {"other.py": ""})
        ),
        "the release cannot be installed",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_no_release_for_this_node_changes_nothing(untouched: Vm, tmp_path: Path, name: str) -> None:
    machine, (make, fix) = untouched, REFUSED[name]
    done = await machine.upgrade(make(tmp_path))
    assert (done.status, "Traceback" in done.err.splitlines()[0]) == (1, False)
    assert done.err.startswith("waypost-upgrade: ") and fix in done.err, done.err
    assert (machine.current, machine.releases, machine.asked) == ("1.0", ["1.0"], ["start"])


async def test_a_file_with_another_digest_is_not_looked_into(untouched: Vm, tmp_path: Path) -> None:
    machine = untouched
    done = await machine.upgrade(wheel(tmp_path, "1.1"), "--sha256", "ab" * 32)
    assert (done.status, machine.releases) == (1, ["1.0"])
    assert f"and not {'ab' * 32}; nothing is changed" in done.err


async def test_a_tar_brings_all_that_the_release_needs(machine: Vm, tmp_path: Path) -> None:
    needed = packed(tmp_path, "needed", "2.0", {"needed.py": ""})
    release = tar_of(tmp_path / "release.tar", wheel(tmp_path, "1.1", requires=["needed>=2"]), needed)
    done = await machine.upgrade(release)
    assert (done.status, done.err) == (0, "")
    assert await machine.serves() == "1.1"
    taken = machine.root / "opt/waypost-releases/1.1"
    assert list(taken.glob("lib/python3*/site-packages/needed.py"))
    assert (await machine.upgrade(wheel(tmp_path, "1.2", requires=["needed>=2"]))).status == 0, "a wheel takes it over"


async def test_an_upgrade_that_was_killed_is_told_of_and_taken_back(machine: Vm, tmp_path: Path) -> None:
    process = machine.start("waypost-upgrade", str(wheel(tmp_path, "1.1", "mute")))
    await until(lambda: "restart" in machine.asked)
    other = await machine.upgrade(wheel(tmp_path, "1.2"))
    assert "another upgrade goes on; wait for its end" in other.err
    process.send_signal(signal.SIGHUP)  # the connection broke: it goes on
    assert process.poll() is None
    process.kill()
    process.wait()
    listed = (await machine.upgrade("--list")).out
    assert "an upgrade was broken off: 1.1 is unproven; --back goes back to 1.0" in listed
    assert "go back to 1.0 first, with --back" in (await machine.upgrade(tmp_path / "waypost-1.2-py3-none-any.whl")).err
    assert (await machine.upgrade("--back")).status == 0
    assert (machine.current, await machine.serves()) == ("1.0", "1.0")


async def test_a_node_that_cannot_be_used_is_not_upgraded_unless_told_to(machine: Vm, tmp_path: Path) -> None:
    assert (await machine.upgrade(wheel(tmp_path, "1.1", "mute"), "--unproven", "--healthy-s", "0")).status == 0
    assert machine.current == "1.1"
    done = await machine.upgrade(wheel(tmp_path, "1.2"))
    assert "the node cannot be used as it is (it says starting)" in done.err
    assert (await machine.upgrade(tmp_path / "waypost-1.2-py3-none-any.whl", "--unproven")).status == 0
    assert await machine.serves() == "1.2"


async def test_before_there_is_a_configuration_nothing_is_started(tmp_path: Path) -> None:
    async with vm(tmp_path, started=False) as made:
        done = await made.upgrade(wheel(tmp_path, "1.1"))
        assert (done.status, made.current, made.asked) == (0, "1.1", [])
        assert (await made.upgrade("--back")).status == 0
        assert made.current == "1.0"
