"""A real nginx decides each row too: what it takes and we refuse, or the other way round, is meant so, and listed here.

nginx 1.22, as Debian 12 has it; another version may decide otherwise, so for others the differences are only printed.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

import h11
import pytest

from tests.wire.all_rows import ROWS
from tests.wire.nginx import PROGRAM, nginx
from tests.wire.raw_client import RawClient
from tests.wire.rows import Row
from tests.wire.upstream import Upstream, upstream

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="nginx is not installed")

WE_REFUSE = {
    "a bare LF is no line end to us: two that disagree on it let a request be smuggled past one of them": (
        "* bare LF*",
    ),
    "trailers are read by nginx as whatever it is, up to an empty line; ours must be headers, and none of framing": (
        "*: trailers, no colon", "*: trailers, a space before the colon", "*: trailers, a request line",
        "*: trailers, NUL", "*: trailers, a length", "*: trailers, a coding",
    ),
    "a header that is none is left out by nginx, and the rest taken": (
        "*: no colon", "*: a high byte in the name", "*: UTF-8 in the name", "*: a bracket in the name",
        "*: a slash in the name", "*: a quote in the name", "*: an at in the name",
    ),
    "RFC 9110, 5.5 lets a server refuse control characters": (
        "*: a control character in the value", "*: DEL in the value", "*: a vertical tab in the value",
    ),
    "RFC 9112, 3.2: an invalid Host must be refused": ("*: Host, a user",),
    "what is not HTTP/1.0 or HTTP/1.1 to the letter is not spoken here": (
        "*: a space last", "*: a version of two digits", "*: version 1.2",
    ),
}  # fmt: skip
NGINX_REFUSES = {"RFC 9110, 7.2 gives an empty Host to a target without an authority": ("*: Host, empty",)}


@dataclass
class Judge:
    port: int
    upstream: Upstream

    async def takes(self, row: Row) -> bool:
        """Whether nginx answers it well, and its word reaches the upstream."""
        self.upstream.asked.clear()
        async with RawClient.connected("127.0.0.1", self.port) as client:
            await client.send(row.followed)
            try:
                answer = await client.answer()
            except h11.RemoteProtocolError:  # HTTP/0.9's, or none
                return False
        return answer.status == 200 and (row.word is None or row.word in self.upstream.words)


@pytest.fixture(scope="module")
async def judge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Judge]:
    async with upstream() as node, nginx(tmp_path_factory.mktemp("nginx"), node.url) as port:
        yield Judge(port, node)


async def test_where_nginx_decides_otherwise_it_is_meant(judge: Judge) -> None:
    others = [row for row in ROWS if await judge.takes(row) is not row.taken]
    for row in others:
        print(f"{'we' if row.taken else 'nginx'} alone takes {row!r}: {reason(row)}")
    if not re.search(r"/1\.22\.", version()):
        pytest.skip(f"{version()} is not 1.22: its differences are only printed")
    assert [row for row in others if reason(row) is None] == []
    named = {pattern for table in (WE_REFUSE, NGINX_REFUSES) for patterns in table.values() for pattern in patterns}
    assert [each for each in named if not any(fnmatchcase(row.name, each) for row in others)] == [], "no difference"


def reason(row: Row) -> str | None:
    """Why we differ on purpose, if we do."""
    table = NGINX_REFUSES if row.taken else WE_REFUSE
    found = (why for why, patterns in table.items() if any(fnmatchcase(row.name, pattern) for pattern in patterns))
    return next(found, None)


def version() -> str:
    assert PROGRAM is not None
    return subprocess.run([PROGRAM, "-v"], capture_output=True, text=True, check=True, timeout=20).stderr.strip()
