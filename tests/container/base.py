"""The image that the others stand on, where no registry of images is at hand: Debian by debootstrap, without what a
slim image leaves out. Licences stay."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.container.images import Images
from tests.container.outside import apt_sources, sources_list

NAME = "localhost/waypost-base"
SUITE = "bookworm"
_LEFT_OUT = (
    "usr/share/man/*", "usr/share/locale/*", "usr/share/info/*",
    "var/cache/apt/*.bin", "var/cache/apt/archives/*.deb", "var/lib/apt/lists/*", "var/log/*",
)  # fmt: skip
_NOR_LATER = """\
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/man/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/info/*
"""


def ensure(images: Images, folder: Path) -> None:
    """Make it unless it is there."""
    if images.there(NAME):
        return
    tree = folder / "base"
    shutil.rmtree(tree, ignore_errors=True)
    mirror, _ = apt_sources(SUITE)[0]
    words = ("debootstrap", "--variant=minbase", "--include=ca-certificates", SUITE, str(tree), mirror)
    with images.log.open("ab") as log:
        done = subprocess.run(words, stdout=log, stderr=log)
    if done.returncode:
        raise SystemExit(f"waypost: debootstrap failed with status {done.returncode}; see {images.log}")
    (tree / "etc/apt/sources.list").write_text(sources_list(SUITE))
    (tree / "etc/dpkg/dpkg.cfg.d/slim").write_text(_NOR_LATER)
    _slim(tree)
    images.import_tree(NAME, tree)
    shutil.rmtree(tree)


def _slim(tree: Path) -> None:
    for pattern in _LEFT_OUT:
        for path in tree.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for path in (tree / "usr/share/doc").glob("*/*"):
        if path.name != "copyright":
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
