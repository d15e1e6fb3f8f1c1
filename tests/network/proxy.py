"""A TCP proxy, as a program of its own, that gives every byte a delay on its way, each way.

With `--dial-in NAMESPACE` it listens where it was started and dials from inside that network namespace: the one door
into a network that nothing else can see. A reset at one end is one at the other, and so is an end in order.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import os
import socket
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_PIECE_BYTES = 64 * 1024
_WAITING = 1024  # pieces on their way at once; a reader faster than that waits

_Piece = tuple[float, bytes | None]  # when it is due, and what: None is a reset, b"" the end


class Proxy:
    def __init__(self, to: tuple[str, int], delay_s: float) -> None:
        self._to = to
        self._delay_s = delay_s

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to the end of both ways."""
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._to)
        except OSError:
            writer.transport.abort()
            return
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._carry(reader, far_writer))
                ways.create_task(self._carry(far_reader, writer))
        except* ConnectionError:
            pass  # one end is gone: so is the other now
        finally:
            writer.transport.abort()
            far_writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        queue: asyncio.Queue[_Piece] = asyncio.Queue(_WAITING)
        async with asyncio.TaskGroup() as ends:
            ends.create_task(self._read(reader, queue))
            ends.create_task(_write(queue, writer))

    async def _read(self, reader: asyncio.StreamReader, queue: asyncio.Queue[_Piece]) -> None:
        now = asyncio.get_running_loop().time
        piece: bytes | None = b" "
        while piece:
            try:
                piece = await reader.read(_PIECE_BYTES)
            except ConnectionError:
                piece = None
            await queue.put((now() + self._delay_s, piece))


async def _write(queue: asyncio.Queue[_Piece], writer: asyncio.StreamWriter) -> None:
    """Raises ConnectionResetError where the other end has reset."""
    now = asyncio.get_running_loop().time
    while True:
        due, piece = await queue.get()
        await asyncio.sleep(max(0.0, due - now()))
        if piece is None:
            raise ConnectionResetError
        if not piece:
            await writer.drain()
            writer.write_eof()
            return
        writer.write(piece)
        await writer.drain()


def _enter(namespace: str) -> None:
    """What this process dials from now on, it dials from there; sockets that it has stay where they are."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(f"/run/netns/{namespace}").open() as file:
        if libc.setns(file.fileno(), _CLONE_NEWNET):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), namespace)


def _place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


async def _serve(listening: socket.socket, proxy: Proxy) -> None:
    server = await asyncio.start_server(proxy.accept, sock=listening)
    print(f"proxy listens on port {listening.getsockname()[1]}", flush=True)
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", type=_place, required=True, help="HOST:PORT")
    parser.add_argument("--to", type=_place, required=True, help="HOST:PORT")
    parser.add_argument("--delay-s", type=float, default=0.0, help="each way")
    parser.add_argument("--dial-in", default="", help="network namespace to dial from")
    given = parser.parse_args()
    listening = socket.create_server(given.listen)
    if given.dial_in:
        _enter(given.dial_in)
    asyncio.run(_serve(listening, Proxy(given.to, given.delay_s)))


if __name__ == "__main__":
    main()
