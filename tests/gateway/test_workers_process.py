"""One worker's process by itself: it does nothing without a parent, and says in a line what keeps it from serving."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.config import GatewayConfig
from gateway.workers.channel import Channel, Kind
from gateway.workers.crew import pause_s
from gateway.workers.shared import Shared
from registry.keys import NodeKey
from tests.programs import ROOT


class Started:
    """A worker's process, and the test in the place of its parent."""

    def __init__(self, process: asyncio.subprocess.Process, channel: Channel) -> None:
        self.process = process
        self.channel = channel

    async def ended(self) -> tuple[int, str]:
        """Its exit status, and what it said."""
        _, said = await asyncio.wait_for(self.process.communicate(), 90)
        assert self.process.returncode is not None
        return self.process.returncode, said.decode()


@contextlib.asynccontextmanager
async def started() -> AsyncIterator[Started]:
    """The process, as a parent starts it."""
    ours, theirs = socket.socketpair()
    shared = Shared.make(1)
    with theirs, contextlib.closing(shared):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "gateway.workers.worker", str(theirs.fileno()), str(shared.fd)),
            pass_fds=(theirs.fileno(), shared.fd), stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    channel = await Channel.over(ours)
    try:
        yield Started(process, channel)
    finally:
        channel.close()
        if process.returncode is None:
            await asyncio.wait_for(process.wait(), 90)


def _hello(folder: Path, port: int, **options: object) -> dict[str, object]:
    config = GatewayConfig(registry=("sqlite:///r.db",), trust=("any",), state=folder, open=True)
    said = json.loads(config.model_dump_json()) | options
    secret = NodeKey.new().private.private_bytes_raw().hex()
    address = (socket.AF_INET, "127.0.0.1", port)
    return {"number": 7, "config": json.dumps(said), "secret": secret, "address": address}


async def test_a_worker_whose_parent_is_gone_before_it_said_anything() -> None:
    async with started() as worker:
        worker.channel.close()
        assert await worker.ended() == (0, "")


async def test_options_of_another_version(tmp_path: Path) -> None:
    async with started() as worker:
        await worker.channel.send(Kind.HELLO, _hello(tmp_path, 0, quicker=True))
        status, said = await worker.ended()
    assert status == 1
    assert "worker 7: " in said and "another version; start the gateway again" in said and "Traceback" not in said


async def test_a_port_that_is_not_to_be_had(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        async with started() as worker:
            await worker.channel.send(Kind.HELLO, _hello(tmp_path, other.getsockname()[1]))
            await worker.channel.send(Kind.CURATION, {"models": {}, "slugs": {}})
            await worker.channel.send(Kind.WHOLE)
            status, said = await worker.ended()
    assert status == 1
    assert "worker 7: " in said and "Address already in use" in said and "Traceback" not in said


async def test_a_worker_does_not_listen_before_it_knows_all_and_heeds_no_signals(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    async with started() as worker:
        await worker.channel.send(Kind.HELLO, _hello(tmp_path, port))
        assert await worker.channel.receive(30) == (Kind.ALIVE, None)
        for each in (signal.SIGTERM, signal.SIGINT):
            worker.process.send_signal(each)
        await worker.channel.send(Kind.CURATION, {"models": {}, "slugs": {}})
        await worker.channel.send(Kind.CHANGES, [["0x" + "0" * 40, "nobody"]])
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)
        await worker.channel.send(Kind.WHOLE)
        while (await worker.channel.receive(30)) != (Kind.SERVING, None):
            pass
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        await worker.channel.send(Kind.STOP)
        status, said = await worker.ended()
    assert (status, "Traceback" in said) == (0, False)


def test_who_dies_again_and_again_is_started_ever_later() -> None:
    pauses = [pause_s(failures) for failures in range(20)]
    assert pauses[:4] == [0.1, 0.2, 0.4, 0.8]
    assert pauses == sorted(pauses) and pauses[-1] == 30
