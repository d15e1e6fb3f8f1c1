"""Where a hop's CPU time goes: `make bench-relay ARGS=--profile`, or with `--only node` another target's.

Under many streams, and under small requests, perf says how much of it is the kernel's and each library's, and then
py-spy in which file of ours Python's part was spent, with all that is called from there: while the interpreter's lock
is held, so that polling is left out. Not here: the load (relay_phases).
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench import relay_phases as phases
from bench.relay_phases import Load, Seen
from bench.relay_programs import NotToBeHad
from bench.relay_scene import ROOT, Running

_OURS = ("relay/", "gateway/", "node/", "registry/", "waypost.py")
_LOOP_RUNS = ("asyncio/runners.py", "uvloop/__init__.py")
_ELSEWHERE = "the loop"
_LIBRARIES = (  # by what stands in an object's name, the first that fits
    (r"^\[", "kernel (TCP, epoll, switching)"), ("uvloop|loop\\.c", "uvloop"), ("parser\\.c", "llhttp"),
    ("^(lib)?python3", "CPython"), ("multidict|yarl|_http|aiohttp", "aiohttp's"), ("^(libc|libm|ld-)", "libc"),
)  # fmt: skip
_SHOWN = 16
_SETTLE_S = 0.5
_FRAME = re.compile(r"^.* \((.*?)(?::\d+)?\)$")
_SHARE = re.compile(r"^\s*([\d.]+)%\s+(\S.*?)\s*$", re.MULTILINE)
_LIMIT_S = 120.0

Sampler = Callable[[Running, Path, int], Awaitable[Mapping[str, float]]]


async def profile(running: Running, folder: Path, load: Load) -> str:
    """Tables, as Markdown. What cannot be had is said in its place."""
    found = []
    for name, phase in (("streams", phases.streams), ("small", phases.small)):
        for what, sampler in (("by library", _by_library), ("by our file", _by_file)):
            seconds = max(1, round(load.seconds))
            longer = replace(load, seconds=seconds + 2 * _SETTLE_S)
            loading = asyncio.create_task(phase(running.door, running.pids, longer))
            try:
                await asyncio.sleep(load.ramp_s + _SETTLE_S)
                told = _table(await sampler(running, folder, seconds))
            except NotToBeHad as why:
                told = f"{why}\n"
            finally:
                seen = await loading
            found.append(f"### {name}, {what}\n\n{_cost(seen)}\n\n{told}")
    return "\n".join(found)


async def _by_library(running: Running, folder: Path, seconds: int) -> Mapping[str, float]:
    perf, file = _there("perf", "apt-get install linux-perf"), folder / "perf.data"
    pids = ",".join(map(str, running.pids))
    await _done(perf, "record", "-q", "-e", "cpu-clock", "-F", "999", "-o", file, "-p", pids, "--", "sleep", seconds)
    said = await _done(perf, "report", "-q", "-i", file, "--stdio", "--sort", "dso")
    shares: Counter[str] = Counter()
    for share, library in _SHARE.findall(said):
        shares[_named(library)] += float(share)
    return shares


async def _by_file(running: Running, folder: Path, seconds: int) -> Mapping[str, float]:
    spy = _there("py-spy", "pip install py-spy")
    words = [spy, "record", "--format", "raw", "--full-filenames", "--gil", "--rate", "400"]
    files = [folder / f"spy-{pid}.txt" for pid in running.pids]
    words += ["--subprocesses", "--duration", seconds]
    each = zip(running.pids, files, strict=True)
    await asyncio.gather(*(_done(*words, "--output", file, "--pid", pid) for pid, file in each))
    return in_files(line for file in files for line in file.read_text().splitlines())


def in_files(stacks: Iterable[str]) -> Mapping[str, float]:
    """Per cent by our file, the innermost of each stack: `outer (file:line);inner (file:line) samples`."""
    shares: Counter[str] = Counter()
    for stack in stacks:
        frames, _, count = stack.rpartition(" ")
        shares[_innermost(frames.split(";"))] += int(count)
    every = shares.total()
    return {name: 100 * count / every for name, count in shares.items()}


def _innermost(frames: Sequence[str]) -> str:
    for frame in reversed(frames):
        found = _FRAME.match(frame)
        file = found[1].removeprefix(f"{ROOT}/") if found else ""
        if file.endswith(_LOOP_RUNS):
            break
        if file.startswith(_OURS):
            return f"`{file}`"
    return _ELSEWHERE


def _named(library: str) -> str:
    return next((name for pattern, name in _LIBRARIES if re.search(pattern, library)), "other libraries")


def _table(shares: Mapping[str, float]) -> str:
    every = sorted(shares.items(), key=lambda one: -one[1])
    lines = ["| | share |", "|---|---:|", *(f"| {name} | {share:.0f} % |" for name, share in every[:_SHOWN])]
    if rest := sum(share for _, share in every[_SHOWN:]):
        lines.append(f"| {len(every) - _SHOWN} more | {rest:.0f} % |")
    return "\n".join(lines) + "\n"


def _cost(seen: Seen) -> str:
    """With the sampler's own weight on the machine."""
    tally = seen.tally
    each, what = (tally.tokens, "token") if tally.tokens else (tally.answers, "request")
    return f"{seen.cpu_us_each(each):.1f} us a {what} while sampled, errors: {dict(tally.errors) or 0}"


def _there(name: str, how: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        raise NotToBeHad(f"no {name} here; run: {how}")
    return found


async def _done(*words: str | int | Path) -> str:
    """What a program says. Raises NotToBeHad where it fails."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*map(str, words), stdout=pipe, stderr=pipe, cwd=ROOT)
    try:
        async with asyncio.timeout(_LIMIT_S):
            said, complained = await process.communicate()
    except TimeoutError as error:
        raise NotToBeHad(f"{words[0]} is not done after {_LIMIT_S:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        lines = complained.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise NotToBeHad(f"{Path(str(words[0])).name}: {lines[-1][:200]}")
    return said.decode(errors="replace")
