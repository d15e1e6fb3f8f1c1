"""Keep each library once: `once.py FOLDER`, while an image is built.

Wheels hold no links, so that llama.cpp's libraries lie in theirs under three names, in two folders: twins become links
to the first of them. Not here: anything that is no shared library.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path


def main() -> int:
    """Print what was saved."""
    (folder,) = sys.argv[1:]
    print(f"{folder}: {link_twins(Path(folder)) // 2**20} MiB of libraries were there twice")
    return 0


def link_twins(folder: Path) -> int:
    """Relative links, so that the folder can be copied elsewhere. Returns the bytes saved."""
    saved = 0
    first: dict[str, Path] = {}
    for file in sorted(each for each in folder.rglob("*.so*") if each.is_file() and not each.is_symlink()):
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        kept = first.setdefault(digest, file)
        if kept != file:
            saved += file.stat().st_size
            file.unlink()
            file.symlink_to(os.path.relpath(kept, file.parent))
    return saved


if __name__ == "__main__":
    sys.exit(main())
