"""The least that a hop in Python can be: bytes from one transport to another, each way, and nothing is understood.

A reference for bench.relay: what a relay costs on this loop before it does anything for anybody. Not here: HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import cast

import uvloop


class Side(asyncio.Protocol):
    """One end; `other` is the end that gets its bytes."""

    other: Side
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are none by name

    def data_received(self, data: bytes) -> None:
        self.other.transport.write(data)

    def pause_writing(self) -> None:
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if hasattr(self.other, "transport"):
            self.other.transport.close()


class Client(Side):
    """A client's end, with a connection of its own to the engine, kept as long as the client's."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._early: list[bytes] | None = []  # what came before there was anywhere to send it
        self.other = Side()
        self.other.other = self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._task = asyncio.get_running_loop().create_task(self._connect())

    def data_received(self, data: bytes) -> None:
        if self._early is None:
            self.other.transport.write(data)
        else:
            self._early.append(data)

    async def _connect(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self.other, "127.0.0.1", self._port)
        except OSError:
            self.transport.abort()
            return
        early, self._early = self._early, None
        self.other.transport.writelines(early or [])
        if self.transport.is_closing():
            self.other.transport.close()


async def serve(port: int, upstream: int) -> None:
    """Until it is ended."""
    server = await asyncio.get_running_loop().create_server(lambda: Client(upstream), "127.0.0.1", port, backlog=8192)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.relay_hop", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", type=int, required=True, help="port of the engine")
    given = parser.parse_args()
    uvloop.run(serve(given.port, given.upstream))


if __name__ == "__main__":
    main()
