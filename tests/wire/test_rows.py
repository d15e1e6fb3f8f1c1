"""Every row of the tables: what it is answered, what reaches the upstream, and what becomes of its connection.

Behind each row stands another request in the same packet. Where the row is refused, nothing of that may ever be
answered, nor reach anybody; where it is taken, it is answered too.
"""

from __future__ import annotations

import pytest

from tests.wire.all_rows import ROWS
from tests.wire.rows import Row
from tests.wire.scene import Scene

EACH = pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
_BYTEWISE = 4096  # longer ones take too long


@EACH
async def test_each_row_in_one_packet(scene: Scene, row: Row) -> None:
    await becomes(scene, row, [])
    await scene.assert_alive()
    assert scene.reached() == ([row.word] if row.word else []), row


@pytest.mark.parametrize("row", [row for row in ROWS if len(row.raw) < _BYTEWISE], ids=lambda row: row.name)
async def test_each_row_with_a_packet_for_each_byte(scene: Scene, row: Row) -> None:
    await becomes(scene, row, list(range(len(row.raw) + 1)))
    await scene.assert_alive()
    assert scene.reached() == ([row.word] if row.word else []), row


async def becomes(scene: Scene, row: Row, cuts: list[int]) -> None:
    """One connection: the row, what stands behind it, and what both are answered."""
    scene.upstream.asked.clear()
    async with scene.connect() as client:
        await client.send(row.followed, cuts)
        answer = await client.answer()
        assert answer.status in row.statuses, (row, answer)
        if row.taken:
            assert not answer.closes, (row, answer)
            behind = await client.answer()
            assert (behind.status, behind.headers["x-request-id"] != "smuggled") == (200, True), (row, behind)
        else:
            assert answer.closes, (row, answer)
            assert answer.error["type"] == "invalid_request_error"
            await client.ended()
    assert scene.upstream.words == ([row.word] if row.word else []), row
