"""What must not be in an image is found, wherever it is; what packages bring is not taken for it."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from deploy.vm.audit import findings

PEM = b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU=\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in {"etc/shadow": "root:!*:19000:0:::::\n", "etc/machine-id": "", "usr/bin/ls": "\0ELF"}.items():
        write(tmp_path, name, text.encode())
    return tmp_path


def write(tree: Path, name: str, content: bytes) -> None:
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / name).write_bytes(content)


def test_a_clean_tree_is_clean(tree: Path) -> None:
    assert list(findings(tree)) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("root/.bash_history", b"ls\n"),
        ("root/.ssh/authorized_keys", b"ssh-ed25519 AAAA me\n"),
        ("etc/ssh/ssh_host_ed25519_key", b"x"),
        ("var/lib/waypost/node.key", b"11" * 32),
        ("var/lib/waypost/delegation.json", b"{}"),
        ("etc/pip.conf", b"[global]\n"),
        ("usr/share/notes", PEM),
        ("etc/apt/auth", b"deb https://reader:correct-horse@packages.example stable main\n"),
        ("opt/script.sh", b"export HF_TOKEN=hf_" + b"a" * 34 + b"\n"),
        ("etc/machine-id", b"0123456789abcdef0123456789abcdef\n"),
        ("etc/shadow", b"root:$y$j9T$abc$def:19000:0:::::\n"),
        ("etc/shadow", b"root::19000:0:::::\n"),
        ("var/log/dpkg.log", b"installed\n"),
    ],
)
def test_what_must_not_be_there_is_found(tree: Path, name: str, content: bytes) -> None:
    write(tree, name, content)
    (found,) = findings(tree)
    assert found.startswith(f"/{name.rpartition('/')[0] if 'log' in name else name}: ")
    assert b"correct-horse" not in found.encode()


def test_what_a_package_brought_is_public_until_it_is_changed(tree: Path) -> None:
    debian, wheel = "usr/share/doc/openssl/example.pem", "opt/env/site-packages/lib/tests/key.pem"
    write(tree, debian, PEM)
    write(tree, wheel, PEM)
    assert len(list(findings(tree))) == 2
    plain = hashlib.md5(PEM, usedforsecurity=False).hexdigest()
    write(tree, "var/lib/dpkg/info/openssl.md5sums", f"{plain}  {debian}\n".encode())
    digest = base64.urlsafe_b64encode(hashlib.sha256(PEM).digest()).rstrip(b"=").decode()
    write(tree, "opt/env/site-packages/lib-1.dist-info/RECORD", f"lib/tests/key.pem,sha256={digest},9\n".encode())
    assert list(findings(tree)) == []
    for name in (debian, wheel):
        write(tree, name, PEM + b"and mine\n")
    assert len(list(findings(tree))) == 2
