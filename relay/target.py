"""What is asked of an engine behind `/model/proxy`: its path, read so that nobody can read it differently, and query.

The path that is compared with a model's allow-list is the very one that is sent on. Not here: the list (node).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from aiohttp import web
from yarl import URL

from relay.errors import BadRequest

PREFIX = "/model/proxy"
ROUTE = PREFIX + "/{path:(?s:.*)}"
_ASKED = re.compile(rf"(?:https?://[^/?#]*)?(?:/vm/[^/?#]+)?{PREFIX}(/[!\"$-.0->@-~/]*)(\?[!\"$-~]*)?")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_SAFE = "/:@!$&'()*+,;=~"


@dataclass(frozen=True)
class Target:
    """`path` is decoded and begins with a slash, `query` is as it came, empty or with its question mark."""

    path: str
    query: str = ""

    @classmethod
    def of(cls, request: web.Request) -> Target:
        """Raises BadRequest for a path that is not plain."""
        asked = _ASKED.fullmatch(request.raw_path)
        if asked is None:
            raise _odd("a part of it is not written as URLs are")
        raw, query = asked[1], asked[2] or ""
        return cls(_plain(raw), query)

    def url(self, base: str) -> URL:
        """As it is asked at `base`."""
        return URL(base + quote(self.path, safe=_SAFE) + self.query, encoded=True)


def _plain(raw: str) -> str:
    try:
        path = unquote(raw, errors="strict")
    except UnicodeDecodeError as error:
        raise _odd("it is not UTF-8") from error
    if "%2f" in raw.lower() or "\\" in path or "%" in path or _CONTROLS.search(path):
        raise _odd("it holds an encoded slash, a backslash, a percent sign or a control character")
    segments = path.split("/")[1:]
    if "" in segments[:-1]:
        raise _odd("it holds two slashes in a row")
    if any(segment.partition(";")[0] in (".", "..") for segment in segments):
        raise _odd("it holds a segment of dots")
    return path


def _odd(why: str) -> BadRequest:
    return BadRequest(f"The path behind {PREFIX} cannot be asked: {why}.", code="invalid_path")
