"""A large upload costs little memory at both hops: it goes through files, a block at a time."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.programs import Program
from tests.stack import MODEL_OF, Stack
from tests.system.good_calls import BOUNDARY, FORM

pytestmark = pytest.mark.engine
MIB = 1024 * 1024
UPLOAD_BYTES = 500 * MIB
MOST_GROWTH_KIB = 48 * 1024
LIMIT_S = 280
RATE_HZ, CHANNELS = 384_000, 16  # so many that this much silence is soon listened to: 43 seconds


def _wav_head(size: int) -> bytes:
    form = struct.pack("<HHIIHH", 1, CHANNELS, RATE_HZ, RATE_HZ * CHANNELS * 2, CHANNELS * 2, 16)
    return b"RIFF" + struct.pack("<I", size + 36) + b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack(
        "<I", size
    )  # fmt: skip


def _frame() -> tuple[bytes, bytes]:
    """What stands before the silence, and behind it."""
    file = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'.encode()
    model = MODEL_OF["audio.transcriptions"]
    rest = f'\r\n--{BOUNDARY}\r\nContent-Disposition: form-data; name="model"\r\n\r\n{model}\r\n--{BOUNDARY}--\r\n'
    return file + _wav_head(UPLOAD_BYTES), rest.encode()


async def _body() -> AsyncIterator[bytes]:
    before, behind = _frame()
    yield before
    for _ in range(UPLOAD_BYTES // MIB):
        yield bytes(MIB)
    yield behind


def _begin_anew(program: Program) -> int:
    """The peak is what is held now, which is returned."""
    Path(f"/proc/{program.pid}/clear_refs").write_text("5")
    return _peak_kib(program)


def _peak_kib(program: Program) -> int:
    lines = Path(f"/proc/{program.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


async def test_half_a_gigabyte_of_sound_passes_both_hops(full_stack: Stack, session: aiohttp.ClientSession) -> None:
    gateway, node = full_stack.gateway, full_stack.nodes[0].program
    assert gateway is not None
    before = {program: _begin_anew(program) for program in (gateway, node)}
    length = UPLOAD_BYTES + sum(map(len, _frame()))
    headers = {"Content-Type": FORM, "Content-Length": str(length)}
    url, limit = f"{full_stack.base_url}/audio/transcriptions", aiohttp.ClientTimeout(LIMIT_S)
    async with session.post(url, data=_body(), headers=headers, timeout=limit) as response:
        answer = await response.json()
        assert response.status == 200, answer
    grown = {name: _peak_kib(program) - before[program] for name, program in (("gateway", gateway), ("node", node))}
    print(f"peak memory grew by {grown} KiB for {UPLOAD_BYTES // MIB} MiB")
    assert max(grown.values()) < MOST_GROWTH_KIB, grown
