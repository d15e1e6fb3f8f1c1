"""The one command: reads options, then hands each sub-command to its part and imports it only then.

An option is a field of the command's frozen configuration model. It is read from the command line, else from the
environment (`WAYPOST_` and the field's name), else from the command's table in `waypost.toml`, else it has its default.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

ENV_PREFIX = "WAYPOST_"
DEFAULT_FILE = "waypost.toml"
_DASHED_KEY = re.compile(r"-[A-Za-z0-9_-]{42}")


@dataclass(frozen=True)
class Command:
    """Where a sub-command's options (`config`) and body (`run`) stand, each as `module:name`."""

    config: str
    run: str
    help: str


COMMANDS: Mapping[tuple[str, ...], Command] = {
    ("up",): Command("deploy.config:UpConfig", "deploy.up:run", "run registry, nodes and gateway on this machine"),
    ("node", "serve"): Command("node.config:NodeConfig", "node.app:run", "serve and publish this machine's models"),
    ("gateway", "serve"): Command("gateway.config:GatewayConfig", "gateway.app:run", "route models to published nodes"),
    ("gateway", "key", "new"): Command("gateway.config:KeyNewConfig", "gateway.keys:run_new", "make an API key"),
    ("key", "new"): Command(
        "registry.commands:KeyNew", "registry.commands:run_key_new", "make an operator's wallet key"
    ),
    ("key", "show"): Command("registry.commands:KeyShow", "registry.commands:run_key_show", "a key's public half"),
    ("registry", "list"): Command("gateway.config:ListConfig", "gateway.inspect:run_list", "judge all on a registry"),
    ("registry", "show"): Command("gateway.config:ShowConfig", "gateway.inspect:run_show", "one operator or node"),
    ("registry", "delegate"): Command(
        "registry.commands:Delegate", "registry.commands:run_delegate", "let a VM's key sign for an operator"
    ),
    ("registry", "revoke"): Command("registry.commands:Revoke", "registry.commands:run_revoke", "end a delegation"),
    ("registry", "retire"): Command("registry.commands:Retire", "registry.commands:run_retire", "take nodes away"),
    ("registry", "curate"): Command("registry.commands:Curate", "registry.commands:run_curate", "publish a list"),
    ("registry", "create"): Command("registry.commands:Create", "registry.commands:run_create", "put one on a chain"),
    ("registry", "post"): Command("registry.commands:Post", "registry.commands:run_post", "post an envelope unchecked"),
}
GROUPS: Mapping[tuple[str, ...], str] = {
    ("node",): "the agent beside a GPU",
    ("gateway",): "the router in front of nodes",
    ("gateway", "key"): "API keys of a gateway",
    ("key",): "operators' wallet keys",
    ("registry",): "what nodes claim",
}


class OptionError(Exception):
    """An option that cannot be taken; the text names it and the fix."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0 done, 1 failed, 2 wrongly called."""
    words = list(sys.argv[1:] if argv is None else argv)
    path = _command_path(words)
    parser = _parser(path)
    given = vars(parser.parse_args(_shielded(words)))
    if path not in COMMANDS:
        parser.print_help()
        return 0 if not words else 2
    try:
        config = _configure(path, given)
    except OptionError as error:
        print(f"waypost: {error}", file=sys.stderr)
        return 2
    try:
        return _run(COMMANDS[path], config)
    except KeyboardInterrupt:
        return 130


def _run(command: Command, config: BaseModel) -> int:
    """Services run their own loop and report their own failures; the registry's commands are coroutines."""
    outcome = _load(command.run)(config)
    if not asyncio.iscoroutine(outcome):
        return int(outcome)
    failure = _load("registry.commands:CommandError")
    try:
        return int(asyncio.run(outcome))
    except failure as error:
        print(f"waypost: {error}", file=sys.stderr)
        return 1


def _command_path(words: Sequence[str]) -> tuple[str, ...]:
    path: tuple[str, ...] = ()
    for word in words:
        longer = (*path, word)
        if longer not in COMMANDS and longer not in GROUPS:
            break
        path = longer
    return path


def _shielded(words: Sequence[str]) -> list[str]:
    """A node's key may begin with `-`: a space before it keeps argparse from taking it for an option."""
    return [f" {word}" if _DASHED_KEY.fullmatch(word) else word for word in words]


def _bare(word: str) -> str:
    return word[1:] if word.startswith(" -") else word


def _parser(path: tuple[str, ...]) -> argparse.ArgumentParser:
    """The whole tree of commands, with the options of the one that `path` names: only its part is imported."""
    root = argparse.ArgumentParser(
        prog="waypost", description="OpenAI's API over rented GPUs, found on a signed registry."
    )
    root.add_argument("--version", action="version", version=f"waypost {_version()}")
    children: dict[tuple[str, ...], Any] = {(): root.add_subparsers(metavar="COMMAND")}
    for group, text in GROUPS.items():
        parser = children[group[:-1]].add_parser(group[-1], help=text, description=text)
        children[group] = parser.add_subparsers(metavar="COMMAND", required=True)
    for words, command in COMMANDS.items():
        parser = children[words[:-1]].add_parser(words[-1], help=command.help, description=_sentence(command.help))
        if words == path:
            _add_options(parser, _load(command.config))
    return root


