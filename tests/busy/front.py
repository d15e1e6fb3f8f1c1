"""A real HAProxy: one address for several gateways, asked over `GET /health` which of them take requests.

Not here: the gateways.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import shutil
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.programs import free_port

PROGRAM = shutil.which("haproxy", path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin:/sbin:/bin")
_UP_S = 90.0
# No retry-on: what a gateway refuses, or leaves without an answer, is not sent again, and is lost. That nothing is lost
# at a restart is then the gateways' doing: they give notice for longer than HAProxy takes to look at their health.
_SETTINGS = """
global
  nbthread 1
defaults
  mode http
  option http-no-delay
  option redispatch 1
  retries 3
  timeout connect 2s
  timeout check 2s
  timeout client 1h
  timeout server 1h
frontend clients
  bind 127.0.0.1:{port}
  default_backend gateways
backend gateways
  balance roundrobin
  option httpchk GET /health
  http-check expect status 200
  default-server check inter 200ms fall 1 rise 1
{servers}
frontend looking
  bind 127.0.0.1:{looking}
  stats enable
  stats uri /
"""


@dataclass(frozen=True)
class Front:
    port: int
    looking: int

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def takes(self, names: set[str]) -> None:
        """Wait until exactly these are sent requests."""
        up: set[str] = set()
        try:
            async with asyncio.timeout(_UP_S), aiohttp.ClientSession() as session:
                while up != names:
                    up = await self._up(session)
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"HAProxy sends to {up} and not to {names}") from None

    async def _up(self, session: aiohttp.ClientSession) -> set[str]:
        with contextlib.suppress(aiohttp.ClientError):
            async with session.get(f"http://127.0.0.1:{self.looking}/;csv") as response:
                rows = list(csv.DictReader((await response.text()).lstrip("# ").splitlines()))
            servers = [row for row in rows if row["pxname"] == "gateways" and row["svname"] != "BACKEND"]
            return {row["svname"] for row in servers if row["status"] == "UP"}
        return set()


@contextlib.asynccontextmanager
async def front(folder: Path, ports: Mapping[str, int]) -> AsyncIterator[Front]:
    """It runs before these gateways, by name."""
    assert PROGRAM is not None
    made, settings = Front(free_port(), free_port()), folder / "haproxy.cfg"
    servers = "\n".join(f"  server {name} 127.0.0.1:{port}" for name, port in ports.items())
    settings.write_text(_SETTINGS.format(port=made.port, looking=made.looking, servers=servers))
    with (folder / "haproxy.txt").open("wb") as log:
        process = await asyncio.create_subprocess_exec(PROGRAM, "-db", "-f", str(settings), stdout=log, stderr=log)
    try:
        await made.takes(set(ports))
        yield made
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 90)
