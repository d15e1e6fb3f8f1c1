"""Looks through a tree for what must not be in an image: keys, tokens, histories, and what belongs to one machine.

By name and by content, in every file but those that a package brought and nobody has changed since: they are public.
A build ends where this finds anything; the test of the image asks it too.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

_BY_NAME = re.compile(
    r".*_history|\.lesshst|\.viminfo|authorized_keys2?|known_hosts|id_(rsa|dsa|ecdsa|ed25519)|ssh_host_.*_key(\.pub)?"
    r"|.*\.key|\.netrc|\.pgpass|\.npmrc|\.pypirc|pip\.conf|credentials|\.git-credentials|delegation\.json|state\.db"
    r"|instance-id|random-seed|\.env"
)
_BY_CONTENT = re.compile(
    rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{16}|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}\b"
    rb"|\bhf_[A-Za-z0-9]{34}\b|\bsk-[A-Za-z0-9]{40}|\bglpat-[A-Za-z0-9_-]{20}\b"
    rb"|://[^/\s:@'\"<>{}$%]+:[^/\s:@'\"<>{}$%]{6,}@"
)
_PASSWORD = re.compile(r"^[^:]+:(\$[^:]+)?:", re.MULTILINE)
_LOOKED_AT_BYTES = 4 * 1024 * 1024
_BINARY_WITHIN_BYTES = 8192  # of a file's begin: a zero byte there means that it is no text


def findings(root: Path) -> Iterator[str]:
    """A line for each: the path in the tree, and what is wrong with it."""
    brought = dict((*_of_debian(root), *_of_wheels(root)))
    for folder, _, files in os.walk(root):
        for name in sorted(files):
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink() and (what := _suspicion(path)) and not _public(path, brought):
                yield f"/{path.relative_to(root)}: {what}"
    yield from _of_a_machine(root)


def _suspicion(path: Path) -> str | None:
    if _BY_NAME.fullmatch(path.name):
        return "has a name that keys and histories have"
    with path.open("rb") as file:
        head = file.read(_LOOKED_AT_BYTES)
    if b"\0" not in head[:_BINARY_WITHIN_BYTES] and (found := _BY_CONTENT.search(head)):
        return f"looks like a secret ({found[0][:12].decode(errors='replace')}...)"
    return None


def _public(path: Path, brought: Mapping[Path, tuple[str, str]]) -> bool:
    """Whether a package brought it as it is."""
    kind, digest = brought.get(path, ("", ""))
    return bool(kind) and hashlib.new(kind, path.read_bytes(), usedforsecurity=False).hexdigest() == digest


def _of_debian(root: Path) -> Iterator[tuple[Path, tuple[str, str]]]:
    for listing in (root / "var/lib/dpkg/info").glob("*.md5sums"):
        for line in listing.read_text().splitlines():
            digest, _, name = line.partition("  ")
            yield root / name, ("md5", digest)


def _of_wheels(root: Path) -> Iterator[tuple[Path, tuple[str, str]]]:
    for record in (root / "opt").glob("**/*.dist-info/RECORD"):
        for name, digest, *_ in csv.reader(record.read_text().splitlines()):
            if digest.startswith("sha256="):
                plain = base64.urlsafe_b64decode(digest.removeprefix("sha256=") + "=").hex()
                yield record.parent.parent / name, ("sha256", plain)


def _of_a_machine(root: Path) -> Iterator[str]:
    identity = root / "etc/machine-id"
    if identity.exists() and identity.read_text().strip():
        yield "/etc/machine-id: is a machine's own"
    shadow = root / "etc/shadow"
    if shadow.exists() and _PASSWORD.search(shadow.read_text()):
        yield "/etc/shadow: a user has a password, or needs none"
    for folder in ("var/log", "var/lib/apt/lists", "tmp", "var/tmp"):
        if any(file.is_file() for file in (root / folder).rglob("*")):
            yield f"/{folder}: is not empty"
