"""An engine that is a child process of this node, and speaks HTTP on a Unix socket or a loopback port of its own.

Not here: the life of its process (process), and what a particular program is told (llama, images, audio).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import aiohttp

from node.engines.engine import Door
from node.process import Process, ProcessLimits
from relay.answer import Answer, Relayed
from relay.call import Call
from relay.errors import ApiError, from_upstream
from relay.http import make_connector, make_session
from relay.limits import Limits
from relay.stream import ask
from relay.wire.origin import Origin
from relay.wire.upstreams import Upstreams
from relay.wire.watch import Watch

_PROBE_S = 5.0


class ChildEngine:
    """`address` is a socket's path, or a port of 127.0.0.1. `run` keeps the program up; `ask` sends it a call.

    `weights` must be the same file at each start: its digest is what is advertised.
    """

    health_path = "/health"

    def __init__(
        self,
        name: str,
        slots: int,
        command: Sequence[str],
        environment: Mapping[str, str],
        address: Path | int,
        process_limits: ProcessLimits,
        limits: Limits,
        *,
        weights: Path | None = None,
        hopeless: Callable[[Sequence[str]], str | None] = lambda _: None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.slots = slots
        self._address = address
        self._limits = limits
        self._session: aiohttp.ClientSession | None = None
        self._upstreams: Upstreams | None = None
        self._weights = weights
        self._opened = _identity(weights)
        self.life = Process(
            name, command, environment, prepare=self._prepare, probe=self._healthy,
            limits=process_limits, hopeless=hopeless, on_change=on_change,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<{type(self).__name__} slots={self.slots} {self.life!r}>"

    async def run(self) -> None:
        """Keep the program up until cancelled."""
        with closing(Upstreams(None, Watch())) as self._upstreams:
            async with make_session(self._connector(), connect_s=self._limits.connect_s) as self._session:
                await self.life.run()

    @property
    def door(self) -> Door:
        assert self._session is not None
        # With a socket the name is for the Host header alone.
        host = "engine" if isinstance(self._address, Path) else f"127.0.0.1:{self._address}"
        return Door(self._session, f"http://{host}", lambda status, body, _: self.translate(status, body))

    async def ask(self, call: Call) -> Answer:
        """Send the call's body as it stands. Raises ApiError."""
        return await self.forward(call)

    async def forward(self, call: Call) -> Relayed:
        """The program's answer, if it is a good one. Raises ApiError."""
        assert self._upstreams is not None
        answer = await ask(self._upstreams, self._origin, f"/v1/{call.endpoint.path}", call, {}, self._limits)
        if not answer.ok:
            answer.close()
            raise self.translate(answer.status, answer.first)
        return answer

    def translate(self, status: int, body: bytes) -> ApiError:
        """The program's error answer, as an error of ours with its message kept."""
        return from_upstream(status, body)

    @property
    def _origin(self) -> Origin:
        # A program may close after a stream, though it says keep-alive: a kept connection would break the next call.
        if isinstance(self._address, Path):
            return Origin.on_socket(str(self._address), "engine", keep=False)
        return Origin("127.0.0.1", self._address)

    def _connector(self) -> aiohttp.BaseConnector:
        if isinstance(self._address, Path):
            return aiohttp.UnixConnector(str(self._address), limit=0, force_close=True)
        return make_connector()

    def _prepare(self) -> None:
        """Raises OSError where it must not be started."""
        if _identity(self._weights) != self._opened:
            raise OSError(f"{self._weights} is gone, or another file than was opened; SIGHUP opens it anew")
        if isinstance(self._address, Path):
            self._address.unlink(missing_ok=True)  # a stale one makes the start fail

    async def _healthy(self) -> bool:
        door = self.door
        try:
            async with door.session.get(
                door.url + self.health_path, timeout=aiohttp.ClientTimeout(_PROBE_S)
            ) as response:
                return response.status == 200
        except (TimeoutError, aiohttp.ClientError, OSError):
            return False


def _identity(path: Path | None) -> tuple[int, int, int] | None:
    """What tells a file from another in its place; None if there is none."""
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return None
    return found and (found.st_size, found.st_mtime_ns, found.st_ino)
