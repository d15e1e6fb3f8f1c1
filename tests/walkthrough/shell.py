"""A reader's shell: one bash, in which each command is typed after the last one has ended.

It has a loopback of its own where that can be had, so that the ports which a page names are free whatever else runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

from tests.programs import ROOT, until

_LIMIT_S = 240.0
_MARK = "--- a prompt, after"
_ALONE = ("unshare", "--net", "bash", "-c", "ip link set lo up && exec bash")


class Shell:
    """What was typed last has ended."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def type(self, command: str) -> tuple[int, str]:
        """The exit status, and what was printed."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(f"{command}\nprintf '\\n{_MARK} %s\\n' $?\n".encode())
        await stdin.drain()
        printed: list[str] = []
        try:
            async with asyncio.timeout(_LIMIT_S):
                while line := (await stdout.readline()).decode():
                    if line.startswith(_MARK):
                        return int(line.split()[-1]), "".join(printed).rstrip("\n")
                    printed.append(line)
            how = "ended"
        except TimeoutError:
            how = f"hung for {_LIMIT_S:.0f} s"
        raise AssertionError(f"the shell {how} in:\n$ {command}\n{''.join(printed)}")


@contextlib.asynccontextmanager
async def shell(folder: Path) -> AsyncIterator[Shell]:
    """In `folder`, where the checkout stands as `waypost`. All that was started in it ends with it."""
    (folder / "waypost").symlink_to(ROOT)
    env = {name: value for name, value in os.environ.items() if not name.startswith("WAYPOST_")}
    process = await asyncio.create_subprocess_exec(
        *(_ALONE if _can_be_alone() else ("bash",)), cwd=folder, start_new_session=True,
        env={**env, "XDG_STATE_HOME": str(folder / "state"), "PYTHONUNBUFFERED": "1"},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        limit=1 << 20,
    )  # fmt: skip
    try:
        yield Shell(process)
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Of all that was started in it: by SIGTERM first, for those that have others to end."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(AssertionError):
            await until(lambda: not _is_there(process.pid), limit_s=20)
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _can_be_alone() -> bool:
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("ip"):
        return False
    return subprocess.run((*_ALONE[:-1], "ip link set lo up"), capture_output=True).returncode == 0
