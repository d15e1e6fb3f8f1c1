"""The hub's routes: what it says of a file before the CDN sends it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from urllib.parse import unquote

from tests.fakes.weights_host.answers import Answer
from tests.fakes.weights_host.files import File, git_hash, sha256

_PATH = re.compile(r"/(?P<owner>[^/]+)/(?P<name>[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>[^?]+)")
_CDN = re.compile(r"/cdn/(?P<version>\d+)/(?P<file>[^?]+)\?key=good")
_BRANCHES = ("main", "v1", "refs/pr/1")
_SMALL = (".json", ".txt")  # kept in git itself, so that their ETag is no SHA-256


class Hub:
    """Every owner but a few has every repository, with all files of this host; a commit is a version of them."""

    def __init__(self, files: Mapping[str, File]) -> None:
        self._files = files

    def answer(self, path: str, asked: Mapping[str, str], cdn: str) -> Answer | None:
        """What the hub itself says; None for a small file, which it sends itself."""
        match = _PATH.fullmatch(path)
        assert match is not None
        if match["owner"] == "gated" and asked.get("authorization") != "Bearer good":
            return _error(403 if "authorization" in asked else 401, "GatedRepo")
        if match["owner"] in ("private", "nobody"):
            return _error(401, "RepoNotFound")
        version = self._version(unquote(match["revision"]))
        if version is None:
            return _error(404, "RevisionNotFound")
        name = unquote(match["file"]).rpartition("/")[2]
        if name not in self._files:
            return _error(404, "EntryNotFound")
        content = self._files[name].at(version)
        said = {"X-Repo-Commit": _commit(version), "X-Linked-Size": str(len(content))}
        if name.endswith(_SMALL):
            said |= {"ETag": f'"{git_hash(content)}"', "Content-Type": "text/plain"}
            return Answer(200, {**said, "Content-Length": str(len(content))}, content)
        digest = sha256(content)
        said |= {"X-Linked-ETag": f'"{digest}"', "ETag": f'"{digest}"', "Accept-Ranges": "bytes"}
        return Answer(302, {**said, "Location": f"{cdn}/cdn/{version}/{name}?key=good", "Content-Length": "0"})

    def content(self, path: str, file: File) -> bytes:
        """The bytes that a path of the CDN names, else the present ones."""
        match = _CDN.fullmatch(path)
        return file.content if match is None else file.at(int(match["version"]))

    def _version(self, revision: str) -> int | None:
        newest = max(file.version for file in self._files.values())
        if revision in _BRANCHES:
            return newest
        return next((version for version in range(newest + 1) if _commit(version) == revision), None)


def _commit(version: int) -> str:
    return hashlib.sha1(b"commit %d" % version).hexdigest()


def _error(status: int, code: str) -> Answer:
    return Answer(status, {"X-Error-Code": code, "X-Error-Message": code, "Content-Length": "0"})
