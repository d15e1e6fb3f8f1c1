"""`waypost-setup` as the program that it is: the real one, with files elsewhere and a `systemctl` that writes down."""

from __future__ import annotations

import getpass
import io
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from deploy.vm.parcel import CONFIG, DELEGATION, ParcelError, read_parcel, write_parcel
from deploy.vm.setup import REREAD, Action, SetupError, check_delegation, needed
from node.changes import LIVE, OF_MODELS
from registry.advert import Delegation
from registry.keys import NodeKey, Wallet
from registry.signing import sign_delegation

OPERATOR = Wallet(b"\x11" * 32)
GOOD = b"""
[node]
registry = ["sqlite:////tmp/r.db"]
public_url = "https://node.example"
access = ["open"]
[node.models.m]
uri = "/usr/share/waypost/models/m.gguf"
"""
SYSTEMCTL = """#!/bin/sh
echo "$*" >>"$(dirname "$0")/asked"
case $1 in
is-active) [ -e "$(dirname "$0")/active" ] ;;
restart) touch "$(dirname "$0")/active" ;;
esac
"""


class Vm:
    """A folder that stands for a VM's file system."""

    def __init__(self, root: Path) -> None:
        self.root, self.bin = root, root / "bin"
        self.config = root / "etc/waypost" / CONFIG
        self.delegation = root / "var/lib/waypost" / DELEGATION
        for folder in (self.config.parent, self.delegation.parent, self.bin):
            folder.mkdir(parents=True)
        settings = {"LISTEN": "*:443", "STATE": root / "var/lib/waypost", "TLS_KEY": root / "var/lib/waypost/tls.key"}
        text = "".join(f"WAYPOST_{name}={value}\n" for name, value in settings.items())
        (self.config.parent / "environment").write_text(f"# a comment\n\n{text}")
        (self.bin / "systemctl").write_text(SYSTEMCTL)
        (self.bin / "systemctl").chmod(0o755)

    def run(self, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        env = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "SETUP_ROOT": str(self.root),
            "SETUP_USER": getpass.getuser(),
        }
        command = (sys.executable, "-m", "deploy.vm.setup", *words)
        return subprocess.run(command, input=stdin, capture_output=True, env=env, timeout=120)

    def put(self, files: Mapping[str, bytes]) -> subprocess.CompletedProcess[bytes]:
        return self.run(stdin=write_parcel(files))

    def keys(self) -> dict[str, str]:
        keys: dict[str, str] = json.loads(self.run("keys").stdout)
        return keys

    def asked(self) -> list[str]:
        file = self.bin / "asked"
        return (
            [line for line in file.read_text().splitlines() if not line.startswith("is-active")]
            if file.exists()
            else []
        )


@pytest.fixture
def vm(tmp_path: Path) -> Vm:
    return Vm(tmp_path)


def test_keys_are_made_once_and_shown_before_there_is_a_configuration(vm: Vm) -> None:
    first = vm.keys()
    assert len(first["node"]) == 43 and first["delegate"].startswith("0x") and first["tls_spki_sha256"]
    assert vm.keys() == first
    assert {file.name for file in vm.delegation.parent.glob("*.key")} == {"node.key", "delegate.key", "tls.key"}
    assert vm.asked() == []


def test_what_is_sent_is_put_in_place_and_the_unit_starts(vm: Vm) -> None:
    signed = delegated(vm.keys())
    done = vm.put({CONFIG: GOOD, DELEGATION: signed})
    assert (done.returncode, json.loads(done.stdout)) == (0, {"changed": [CONFIG, DELEGATION], "active": True}), done
    assert (vm.config.read_bytes(), vm.delegation.read_bytes()) == (GOOD, signed)
    assert (vm.config.stat().st_mode & 0o777, vm.delegation.stat().st_mode & 0o777) == (0o640, 0o600)
    assert vm.asked() == ["restart waypost.service"]
    again = vm.put({CONFIG: GOOD, DELEGATION: signed})
    assert json.loads(again.stdout) == {"changed": [], "active": True}
    assert vm.asked() == ["restart waypost.service"]


def test_a_delegation_alone_needs_no_restart(vm: Vm) -> None:
    vm.put({CONFIG: GOOD})
    before = vm.asked()
    done = vm.put({DELEGATION: delegated(vm.keys())})
    assert json.loads(done.stdout) == {"changed": [DELEGATION], "active": True}
    assert vm.asked() == before


