"""What must be true of the files of an image, whatever it runs. Not here: running it (engine)."""

from __future__ import annotations

import json
import re
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.container.images import Image
from tests.programs import ROOT

_NOT_THERE = ("cc", "gcc", "g++", "cmake", "make", "git", "curl", "pip", "pip3", "npm", "node")
_SECRET = re.compile(
    r".*\.key|.*_history|id_(rsa|ed25519|ecdsa)|authorized_keys|pip\.conf|\.?npmrc|\.netrc|ssh_host_.*"
)
_ENGINE = ("llama_cpp", "bin/llama-server")


def look_into(target: str, image: Image, tree: Path) -> None:
    """AssertionError names what is wrong."""
    number, _, group = image.user.partition(":")
    assert number.isdigit() and int(number) > 0 and int(group) > 0, f"{target} runs as {image.user!r}"
    programs = [
        name for name in _NOT_THERE for folder in ("usr/bin", "opt/waypost/bin") if (tree / folder / name).exists()
    ]
    assert not programs, f"{target} has {programs}"
    secrets = [file for file in _files(tree) if _SECRET.fullmatch(file.name)]
    assert not secrets, f"{target} holds {secrets}"
    owned = [
        file
        for file in _files(tree / "opt")
        if file.lstat().st_uid or (file.lstat().st_mode & 0o022 and not file.is_symlink())
    ]
    assert not owned, f"{target}: its user could change {owned[:5]}"
    assert image.healthcheck and image.labels["org.opencontainers.image.version"]
    if target != "chain":
        _waypost(target, image, tree)


def _waypost(target: str, image: Image, tree: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert image.labels["org.opencontainers.image.version"] == version
    (packages,) = tree.glob("opt/waypost/lib/python3*/site-packages")
    engines = [name for name in _ENGINE if (packages / name).exists()]
    assert (not engines) if target == "gateway" else (len(engines) == len(_ENGINE)), f"{target} has {engines}"
    state = (tree / "var/lib/waypost").stat()
    assert (state.st_uid, stat.S_IMODE(state.st_mode)) == (int(image.user.partition(":")[0]), 0o700)
    bill = json.loads((tree / "usr/share/waypost/sbom.json").read_text())
    named = {component["name"] for component in bill["components"]}
    assert bill["metadata"]["component"]["version"] == version
    assert {"aiohttp", "libc6", "python3"} <= named, f"{target}: the SBOM lacks what is there"
    assert ("llama-cpp-python" in named) == (target != "gateway")
    print(f"  {target:<10} user {image.user}, {len(named)} packages in its SBOM", flush=True)


def _files(tree: Path) -> Iterator[Path]:
    return (file for file in tree.rglob("*") if file.is_symlink() or file.is_file())
