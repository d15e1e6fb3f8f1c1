"""Where a model's weights come from: `NAME=URI` and the URI, read but not opened.

Imports the standard library alone, so that reading options is quick. Not here: fetching what a URI names (store),
opening a file (weights).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+-]{0,127}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
REMOTE = ("hf", "https", "http", "aleph")
FETCHED_SUFFIXES = (".gguf", ".safetensors", ".ckpt", ".onnx")
PART = re.compile(r"(?P<stem>.+)-(?P<part>\d{5})-of-(?P<all>\d{5})\.gguf")
_EXTERNAL = "openai+"
_LAST_PORT = 65535
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_SITE = re.compile(rf"https?://(?:(?:{_LABEL}\.)*{_LABEL}|\[[0-9a-fA-F:.]+\])(?::([1-9][0-9]{{0,4}}))?(?=[/?#]|\Z)")
_FIX = (
    "give the path of a model's file or folder, for example --model smollm2=/models/smollm2.gguf, "
    "or hf://OWNER/REPO/FILE.gguf, https://HOST/FILE.gguf, aleph://ITEM_HASH, "
    "or openai+http://HOST:PORT for an engine that already runs"
)
_WORD = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_-])?"
_HUB = re.compile(rf"(?P<repo>{_WORD}/{_WORD})(?:@(?P<revision>[A-Za-z0-9._%-]+))?(?:/(?P<file>[^?]+))?")
_HUB_OTHERS = ("datasets", "spaces", "models", "kernels", "buckets")
_MOST_NAME_BYTES = 200  # a file system takes 255, and names of ours are a little longer
_MOST_PARTS = 1000


@dataclass(frozen=True)
class WeightsUri:
    """A file on this machine, and the digest that it must have if one was asked for."""

    path: Path
    sha256: str | None = None

    @classmethod
    def parse(cls, text: str) -> WeightsUri:
        """Raises ValueError with the fix for anything but a path with an optional `#sha256=...`."""
        location, mark, fragment = text.partition("#")
        scheme = _SCHEME.match(location)
        if scheme is not None:
            raise ValueError(_refusal(scheme[1].lower(), location))
        if not location:
            raise ValueError(f"{text!r} names no file; {_FIX}")
        return cls(Path(location).expanduser(), _read_digest(text, mark, fragment))


@dataclass(frozen=True)
class HubFile:
    """A file of a model's repository on the hub. `repo` is owner/name, `revision` a branch, tag or commit."""

    repo: str
    revision: str | None
    file: str


@dataclass(frozen=True)
class RemoteUri:
    """Weights elsewhere. `scheme` is one of REMOTE, `location` what follows `://` up to the `#`.

    `sha256` is what `Weights.sha256` must be: of one file its digest, of several that of all together.
    """

    scheme: str
    location: str
    sha256: str | None = None

    def __str__(self) -> str:
        return self.source + (f"#sha256={self.sha256}" if self.sha256 else "")

    @property
    def source(self) -> str:
        """All but the digest: what is the same place has the same source."""
        return f"{self.scheme}://{self.location}"

    @property
    def shown(self) -> str:
        """The source for people and logs: without a query or a user, which may be secret."""
        return _shown(self.source)

    @property
    def hub(self) -> HubFile:
        """Of an `hf` URI."""
        match = _HUB.fullmatch(self.location)
        assert match is not None and match["file"] is not None
        revision = match["revision"]
        return HubFile(match["repo"], None if revision is None else unquote(revision), match["file"])

    @property
    def names(self) -> tuple[str, ...]:
        """The files that make the model: all parts of a split GGUF; with a voice the settings beside it."""
        name = self._name
        if part := PART.fullmatch(name):
            return tuple(f"{part['stem']}-{at:05}-of-{part['all']}.gguf" for at in range(1, int(part["all"]) + 1))
        return (name, f"{name}.json") if name.endswith(".onnx") else (name,)

    @property
    def _name(self) -> str:
        """The first file's own name."""
        if self.scheme == "aleph":
            return f"{self.location}.gguf"
        path = self.location.partition("?")[0].partition("/")[2]
        return unquote(path.rpartition("/")[2]) if self.scheme != "hf" else path.rpartition("/")[2]

    @classmethod
    def parse(cls, text: str) -> RemoteUri:
        """Raises ValueError with the fix; it repeats no password and no query."""
        whole, mark, fragment = text.partition("#")
        scheme, _, rest = whole.partition(":")
        uri, location = cls(scheme.lower(), rest.removeprefix("//")), rest.removeprefix("//")
        if not text.isprintable() or " " in text or not location or location == rest:
            raise ValueError(f"{uri.shown!r} is no URI of a file; {_FIX}")
        {"hf": _check_hub, "aleph": _check_aleph}.get(uri.scheme, _check_web)(uri)
        _check_name(uri)
        return cls(uri.scheme, location, _read_digest(uri.shown, mark, fragment))


