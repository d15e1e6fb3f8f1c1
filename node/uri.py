"""Where a model's weights come from: `NAME=URI` and the URI, read but not opened.

Imports the standard library alone, so that reading options is quick. Not here: opening a URI (weights).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+-]{0,127}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_LATER = ("hf", "https", "aleph")
_EXTERNAL = "openai+"
_LAST_PORT = 65535
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_SITE = re.compile(rf"https?://(?:(?:{_LABEL}\.)*{_LABEL}|\[[0-9a-fA-F:.]+\])(?::([1-9][0-9]{{0,4}}))?(?=[/?#]|\Z)")
_FIX = (
    "give the path of a model's file or folder, for example --model smollm2=/models/smollm2.gguf, "
    "or openai+http://HOST:PORT for an engine that already runs"
)


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
        digest = fragment.removeprefix("sha256=")
        if mark and (digest == fragment or not _DIGEST.fullmatch(digest)):
            raise ValueError(f"{text!r}: what follows # must be sha256= and 64 lower-case hex digits")
        return cls(Path(location).expanduser(), digest or None)


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
            raise ValueError(f"{text!r} names no engine; write openai+http://HOST:PORT, or openai+https://")
        if url[site.end() :] not in ("", "/", "/v1", "/v1/"):
            raise ValueError(f"{text!r}: write openai+{site[0]}, without path, query or fragment")
        return cls(site[0])


def parse_uri(text: str) -> WeightsUri | EngineUri:
    """Where a model is. Raises ValueError with the fix."""
    return EngineUri.parse(text) if text.startswith(_EXTERNAL) else WeightsUri.parse(text)


def split_model(text: str) -> tuple[str, str]:
    """`NAME=URI` -> (name, URI). Raises ValueError with the fix."""
    name, equals, uri = text.partition("=")
    if not equals or not uri:
        raise ValueError(f"{text!r} is not NAME=URI; {_FIX}")
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


def _refusal(scheme: str, location: str) -> str:
    if scheme in _LATER:
        return f"{location!r}: this version does not open {scheme}:// yet; download the file and give its path"
    return f"{location!r}: {scheme}: is not known; {_FIX}"
