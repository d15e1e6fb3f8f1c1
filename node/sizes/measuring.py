"""How much memory a process and its descendants hold now, and how much this machine has for us: read from /proc.

Counted is what is resident: anonymous and shared memory, and mapped files too, since weights that are used as they lie
in their file are needed at each token. Pages that several processes map count for each; a fair share (Pss) would need a
walk over the page tables, some 20 ms for each 10 GB. A process that ends meanwhile holds nothing. All of this blocks
for some milliseconds. Not here: what it should be (footprint), GPUs themselves (gpus).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from node.gpus import Gpus
from node.sizes.memory import Memory

_PROC, _CGROUP = Path("/proc"), Path("/sys/fs/cgroup")
_COUNTED = ("RssAnon:", "RssFile:", "RssShmem:")
_KIB = 1024


@dataclass(frozen=True)
class Machine:
    """Bytes of memory: all that this process may use, and what is free of it now, counting what would be given up."""

    total: int
    available: int


def taken(pid: int, gpus: Gpus | None = None, proc: Path = _PROC) -> Memory:
    """What the process and its descendants hold: on GPUs too, where `gpus` can tell, else 0. Nothing if it is gone."""
    pids = _family(pid, proc)
    ram = sum(_resident(member, proc) for member in pids)
    return Memory(ram, (gpus.used_by(pids) if gpus is not None else None) or 0)


def machine(proc: Path = _PROC, cgroup: Path = _CGROUP) -> Machine:
    """Memory of the machine, or what the control groups that hold this process leave of it (versions 1 and 2)."""
    lines = dict(line.split(":", 1) for line in _read(proc / "meminfo").splitlines() if ":" in line)
    total, available = _kib(lines.get("MemTotal", "")), _kib(lines.get("MemAvailable", ""))
    for limit, used in _limits(proc, cgroup):
        total = min(total, limit)
        available = min(available, max(0, limit - used))
    return Machine(total, min(total, available))


def _family(pid: int, proc: Path) -> set[int]:
    """The process and its descendants. Not every kernel lists children, so all processes are asked for their parent."""
    children: dict[int, list[int]] = {}
    for process in proc.glob("[0-9]*"):
        words = _read(process / "stat").rpartition(")")[2].split()  # the name before it may hold anything
        if len(words) > 1 and words[1].isdecimal():
            children.setdefault(int(words[1]), []).append(int(process.name))
    family, waiting = {pid}, [pid]
    while waiting:
        found = set(children.get(waiting.pop(), ())) - family
        family |= found
        waiting += found
    return family


def _resident(pid: int, proc: Path) -> int:
    lines = _read(proc / str(pid) / "status").splitlines()
    return sum(_kib(line.partition(":")[2]) for line in lines if line.startswith(_COUNTED))


def _limits(proc: Path, cgroup: Path) -> Iterator[tuple[int, int]]:
    """(limit, used without what can be given up) of this process's group, and of each group around it."""
    for line in _read(proc / "self" / "cgroup").splitlines():
        number, _, rest = line.partition(":")
        kinds, _, path = rest.partition(":")
        if number == "0" and not kinds:
            yield from _of_groups(cgroup, path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in kinds.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            yield from _of_groups(cgroup / "memory", path, *names)


def _of_groups(root: Path, path: str, limit: str, usage: str, given_up: str) -> Iterator[tuple[int, int]]:
    group = root / path.strip("/")
    for folder in (group, *group.parents):
        told, used = _read(folder / limit).strip(), _read(folder / usage).strip()
        if told.isdecimal():
            stat = dict(line.split(" ", 1) for line in _read(folder / "memory.stat").splitlines() if " " in line)
            free = stat.get(given_up, "0")
            yield int(told), (int(used) if used.isdecimal() else 0) - (int(free) if free.isdecimal() else 0)
        if folder == root:
            return


def _kib(text: str) -> int:
    """Bytes of a figure such as `1234 kB`."""
    number = text.strip().partition(" ")[0]
    return int(number) * _KIB if number.isdecimal() else 0


def _read(path: Path) -> str:
    """Nothing, where it is gone or may not be read."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
