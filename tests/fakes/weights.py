"""The fake host of weights for the tests, as the program that it is."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from tests.fakes.weights_host.files import File, sha256
from tests.programs import UP_LIMIT_S, Program, running, until

NAME, SIZE = "small.gguf", 2_000_003


class WeightsHost:
    """A running fake: where it is, and its side door."""

    def __init__(self, program: Program, session: aiohttp.ClientSession) -> None:
        self.url, self.cdn = program.output().splitlines()[:2]
        self._session = session

    def file(self, name: str = NAME) -> str:
        return f"{self.url}/files/{name}"

    async def control(self, **body: Any) -> dict[str, Any]:
        """Change what goes wrong (tests/fakes/weights_host/__init__.py); returns what was asked and sent."""
        async with self._session.post(f"{self.url}/_control", json=body) as response:
            assert response.status == 200, await response.text()
            said: dict[str, Any] = await response.json()
            return said

    async def begin(self, *script: dict[str, Any], **always: Any) -> None:
        """These faults, one a request, then always this one; counts from zero."""
        await self.control(script=script, always=always, reset=True)

    async def sent(self) -> int:
        """Bytes of bodies."""
        return sum(each["sent"] for each in (await self.control())["sent"])

    async def begins(self) -> list[int]:
        """Where in the file each body began, in the order of the answers."""
        return [each["begin"] for each in (await self.control())["sent"]]

    async def seen(self) -> list[dict[str, Any]]:
        """The requests for files."""
        seen: list[dict[str, Any]] = (await self.control())["seen"]
        return seen


def digest(name: str = NAME, size: int = SIZE, version: int = 0) -> str:
    """The SHA-256 of a file as the host makes it."""
    file = File(name, size)
    for _ in range(version):
        file.change(tell=True)
    return sha256(file.content)


@contextlib.asynccontextmanager
async def weights_host(folder: Path, files: Mapping[str, int] | None = None) -> AsyncIterator[WeightsHost]:
    """A fake host with these files (name -> size in bytes), its log in `folder`."""
    words = [word for name, size in (files or {NAME: SIZE}).items() for word in ("--file", f"{name}={size}")]
    async with (
        running(["-m", "tests.fakes.weights_host", *words], folder / "weights-host.log") as program,
        aiohttp.ClientSession() as session,
    ):
        await until(
            lambda: program.output().count("\n") >= 2, lambda: f"the host:\n{program.output()}", limit_s=UP_LIMIT_S
        )
        yield WeightsHost(program, session)
