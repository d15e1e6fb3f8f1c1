"""A Dockerfile as its stages and their instructions. Not here: what any of them does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_STAGE = re.compile(r"(?P<base>\S+)(?: AS (?P<name>\S+))?")


@dataclass(frozen=True)
class Instruction:
    """One, its continued lines joined: `RUN`, and what follows."""

    word: str
    rest: str


@dataclass(frozen=True)
class Stage:
    """What stands between one FROM and the next."""

    name: str
    base: str
    instructions: tuple[Instruction, ...]

    def last(self, word: str) -> str | None:
        """What the last such instruction says, which is the one that holds."""
        return next((each.rest for each in reversed(self.instructions) if each.word == word), None)


@dataclass(frozen=True)
class Dockerfile:
    """All stages, in their order."""

    stages: tuple[Stage, ...]

    def lineage(self, name: str) -> list[Stage]:
        """A stage and those that it stands on, itself first."""
        by_name = {stage.name: stage for stage in self.stages}
        found = [by_name[name]]
        while found[-1].base in by_name:
            found.append(by_name[found[-1].base])
        return found

    def holds(self, name: str, word: str) -> str | None:
        """What an instruction says of the image of a stage, its own or inherited."""
        return next((said for stage in self.lineage(name) if (said := stage.last(word)) is not None), None)


def read(file: Path) -> Dockerfile:
    """ARGs before the first FROM are in no stage."""
    stages: list[Stage] = []
    for instruction in _instructions(file.read_text()):
        if instruction.word == "FROM":
            found = _STAGE.fullmatch(instruction.rest)
            assert found, f"FROM {instruction.rest}"
            stages.append(Stage(found["name"] or "", found["base"], ()))
        elif stages:
            last = stages[-1]
            stages[-1] = Stage(last.name, last.base, (*last.instructions, instruction))
    return Dockerfile(tuple(stages))


def _instructions(text: str) -> list[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [
        Instruction(word.upper(), rest.strip())
        for word, _, rest in (line.partition(" ") for line in joined.splitlines())
    ]