def test_other_models_are_a_reload(vm: Vm) -> None:
    vm.put({CONFIG: GOOD})
    vm.put({CONFIG: GOOD.replace(b"m.gguf", b"n.gguf")})
    assert vm.asked() == ["restart waypost.service", "reload waypost.service"]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (GOOD.replace(b"access", b"acess"), "has no option 'acess'"),
        (GOOD.replace(b'access = ["open"]', b""), "--registry needs --access"),
    ],
)
def test_a_configuration_that_the_release_refuses_changes_nothing(vm: Vm, bad: bytes, said: str) -> None:
    vm.config.write_bytes(GOOD)
    done = vm.put({CONFIG: bad, DELEGATION: b"{}"})
    assert done.returncode == 1 and said in done.stderr.decode() and done.stdout == b""
    assert vm.config.read_bytes() == GOOD and not vm.delegation.exists()
    assert vm.asked() == []


def test_a_delegation_that_readers_would_refuse_is_refused(vm: Vm) -> None:
    own, now = vm.keys(), int(time.time())
    good = delegated(own)
    check_delegation(good, own, now)
    wrong = {
        "is for the node": delegated(own, node=NodeKey(b"\x33" * 32).public),
        "is for 0x": delegated(own, delegate=OPERATOR.address),
        "has expired": delegated(own, issued_at=now - 100, expires_at=now - 1),
        "wrong signer": forged(good),
        "must be {": b"[]",
        "Expecting value": b"",
    }
    for said, text in wrong.items():
        with pytest.raises(SetupError, match=said):
            check_delegation(text, own, now)
    done = vm.put({CONFIG: GOOD, DELEGATION: wrong["has expired"]})
    assert done.returncode == 1 and b"has expired" in done.stderr
    assert not vm.config.exists() and not vm.delegation.exists() and vm.asked() == []


def delegated(own: Mapping[str, str], **changes: object) -> bytes:
    now = int(time.time())
    fields: dict[str, object] = {
        "operator": OPERATOR.address, "delegate": own["delegate"], "node": own["node"], "issued_at": now,
        "expires_at": now + 86_400, "url_suffixes": None,
    }  # fmt: skip
    return json.dumps(sign_delegation(Delegation.model_validate({**fields, **changes}), OPERATOR)).encode()


def forged(signed: bytes) -> bytes:
    """Another wallet's signature under the operator's name."""
    delegation = Delegation.read(json.loads(signed)["text"])
    return json.dumps(sign_delegation(delegation, Wallet(b"\x66" * 32))).encode()


def tar_of(entry: tarfile.TarInfo, content: bytes = b"") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def link() -> tarfile.TarInfo:
    entry = tarfile.TarInfo(CONFIG)
    entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/shadow"
    return entry


@pytest.mark.parametrize(
    "parcel",
    [
        b"", b"no tar", tar_of(tarfile.TarInfo("node.key"), b"x"), tar_of(tarfile.TarInfo("../etc/passwd"), b"x"),
        tar_of(tarfile.TarInfo("/etc/waypost/waypost.toml"), GOOD), tar_of(link()),
        tar_of(tarfile.TarInfo(CONFIG), GOOD)[:700],
        tar_of(tarfile.TarInfo(CONFIG), b"#" * (1024 * 1024 + 1)),
    ],
)  # fmt: skip
def test_a_parcel_that_holds_anything_else_is_refused(parcel: bytes) -> None:
    with pytest.raises(ParcelError):
        read_parcel(io.BytesIO(parcel))


def test_no_parcel_at_all_is_one_line(vm: Vm) -> None:
    done = vm.run(stdin=b"no tar")
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1)
    assert not vm.config.exists() and vm.asked() == []


def test_what_a_change_needs() -> None:
    other_port = GOOD.replace(b"https://node.example", b"https://other.example")
    longer = GOOD.replace(b"[node]", b"[node]\ndrain_s = 60")
    assert needed(GOOD, GOOD, [], active=True) is Action.NOTHING
    assert needed(GOOD, GOOD, [DELEGATION], active=True) is Action.NOTHING
    assert needed(None, None, [DELEGATION], active=False) is Action.NOTHING
    assert needed(GOOD, GOOD, [DELEGATION], active=False) is Action.RESTART
    assert needed(GOOD, longer, [CONFIG], active=True) is Action.RELOAD
    assert needed(GOOD, other_port, [CONFIG], active=True) is Action.RESTART
    assert needed(b"\xff", GOOD, [CONFIG], active=True) is Action.RESTART


def test_what_needs_no_restart_is_what_the_agent_takes_on_at_a_signal() -> None:
    assert REREAD == OF_MODELS | LIVE  # told twice, since deploy imports nothing of the node's
