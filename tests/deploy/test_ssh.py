"""The system's ssh: what it is told, and what its words mean."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from deploy.ssh import Fault, Ssh, SshFailed, private_half, read_public_key


def _ssh(tmp_path: Path, script: str) -> Ssh:
    program = tmp_path / "ssh"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return Ssh("::1", 22, "root", tmp_path / "id", tmp_path / "known", "alias", program=str(program))


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("echo 'Permission denied (publickey).' >&2; exit 255", Fault.REFUSED),
        ("echo '@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @' >&2; exit 255", Fault.CHANGED),
        ("echo 'Host key verification failed.' >&2; exit 255", Fault.CHANGED),
        ("echo 'connect to host ::1 port 22: Connection refused' >&2; exit 255", Fault.AWAY),
        ("echo 'bash: waypost-setup: command not found' >&2; exit 127", Fault.MISSING),
        ("echo 'waypost-setup: no' >&2; echo out; exit 1", Fault.COMMAND),
        ("exec sleep 60", Fault.SLOW),
    ],
)
async def test_what_went_wrong_is_told_apart(tmp_path: Path, script: str, fault: Fault) -> None:
    with pytest.raises(SshFailed) as failed:
        await _ssh(tmp_path, script).run(["waypost-setup"], limit_s=0.5 if fault is Fault.SLOW else 60)
    assert failed.value.fault is fault
    assert failed.value.out == (b"out\n" if fault is Fault.COMMAND else b"")


async def test_it_asks_nothing_keeps_its_own_list_and_forwards_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYPOST_OPERATOR_KEY", "secret")
    said = (await _ssh(tmp_path, 'echo "$@"; env').run(["waypost-setup", "keys"], b"x")).decode()
    words = said.splitlines()[0]
    for wanted in ("BatchMode=yes", "StrictHostKeyChecking=accept-new", "ForwardAgent=no", "HostKeyAlias=alias"):
        assert f"-o {wanted}" in words
    assert f"UserKnownHostsFile={tmp_path / 'known'}" in words and words.endswith("-l root -- ::1 waypost-setup keys")
    assert "secret" not in said


async def test_without_ssh_on_this_machine_it_is_said(tmp_path: Path) -> None:
    gone = Ssh("::1", 22, "root", tmp_path, tmp_path, "a", program="/nowhere/ssh")
    with pytest.raises(SshFailed, match="install openssh-client"):
        await gone.run(["true"])


def test_only_a_public_key_is_read_and_its_comment_left_out(tmp_path: Path) -> None:
    key = tmp_path / "id.pub"
    key.write_text("ssh-ed25519 AAAA me@home\n")
    assert read_public_key(key) == "ssh-ed25519 AAAA"
    private = tmp_path / "id"
    private.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n")
    for path in (private, tmp_path / "none.pub"):
        with pytest.raises(ValueError, match=r"\.pub|ssh-keygen") as refused:
            read_public_key(path)
        assert "secret" not in str(refused.value)
    assert private_half(key) == private
    os.unlink(private)
    assert private_half(key) == key, "then it is the agent's"
