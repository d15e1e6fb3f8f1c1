"""What processes hold is measured; and a real llama-server's estimate is held against it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from gguf import GGMLQuantizationType

from node.hardware import detect
from node.model_config import ModelConfig
from node.sizes.measuring import machine, taken
from node.sizes.memory import MIB, Memory
from tests.node.filled import fill
from tests.random_gguf import Size, write_transformer
from tests.stack import EMBEDDING_WEIGHTS

HOLDS = 64
# A program that holds so many MiB, and has a child that does too; each says so, and they end with their input.
HOLDER = f"""
import subprocess, sys
held = bytearray({HOLDS * MIB})
for at in range(0, len(held), 4096): held[at] = 1
child = subprocess.Popen([sys.executable, *sys.argv[1:]]) if sys.argv[1:] else None
print("held", flush=True)
sys.stdin.read()
"""
UNDER, OVER = 1.15, 2.0


@contextlib.asynccontextmanager
async def _holders() -> AsyncIterator[asyncio.subprocess.Process]:
    """Such a program with its child; gone when the context ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, "-c", HOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        for _ in range(2):
            assert await asyncio.wait_for(process.stdout.readline(), 60) == b"held\n"
        yield process
    finally:
        await asyncio.wait_for(process.communicate(b""), 60)


async def test_a_process_counts_with_its_descendants() -> None:
    async with _holders() as process:
        both = taken(process.pid)
        assert 2 * HOLDS * MIB < both.ram < 2 * HOLDS * MIB + 100 * MIB
        assert both.vram == 0
        assert both.ram < taken(os.getpid()).ram, "they are descendants of this process as well"
    assert taken(process.pid) == Memory(), "it is gone, which is no error"


def test_no_process_holds_nothing(tmp_path: Path) -> None:
    assert taken(2**22 + 7) == Memory()
    assert taken(1, proc=tmp_path / "there-is-none") == Memory()


def test_names_of_processes_may_hold_anything(tmp_path: Path) -> None:
    for pid, parent, name in ((10, 1, "a b) R 99"), (11, 10, "(("), (12, 11, ") 10 10"), (13, 1, "alone")):
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "stat").write_text(f"{pid} ({name}) S {parent} 0 0")
        (folder / "status").write_text("RssAnon:\t 1024 kB\nRssFile:\t 2048 kB\nRssShmem:\t 4096 kB\nVmRSS:\t 9 kB\n")
    (tmp_path / "14").mkdir()
    (tmp_path / "14" / "stat").write_bytes(b"\xff")
    assert taken(10, proc=tmp_path) == Memory(3 * 7 * MIB)
    assert taken(12, proc=tmp_path) == Memory(7 * MIB)
    (tmp_path / "13" / "status").write_text("RssAnon: lots\nRssFile:\n")
    assert taken(13, proc=tmp_path) == Memory()


async def test_this_machine_has_what_it_says() -> None:
    found = machine()
    assert 0 < found.available <= found.total
    assert found.total <= (await detect()).memory_bytes


def _proc(folder: Path, groups: str) -> Path:
    (folder / "self").mkdir(parents=True)
    (folder / "meminfo").write_text("MemTotal:       16384 kB\nMemFree: 1 kB\nMemAvailable:    8192 kB\n")
    (folder / "self" / "cgroup").write_text(groups)
    return folder


def _group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def test_control_groups_leave_less(tmp_path: Path) -> None:
    proc, root = _proc(tmp_path / "proc", "0::/outer/inner\n"), tmp_path / "cgroup"
    assert machine(proc, root) == machine(proc, tmp_path) != machine(tmp_path, root)
    assert (machine(proc, root).total, machine(proc, root).available) == (16 * MIB, 8 * MIB)
    _group(root / "outer" / "inner", memory__max="max", memory__current="1")
    _group(
        root / "outer", memory__max=str(10 * MIB), memory__current=str(7 * MIB), memory__stat=f"inactive_file {2 * MIB}"
    )
    found = machine(proc, root)
    assert (found.total, found.available) == (10 * MIB, 5 * MIB), "what a cache holds would be given up"
    _group(root / "outer", memory__max=str(3 * MIB))
    assert (machine(proc, root).total, machine(proc, root).available) == (3 * MIB, 0)


def test_control_groups_of_the_first_version_do_too(tmp_path: Path) -> None:
    proc = _proc(tmp_path / "proc", "5:cpu,cpuacct:/x\n4:hugetlb,memory:/box\n")
    box = {"memory__limit_in_bytes": str(12 * MIB), "memory__usage_in_bytes": str(9 * MIB)}
    _group(tmp_path / "cgroup" / "memory" / "box", **box, memory__stat=f"total_inactive_file {MIB}")
    _group(tmp_path / "cgroup" / "memory", memory__limit_in_bytes=str(2**63 - 4096), memory__usage_in_bytes="0")
    found = machine(proc, tmp_path / "cgroup")
    assert (found.total, found.available) == (12 * MIB, 4 * MIB)


@pytest.mark.engine
@pytest.mark.parametrize("setting", ["slots", "vectors", "weights laid out anew", "windows"])
async def test_a_real_engine_takes_about_what_was_estimated(
    setting: str, weights: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    wish, model = ModelConfig(context=256, parallel=2, threads=2), weights
    if setting == "vectors":
        wish, model = ModelConfig(threads=2), EMBEDDING_WEIGHTS
    if setting == "weights laid out anew":
        stored = GGMLQuantizationType.Q4_0
        shape = Size(layers=8, width=1024, inner=2816, heads=16, kv_heads=16, stored=stored)
        model = await asyncio.to_thread(write_transformer, tmp_path / "anew.gguf", weights, shape)
    if setting == "windows":
        shape = Size(layers=6, width=512, inner=1024, heads=8, kv_heads=8, window=256)
        model = await asyncio.to_thread(write_transformer, tmp_path / "windows.gguf", weights, shape)
        wish = ModelConfig(context=1024, parallel=2, threads=2)
    found = await fill(model, wish, tmp_path)
    print(f"\n{setting}: {found}")
    record_property("footprint", str(found))
    assert found.full.ram <= found.estimated.ram * UNDER, found
    assert found.estimated.ram <= found.full.ram * OVER, found
