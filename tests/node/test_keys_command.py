"""`waypost node keys`: what an operator, or a program of theirs, has to know of a node before it is published."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

from node.keys import keys
from node.keys_config import KeysConfig
from registry.keys import NodeKey, Wallet
from tests.commands import run
from tests.node.tls_scene import spki_of

NAMES = ["node", "delegate", "tls_spki_sha256", "public_url", "vm_hash", "delegation", "version"]


def _keys(folder: Path, *words: str, **more: Any) -> dict[str, str | None]:
    done = run(folder, "node", "keys", *words, **more)
    assert (done.status, done.err, len(done.out.splitlines())) == (0, "", 1)
    found: dict[str, str | None] = json.loads(done.out)
    assert list(found) == NAMES
    return found


def test_it_makes_the_keys_once_and_prints_no_secret(tmp_path: Path) -> None:
    first = _keys(tmp_path, "--state", "made", "--tls-key", "tls.key")
    assert _keys(tmp_path, "--state", "made", "--tls-key", "tls.key") == first
    node, delegate = NodeKey.load(tmp_path / "made/node.key"), Wallet.load(tmp_path / "made/delegate.key")
    assert (first["node"], first["delegate"]) == (node.public, delegate.address)
    assert first["tls_spki_sha256"] == spki_of(tmp_path / "tls.key")
    assert (first["public_url"], first["vm_hash"]) == (None, None)
    assert first["delegation"] == "made/delegation.json"
    files = [tmp_path / name for name in ("made/node.key", "made/delegate.key", "tls.key")]
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600] * 3
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o700
    assert not any(file.read_text().strip() in str(first) for file in files[:2])


def test_it_reads_a_nodes_own_file_and_needs_no_model_in_it(tmp_path: Path) -> None:
    file = f"""
[node]
listen = "*:443"
access = ["open"]
registry = ["sqlite:///{tmp_path}/r.db"]
state = "{tmp_path}/own"
node_key = "{tmp_path}/n.key"
tls_key = "{tmp_path}/t.key"
delegation = "/etc/delegation.json"
public_url = "https://gpu1.example"
"""
    found = _keys(tmp_path, toml=file)
    assert found["node"] == NodeKey.load(tmp_path / "n.key").public
    assert (found["public_url"], found["delegation"]) == ("https://gpu1.example", "/etc/delegation.json")
    assert found["tls_spki_sha256"] == spki_of(tmp_path / "t.key")


def test_without_a_tls_key_there_is_none(tmp_path: Path) -> None:
    assert _keys(tmp_path, "--state", "made")["tls_spki_sha256"] is None
    assert not (tmp_path / "tls.key").exists()


def test_one_of_them_can_be_had_alone(tmp_path: Path) -> None:
    whole = _keys(tmp_path, "--state", "made")
    for name in ("delegate", "node", "version"):
        done = run(tmp_path, "node", "keys", "--state", "made", "--only", name)
        assert (done.status, done.out) == (0, f"{whole[name]}\n")
    assert run(tmp_path, "node", "keys", "--state", "made", "--only", "public_url").out == "\n"


def test_on_an_aleph_instance_it_knows_its_name(tmp_path: Path) -> None:
    host = base64.b32encode(bytes(32)).decode().lower().rstrip("=")
    found = keys(KeysConfig(state=tmp_path), host)
    assert found["public_url"] == "https://abandon-abandon-abandon-abandon.2n6.me"
    assert found["vm_hash"] == "0" * 64


def test_a_key_that_cannot_be_made_is_told_of_in_a_line(tmp_path: Path) -> None:
    done = run(tmp_path, "node", "keys", "--state", "made", "--tls-key", "nowhere/tls.key")
    assert (done.status, done.out, len(done.err.splitlines())) == (1, "", 1)
    assert done.err.startswith("waypost: nowhere/tls.key: cannot be written (No such file or directory); check")
