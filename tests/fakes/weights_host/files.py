"""The files of the host: bytes made from a name and a version, and what a server and a hub say of them."""

from __future__ import annotations

import hashlib
import random


class File:
    """One file, in its present version and all earlier ones."""

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self.version = 0
        self.tagged = 0  # the version that its ETag tells of
        self._contents = [self._make(0)]

    @property
    def content(self) -> bytes:
        return self._contents[self.version]

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self._contents[self.tagged]).hexdigest()}"'

    @property
    def modified(self) -> str:
        return f"Wed, 01 Jan 2020 00:00:{self.tagged:02} GMT"

    def at(self, version: int) -> bytes:
        """As it was in a commit: a file that did not change since is in it too."""
        return self._contents[min(version, self.version)]

    def change(self, tell: bool) -> None:
        self.version += 1
        self._contents.append(self._make(self.version))
        self.tagged = self.version if tell else self.tagged

    def _make(self, version: int) -> bytes:
        made = random.Random(f"{self.name} {version}").randbytes(self.size)
        return made if not self.name.endswith(".gguf") else b"GGUF" + made[4:]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
