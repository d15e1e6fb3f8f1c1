"""`waypost-backup`: what a node cannot lose goes into one file, and comes back from it, on this machine or another."""

from __future__ import annotations

import io
import json
import stat
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.upgrade.vm import Vm, systemctl, vm

STATE = {
    "node.key": "11" * 32, "delegate.key": "22" * 32, "tls.key": "PEM", "delegation.json": "{}", "seq-KEY": "1000",
    "tls-ab.crt": "PEM",
}  # fmt: skip
LOST = {"lock-KEY": "", "seq-KEY.new": "", ".draft": ""}


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Vm]:
    async with vm(tmp_path) as made:
        fill(made)
        yield made


def fill(made: Vm) -> None:
    for name, text in {**STATE, **LOST}.items():
        state_of(made, name).write_text(text)
        state_of(made, name).chmod(0o600)
    (made.root / "var/lib/waypost/weights").mkdir()
    (made.root / "var/lib/waypost/weights/large.gguf").write_text("fetched again")
    (made.root / "etc/waypost/api-keys").write_text("sha256:00")


def state_of(made: Vm, name: str) -> Path:
    return made.root / "var/lib/waypost" / name


async def test_a_lost_machine_comes_back_on_another_one(machine: Vm, tmp_path: Path) -> None:
    file = tmp_path / "node.backup"
    done = await machine.run("waypost-backup", str(file))
    assert (done.status, done.out) == (0, f"{file} holds this node's keys: keep it as you keep those\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with tarfile.open(file) as tar:
        etc = ["etc/api-keys", "etc/environment", "etc/waypost.toml"]
        assert tar.getnames() == ["backup.json", *etc, *sorted(f"state/{name}" for name in STATE)]
    (tmp_path / "other").mkdir()
    async with vm(tmp_path / "other", started=False) as other:
        done = await other.run("waypost-backup", "--restore", str(file))
        assert (done.status, done.err) == (0, "")
        assert {name: state_of(other, name).read_text() for name in STATE} == STATE
        modes = {stat.S_IMODE(state_of(other, name).stat().st_mode) for name in STATE}
        assert (modes, stat.S_IMODE((other.root / "etc/waypost/waypost.toml").stat().st_mode)) == ({0o600}, 0o640)
        other.port = machine.port
        assert await other.serves() == "1.0"


async def test_it_goes_through_a_pipe_and_a_seq_never_goes_back(machine: Vm) -> None:
    kept = (await machine.run("waypost-backup")).out.encode("latin-1")
    state_of(machine, "seq-KEY").write_text("2000")
    state_of(machine, "delegation.json").write_text("spoiled")
    done = await machine.run("waypost-backup", "--restore", stdin=kept)
    assert (done.status, machine.asked) == (0, ["start", "stop", "start"])
    assert state_of(machine, "seq-KEY").read_text() == "2000"
    assert state_of(machine, "delegation.json").read_text() == "{}"
    assert await machine.serves() == "1.0"


async def test_a_machine_does_not_become_another_node_by_mistake(machine: Vm) -> None:
    kept = (await machine.run("waypost-backup")).out.encode("latin-1")
    state_of(machine, "node.key").write_text("33" * 32)
    done = await machine.run("waypost-backup", "--restore", stdin=kept)
    assert (done.status, machine.asked) == (1, ["start"])
    assert "this machine is another node already. --other-node makes it" in done.err
    assert (await machine.run("waypost-backup", "--restore", "--other-node", stdin=kept)).status == 0
    assert state_of(machine, "node.key").read_text() == STATE["node.key"]


def _tar(*members: tuple[str, bytes], link: str = "") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            if link:
                member.type, member.linkname, member.size = tarfile.SYMTYPE, link, 0
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def _manifest(version: int = 1) -> tuple[str, bytes]:
    return "backup.json", json.dumps({"v": version, "made_at": 1, "release": "1.0", "files": {}}).encode()


@pytest.mark.parametrize(
    ("content", "fix"),
    [
        (b"no tar", "nothing is changed"),
        (_tar(), "it has no backup.json that can be read"),
        (_tar(_manifest(2)), "this backup is of version 2"),
        (_tar(_manifest(), ("state/node.key", b"1")), "this backup is damaged"),
        (_tar(_manifest()), "the backup holds no node key"),
        (_tar(("state/../../root/.ssh/authorized_keys", b"1")), "has no business in one"),
        (_tar(("/etc/passwd", b"1")), "has no business in one"),
        (_tar(("state/node.key", b""), link="/etc/shadow"), "has no business in one"),
        (_tar(("state/.hidden", b"")), "has no business in one"),
    ],
)
async def test_what_is_no_backup_changes_nothing(tmp_path: Path, content: bytes, fix: str) -> None:
    async with vm(tmp_path, started=False) as made:
        done = await made.run("waypost-backup", "--restore", stdin=content)
        assert (done.status, len(done.err.splitlines()), made.asked) == (1, 1, [])
        assert fix in done.err
        assert not list((made.root / "var/lib/waypost").iterdir())


async def test_one_that_was_cut_short_changes_nothing(machine: Vm) -> None:
    kept = (await machine.run("waypost-backup")).out.encode("latin-1")
    for size in (700, len(kept) // 2):
        done = await machine.run("waypost-backup", "--restore", stdin=kept[:size])
        assert (done.status, machine.asked) == (1, ["start"]), done.err
        assert "Traceback" not in done.err


async def test_a_machine_without_keys_has_nothing_to_keep(tmp_path: Path) -> None:
    async with vm(tmp_path, started=False) as made:
        done = await made.run("waypost-backup")
        assert (done.status, done.out) == (1, "")
        assert "has no node.key: there is nothing to keep yet" in done.err
        systemctl(made, "stop")
