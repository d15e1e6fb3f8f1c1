"""Key files and the two signature schemes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from registry.keys import KeyFileError, NodeKey, Wallet, recover, verify_node


@pytest.mark.parametrize("kind", [Wallet, NodeKey])
def test_a_saved_key_is_loaded_again_and_never_overwritten(kind: type[Wallet] | type[NodeKey], tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = kind.new()
    key.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(path.read_text().strip()) == 64
    assert repr(kind.load(path)) == repr(key) and path.read_text().strip() not in repr(key)
    with pytest.raises(KeyFileError, match="exists already"):
        kind.new().save(path)
    assert repr(kind.load(path)) == repr(key)
    assert os.listdir(tmp_path) == ["key"]


def test_load_or_create_makes_a_key_once(tmp_path: Path) -> None:
    first = NodeKey.load_or_create(tmp_path / "key")
    assert NodeKey.load_or_create(tmp_path / "key").public == first.public


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o666])
def test_a_key_that_others_can_read_is_not_used(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "key"
    Wallet.new().save(path)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        Wallet.load(path)
    with pytest.raises(KeyFileError, match="chmod 600"):
        Wallet.load_or_create(path)


@pytest.mark.parametrize("content", ["", "x", "12" * 31, "12" * 33, "gg" * 32, "12" * 32 + "\n" + "12" * 32, "é" * 64])
def test_what_is_not_one_key_is_not_used(content: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError) as error:
        Wallet.load(path)
    assert str(error.value) == f"{path}: must hold one key of 64 hex digits and nothing else"


@pytest.mark.parametrize("content", ["00" * 32, "ff" * 32])
def test_a_number_outside_the_curve_is_no_wallet(content: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="not a usable key"):
        Wallet.load(path)


def test_a_missing_file_or_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="waypost key new"):
        Wallet.load(tmp_path / "none")
    with pytest.raises(KeyFileError, match="cannot be read"):
        Wallet.load(tmp_path)
    with pytest.raises(KeyFileError, match="check the folder"):
        Wallet.load_or_create(tmp_path / "folder" / "key")


def test_wallet_signatures_are_those_of_ethereum() -> None:
    wallet = Wallet(b"\x01" * 32)
    signature = wallet.sign("tag", "text")
    assert recover("tag", "text", signature) == wallet.address == Account.from_key(b"\x01" * 32).address.lower()
    message = "tag\n982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1"
    assert Account.recover_message(encode_defunct(text=message), signature=signature).lower() == wallet.address


def test_verify_node_takes_only_the_one_form() -> None:
    key = NodeKey(b"\x01" * 32)
    signature = key.sign(b"message")
    assert verify_node(key.public, b"message", signature)
    assert not verify_node(key.public, b"other", signature)
    for public in ("", key.public + "=", key.public[:-1], key.public[:-1] + "9", NodeKey.new().public):
        assert not verify_node(public, b"message", signature)
    for bent in ("", signature + "==", signature[:-1] + "h", signature[:-1], "é" * 86):
        assert not verify_node(key.public, b"message", bent)