@dataclass(frozen=True)
class EngineUri:
    """An engine that runs elsewhere and speaks OpenAI's API: `url` is http(s)://host[:port], without a path."""

    url: str

    @classmethod
    def parse(cls, text: str) -> EngineUri:
        """Raises ValueError with the fix for anything but `openai+http(s)://host[:port]`; `/v1` may follow."""
        url = text.removeprefix(_EXTERNAL)
        site = _SITE.match(url)
        if site is None or int(site[1] or 0) > _LAST_PORT:
            raise ValueError(f"{_shown(text)!r} names no engine; write openai+http://HOST:PORT, or openai+https://")
        if url[site.end() :] not in ("", "/", "/v1", "/v1/"):
            raise ValueError(f"{_shown(text)!r}: write openai+{site[0]}, without path, query or fragment")
        return cls(site[0])


def parse_uri(text: str) -> WeightsUri | RemoteUri | EngineUri:
    """Where a model is. Raises ValueError with the fix."""
    if text.startswith(_EXTERNAL):
        return EngineUri.parse(text)
    scheme = _SCHEME.match(text)
    return RemoteUri.parse(text) if scheme and scheme[1].lower() in REMOTE else WeightsUri.parse(text)


def split_model(text: str) -> tuple[str, str]:
    """`NAME=URI` -> (name, URI). Raises ValueError with the fix."""
    name, equals, uri = text.partition("=")
    if not equals or not uri or "://" in name:
        raise ValueError(f"{_shown(text)!r} is not NAME=URI; {_FIX}")
    check_name(name)
    parse_uri(uri)
    return name, uri


def check_name(name: str) -> str:
    """The name, if it may name a model. Raises ValueError with the rule."""
    if not MODEL_NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot name a model; use letters, digits and . _ : / + -, a letter or digit first, at most 128"
        )
    return name


def _shown(text: str) -> str:
    """Without a query, a fragment or a user, which may be secret."""
    scheme, mark, rest = text.partition("#")[0].partition("?")[0].partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{mark}{authority.rpartition('@')[2]}{slash}{path}"


def _refusal(scheme: str, location: str) -> str:
    return f"{_shown(location)!r}: {scheme}: is not known; {_FIX}"


def _read_digest(shown: str, mark: str, fragment: str) -> str | None:
    digest = fragment.removeprefix("sha256=")
    if mark and (digest == fragment or not _DIGEST.fullmatch(digest)):
        raise ValueError(f"{shown!r}: what follows # must be sha256= and 64 lower-case hex digits")
    return digest or None


def _check_hub(uri: RemoteUri) -> None:
    match = _HUB.fullmatch(uri.location)
    if match is None or uri.location.partition("/")[0] in _HUB_OTHERS:
        raise ValueError(f"{uri.shown!r} is no file of a model; write hf://OWNER/REPO/FILE.gguf, @REVISION after REPO")
    if match["file"] is None:
        raise ValueError(f"{uri.shown!r} is a whole repository; name its file: {uri.shown}/FILE.gguf")
    if any(part in ("", ".", "..") for part in match["file"].split("/")):
        raise ValueError(f"{uri.shown!r}: the path of a file has no empty part, no . and no ..")


def _check_aleph(uri: RemoteUri) -> None:
    if not _DIGEST.fullmatch(uri.location):
        raise ValueError(f"{uri.shown!r}: write aleph:// and the 64 lower-case hex digits of a STORE message")


def _check_web(uri: RemoteUri) -> None:
    authority = re.split(r"[/?]", uri.location, maxsplit=1)[0]
    if "@" in authority:
        raise ValueError(
            f"{uri.shown!r}: a URI with a user or a password would be shown in logs; leave them out "
            "(where a host insists, download the file and give its path)"
        )
    site = _SITE.match(uri.source)
    if site is None or int(site[1] or 0) > _LAST_PORT:
        raise ValueError(f"{uri.shown!r} names no host; write {uri.scheme}://HOST/FILE.gguf")


def _check_name(uri: RemoteUri) -> None:
    """The name becomes a file's on this machine."""
    name = uri.names[0] if uri.scheme == "aleph" else uri._name
    if not name.endswith(FETCHED_SUFFIXES) or name in FETCHED_SUFFIXES:
        raise ValueError(
            f"{uri.shown!r}: the URI must end in the name of one file, {', '.join(FETCHED_SUFFIXES)}; "
            "of other models download the folder and give its path"
        )
    if (
        not name.isprintable()
        or name.startswith(".")
        or set("/\\") & set(name)
        or len(name.encode()) > _MOST_NAME_BYTES
    ):
        raise ValueError(f"{uri.shown!r}: {name!r} cannot be a file's name here; download it and give its path")
    part = PART.fullmatch(name)
    if part and (int(part["part"]) != 1 or not 1 <= int(part["all"]) <= _MOST_PARTS):
        raise ValueError(
            f"{uri.shown!r}: it is one of several parts; give the one that ends in -00001-of-{part['all']}.gguf"
        )
