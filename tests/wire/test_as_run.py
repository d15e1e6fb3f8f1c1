"""The same of a gateway as its command runs it, on its own event loop: every row, and how much memory attacks take."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.wire import chunk_rows, head_rows, length_rows, line_rows
from tests.wire.endless import BODIES, HEADS, endless_body, endless_head
from tests.wire.rows import PLANES
from tests.wire.scene import Scene, running_scene
from tests.wire.test_leaving import asked
from tests.wire.test_rows import becomes
from tests.wire.test_unread import REQUESTS, flood, taken_until_it_stops

TABLES = {
    "chunks": chunk_rows.rows(),
    "heads": head_rows.rows(),
    "lengths": length_rows.rows(),
    "lines": line_rows.rows(),
}
MORE_BYTES = 64 * 1024 * 1024  # what all attacks together may make the process larger by


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with running_scene(tmp_path_factory.mktemp("run")) as made:
        yield made


@pytest.mark.parametrize("table", TABLES)
async def test_each_row(scene: Scene, table: str) -> None:
    for row in TABLES[table]:
        await becomes(scene, row, [])
    await scene.assert_alive()
    assert "smuggled" not in scene.reached()


async def test_attacks_take_little_memory(scene: Scene) -> None:
    await scene.assert_alive()
    before = _peak_bytes(scene)
    for name in HEADS:
        async with scene.connect() as client:
            assert (await endless_head(client, name)).closes
    for plane in PLANES:
        for name in BODIES:
            async with scene.connect() as client:
                assert (await endless_body(client, plane, name)).closes
    for request in (*REQUESTS.values(), flood()):
        async with scene.connect(4096) as client:
            await taken_until_it_stops(scene, client, request)
    async with scene.connect() as client:
        await client.send(asked("word" * 4_000_000))
        assert (await client.answer("POST")).status == 200
    await scene.assert_alive()
    assert _peak_bytes(scene) - before < MORE_BYTES


def _peak_bytes(scene: Scene) -> int:
    """The most memory that the gateway's process has ever had."""
    assert scene.program is not None
    status = Path(f"/proc/{scene.program.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024
