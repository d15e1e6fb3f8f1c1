"""Options of one command, wherever they stand: on the command line, else the environment, else a file, else a default.

An option is a field of the command's frozen model. The places are fixed once (`Sources`), and may be read again later.
Not here: which commands there are, and how a command line is parsed (waypost).
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic.fields import FieldInfo

ENV_PREFIX = "WAYPOST_"
DEFAULT_FILE = "waypost.toml"
_FILE_VARIABLE = ENV_PREFIX + "CONFIG"


class OptionError(ValueError):
    """Options that cannot be taken. `problems` has a line for each, which names the option and the fix."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Sources:
    """Where the options of a command of `part` stand. `given` is its command line, `known` the options of each part."""

    part: str
    model: type[BaseModel]
    given: Mapping[str, Any]
    environment: Mapping[str, str]
    known: Callable[[str], Set[str]]
    parts: Sequence[str]
    folder: Path = field(default_factory=lambda: _here())

    @property
    def file(self) -> Path:
        """As it was named, and so as messages show it."""
        return Path(self._named or DEFAULT_FILE)

    @property
    def _named(self) -> str | None:
        return self.given.get("config") or self.environment.get(_FILE_VARIABLE)

    def read(self) -> BaseModel:
        """The options as they stand now. Raises OptionError."""
        return self._read(self._named is not None or self._is_there())

    def rereading(self) -> Callable[[], BaseModel]:
        """What reads them again later. Raises OptionError as `read` does, and if the file has gone meanwhile."""
        expected = self._named is not None or self._is_there()
        return lambda: self._read(expected or self._is_there(), again=True)

    def _read(self, with_file: bool, *, again: bool = False) -> BaseModel:
        from pydantic import ValidationError

        found = self._from_file(again) if with_file else {}
        found |= self._from_environment()
        found |= {name: value for name, value in self.given.items() if name != "config"}
        mine = {name: value for name, value in found.items() if name in options(self.model)}
        try:
            return self.model(**mine)
        except ValidationError as error:
            raise OptionError(*self._explain(error)) from error

    def _is_there(self) -> bool:
        return (self.folder / self.file).is_file()

    def _from_file(self, again: bool) -> dict[str, Any]:
        path = self.folder / self.file
        if again and path.exists() and not path.is_file():
            raise OptionError(f"--config {self.file}: only a file can be read again, and this is none")  # a pipe blocks
        try:
            tables = tomllib.loads(path.read_text())
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise OptionError(f"--config {self.file}: {getattr(error, 'strerror', None) or error}") from error
        for table, content in tables.items():
            self._check_table(table, content)
        mine: dict[str, Any] = tables.get(self.part, {})
        return mine

    def _check_table(self, table: str, content: object) -> None:
        if table not in self.parts or not isinstance(content, dict):
            there = ", ".join(f"[{part}]" for part in self.parts)
            raise OptionError(f"{self.file}: unknown key {table!r}; the tables are {there}")
        known = self.known(table)
        if unknown := sorted(content.keys() - known):
            raise OptionError(
                f"{self.file}: [{table}] has no option {unknown[0]!r}; it knows {', '.join(sorted(known))}"
            )

    def _from_environment(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for variable, text in self.environment.items():
            if not variable.startswith(ENV_PREFIX) or variable == _FILE_VARIABLE:
                continue
            name = variable.removeprefix(ENV_PREFIX).lower()
            option = options(self.model).get(name)
            if option is not None and not is_table(option):
                found[name] = text.split() if is_list(option) else text
            elif not any(name in self.known(part) for part in self.parts):
                raise OptionError(
                    f"the environment has {variable}, which is no option; unset it, or see waypost --help"
                )
        return found

    def _explain(self, error: ValidationError) -> list[str]:
        """A line for each problem, which names the option as it is written."""
        lines = []
        for problem in error.errors(include_url=False):
            where = [str(step) for step in problem["loc"]]
            known = {"missing": "required", "extra_forbidden": "no such option"}
            message = known.get(problem["type"], problem["msg"].removeprefix("Value error, "))
            option = options(self.model).get(where[0]) if where else None
            if option is not None and is_table(option):
                message = f"[{self.part}] {'.'.join(where)}: {message}"
            elif option is not None:
                message = f"{where[0].upper() if is_positional(option) else flag(where[0])}: {message}"
            lines.append(message)
        return lines


def _here() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:  # it was removed; whoever names whole paths only does not need it
        return Path()


def options(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Option -> its field, as the file and the environment name it."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def flag(name: str) -> str:
    """An option as the command line names it."""
    return "--" + name.replace("_", "-")


def is_positional(option: FieldInfo) -> bool:
    return bool(extra(option).get("positional"))


def is_list(option: FieldInfo) -> bool:
    return get_origin(option.annotation) is tuple


def is_table(option: FieldInfo) -> bool:
    """Whether it can stand in the file alone."""
    kinds = (option.annotation, *get_args(option.annotation))
    return any(get_origin(kind) in (dict, Mapping) for kind in kinds)


def extra(option: FieldInfo) -> dict[str, Any]:
    """What a field says of itself beside its type: `positional`, `metavar`."""
    return option.json_schema_extra if isinstance(option.json_schema_extra, dict) else {}