def _add_options(parser: argparse.ArgumentParser, model: type[BaseModel]) -> None:
    parser.add_argument(
        "--config", metavar="FILE", help=f"options from FILE (default: {DEFAULT_FILE} here, if there is one)"
    )
    for name, field in _options(model).items():
        if _is_table(field):
            continue
        shown: dict[str, Any] = {"default": argparse.SUPPRESS, "help": _help(name, field)}
        if _is_positional(field):
            often = ("*", "+") if _is_list(field) else ("?", None)
            nargs = often[field.is_required()]
            parser.add_argument(name, **shown, metavar=name.upper(), nargs=nargs, type=_bare)
        elif field.annotation is bool:
            parser.add_argument(_flag(name), **shown, action=argparse.BooleanOptionalAction)
        else:
            action = "append" if _is_list(field) else "store"
            metavar = _extra(field).get("metavar", "VALUE")
            parser.add_argument(_flag(name), **shown, action=action, metavar=metavar, type=_bare)


def _help(name: str, field: FieldInfo) -> str:
    text = (field.description or "").replace("%", "%%")
    if _is_list(field) and not _is_positional(field):
        text += " (repeatable)"
    if not field.is_required() and field.default not in (None, (), False, ""):
        text += f" [default: {field.default}]".replace("%", "%%")
    return text if _is_positional(field) else f"{text} [{ENV_PREFIX}{name.upper()}]"


def _configure(path: tuple[str, ...], given: Mapping[str, Any]) -> BaseModel:
    from pydantic import ValidationError

    model = _load(COMMANDS[path].config)
    options = {**_from_file(path, given.get("config")), **_from_environment(path, model)}
    options |= {name: value for name, value in given.items() if name != "config"}
    mine = {name: value for name, value in options.items() if name in _options(model)}
    try:
        made: BaseModel = model(**mine)
    except ValidationError as error:
        raise OptionError(_explain(path[0], model, error)) from error
    return made


def _from_file(path: tuple[str, ...], named: str | None) -> dict[str, Any]:
    named = named or os.environ.get(ENV_PREFIX + "CONFIG")
    file = Path(named or DEFAULT_FILE)
    if named is None and not file.is_file():
        return {}
    try:
        tables = tomllib.loads(file.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OptionError(f"--config {file}: {getattr(error, 'strerror', None) or error}") from error
    parts = sorted({words[0] for words in COMMANDS})
    for table, content in tables.items():
        if table not in parts or not isinstance(content, dict):
            raise OptionError(
                f"{file}: unknown key {table!r}; the tables are {', '.join(f'[{part}]' for part in parts)}"
            )
        known = _known_options(table)
        if unknown := sorted(set(content) - known):
            raise OptionError(f"{file}: [{table}] has no option {unknown[0]!r}; it knows {', '.join(sorted(known))}")
    mine: dict[str, Any] = tables.get(path[0], {})
    return mine


def _from_environment(path: tuple[str, ...], model: type[BaseModel]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for variable, text in os.environ.items():
        if not variable.startswith(ENV_PREFIX) or variable == ENV_PREFIX + "CONFIG":
            continue
        name = variable.removeprefix(ENV_PREFIX).lower()
        field = _options(model).get(name)
        if field is not None and not _is_table(field):
            found[name] = text.split() if _is_list(field) else text
        elif not any(name in _known_options(part) for part in {words[0] for words in COMMANDS}):
            raise OptionError(f"the environment has {variable}, which is no option; unset it, or see waypost --help")
    return found


def _known_options(part: str) -> set[str]:
    models = (_load(command.config) for words, command in COMMANDS.items() if words[0] == part)
    return {name for model in models for name in _options(model)}


def _explain(part: str, model: type[BaseModel], error: Any) -> str:
    lines = []
    for problem in error.errors(include_url=False):
        where = [str(step) for step in problem["loc"]]
        known = {"missing": "required", "extra_forbidden": "no such option"}
        message = known.get(problem["type"], problem["msg"].removeprefix("Value error, "))
        field = _options(model).get(where[0]) if where else None
        if field is not None and _is_table(field):
            message = f"[{part}] {'.'.join(where)}: {message}"
        elif field is not None:
            message = f"{where[0].upper() if _is_positional(field) else _flag(where[0])}: {message}"
        lines.append(message)
    return "\nwaypost: ".join(lines)


def _options(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _is_positional(field: FieldInfo) -> bool:
    return bool(_extra(field).get("positional"))


def _is_list(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is tuple


def _is_table(field: FieldInfo) -> bool:
    kinds = (field.annotation, *get_args(field.annotation))
    return any(get_origin(kind) in (dict, Mapping) for kind in kinds)


def _extra(field: FieldInfo) -> dict[str, Any]:
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _load(where: str) -> Any:
    module, _, name = where.partition(":")
    return getattr(importlib.import_module(module), name)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _version() -> str:
    try:
        return version("waypost")
    except PackageNotFoundError:
        return "0 (not installed)"


if __name__ == "__main__":
    sys.exit(main())
