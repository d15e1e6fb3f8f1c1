"""Checks of an image that lies on a disk: what its file system holds, read without booting or mounting it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from deploy.vm import audit

_SECTOR_BYTES = 512


def check(image: Path, folder: Path) -> list[str]:
    """A line for each thing that holds; AssertionError for what does not."""
    raw, tree = folder / "looked-at.raw", folder / "looked-at"
    subprocess.run(("qemu-img", "convert", "-O", "raw", str(image), str(raw)), check=True)
    offset = _root_offset(raw)
    tree.mkdir()
    _tool("e2fsck", "-fn", f"{raw}?offset={offset}")
    _tool("debugfs", "-R", f"rdump / {tree}", f"{raw}?offset={offset}")
    try:
        return [*_secrets(tree), *_own(tree), f"raw {raw.stat().st_size // 2**20} MiB, its file system is sound"]
    finally:
        shutil.rmtree(tree)
        raw.unlink()


def _secrets(tree: Path) -> list[str]:
    found = list(audit.findings(tree))
    assert not found, "\n".join(found)
    files = sum(1 for file in tree.rglob("*") if file.is_file() and not file.is_symlink())
    assert files > 10_000, files
    return [f"{files} files looked through: no key, token, history, log, or identity of a machine"]


def _own(tree: Path) -> list[str]:
    users = [line.split(":") for line in (tree / "etc/shadow").read_text().splitlines()]
    assert all(fields[1] in ("*", "!", "!*", "") or fields[1].startswith("!") for fields in users)
    assert all(fields[1] for fields in users), "a user without a password"
    assert not (tree / "etc/waypost/waypost.toml").exists()
    return ["no user has a password; no configuration is baked in"]


def _root_offset(raw: Path) -> int:
    table = json.loads(subprocess.check_output(("sfdisk", "--json", str(raw))))["partitiontable"]
    return int(table["partitions"][-1]["start"]) * _SECTOR_BYTES


def _tool(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(words)}: {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
