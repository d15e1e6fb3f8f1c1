"""What stands behind every target of bench.relay: the synthetic engine, a certificate, a folder.

Not here: the targets (relay_peers, relay_ours).
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from bench.relay_certificate import Certificate, make
from bench.relay_load import Door
from registry.keys import NodeKey

ROOT = Path(__file__).parent.parent
_UP_S = 30.0


@dataclass(frozen=True)
class Scene:
    """`port` and `tls_port` are the engine's, `node` the key that it proves."""

    folder: Path
    certificate: Certificate
    port: int
    tls_port: int
    node: NodeKey

    def trusting(self) -> ssl.SSLContext:
        """For clients: they check the certificate as any client does."""
        context = ssl.create_default_context(cafile=self.certificate.file)
        context.check_hostname = False  # asyncio is given no name
        return context


@dataclass(frozen=True)
class Running:
    """A target that answers: where, and the processes whose cost is its own."""

    door: Door
    pids: tuple[int, ...]


Start = Callable[[Scene], AbstractAsyncContextManager[Running]]


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    """The engine, listening until the context ends."""
    certificate, node = make(folder), NodeKey.new()
    node.save(folder / "engine.key")
    words = ["-m", "bench.relay_upstream", "--certificate", str(certificate.file), "--spki", certificate.spki]
    words += ["--node-key", str(folder / "engine.key")]
    pipe = asyncio.subprocess.PIPE
    engine = await asyncio.create_subprocess_exec(sys.executable, *words, stdin=pipe, stdout=pipe, cwd=ROOT)
    assert engine.stdin is not None and engine.stdout is not None
    try:
        told = orjson.loads(await asyncio.wait_for(engine.stdout.readline(), _UP_S))
        yield Scene(folder, certificate, told["port"], told["tls_port"], node)
    finally:
        engine.stdin.close()
        await asyncio.wait_for(engine.wait(), _UP_S)
