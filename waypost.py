"""The one command: hands each sub-command to its part, and imports that only then.

The command line is built from the fields of the command's configuration model. Not here: reading the options from it,
from the environment and from `waypost.toml` (relay.configuring).
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from relay.configuring import (
    DEFAULT_FILE,
    ENV_PREFIX,
    OptionError,
    Sources,
    extra,
    flag,
    is_list,
    is_positional,
    is_table,
    options,
)

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

_DASHED_KEY = re.compile(r"-[A-Za-z0-9_-]{42}")


@dataclass(frozen=True)
class Command:
    """Where a sub-command's options (`config`) and body (`run`) stand, each as `module:name`.

    One that `rereads` its options while it runs is handed what reads them anew, beside what they are at the start.
    """

    config: str
    run: str
    help: str
    rereads: bool = False


COMMANDS: Mapping[tuple[str, ...], Command] = {
    ("up",): Command("deploy.config:UpConfig", "deploy.up:run", "run registry, nodes and gateway on this machine"),
    ("node", "serve"): Command(
        "node.config:NodeConfig", "node.app:run", "serve and publish this machine's models", rereads=True
    ),
    ("node", "check"): Command(
        "node.proving.check_config:CheckConfig",
        "node.proving.check:run",
        "try each model, print what fits and how fast, serve nothing",
    ),
    ("node", "status"): Command(
        "node.telemetry.status_config:StatusConfig", "node.telemetry.status:run", "show how a node is doing"
    ),
    ("node", "keys"): Command(
        "node.keys_config:KeysConfig", "node.keys:run", "make this node's keys, and print what they are"
    ),
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
    ("deploy", "image"): Command(
        "deploy.image_config:ImageConfig", "deploy.image:run", "build the disk image of a node's VM"
    ),
    ("deploy", "aleph"): Command(
        "deploy.aleph.config:UpConfig", "deploy.aleph.up:run", "a node on a new machine on Aleph"
    ),
    ("deploy", "offers"): Command(
        "deploy.aleph.config:OffersConfig",
        "deploy.aleph.offers:run",
        "machines that can be had on Aleph, and their price",
    ),
    ("deploy", "status"): Command(
        "deploy.aleph.config:StatusConfig", "deploy.aleph.status:run", "what a deployment has come to"
    ),
    ("deploy", "logs"): Command(
        "deploy.aleph.config:LogsConfig", "deploy.aleph.logs:run", "what a deployed node writes"
    ),
    ("deploy", "destroy"): Command(
        "deploy.aleph.config:DestroyConfig", "deploy.aleph.destroy:run", "end a deployment and what it costs"
    ),
}
GROUPS: Mapping[tuple[str, ...], str] = {
    ("node",): "the agent beside a GPU",
    ("gateway",): "the router in front of nodes",
    ("gateway", "key"): "API keys of a gateway",
    ("key",): "operators' wallet keys",
    ("registry",): "what nodes claim",
    ("deploy",): "build a VM image, start it on Aleph Cloud",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0 done, 1 failed, 2 wrongly called."""
    words = list(sys.argv[1:] if argv is None else argv)
    path = _command_path(words)
    parser = _parser(path)
    given = vars(parser.parse_args(_shielded(words)))
    if path not in COMMANDS:
        parser.print_help()
        return 0 if not words else 2
    sources = _sources(path, given)
    try:
        config = sources.read()
    except OptionError as error:
        print(*(f"waypost: {problem}" for problem in error.problems), sep="\n", file=sys.stderr)
        return 2
    try:
        return _run(COMMANDS[path], config, sources.rereading())
    except KeyboardInterrupt:
        return 130


def _run(command: Command, config: BaseModel, reread: Callable[[], BaseModel]) -> int:
    """Services run their own loop and report their own failures; the registry's commands are coroutines."""
    body = _load(command.run)
    outcome = body(config, reread) if command.rereads else body(config)
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
    for name, field in options(model).items():
        if is_table(field):
            continue
        shown: dict[str, Any] = {"default": argparse.SUPPRESS, "help": _help(name, field)}
        if is_positional(field):
            often = ("*", "+") if is_list(field) else ("?", None)
            nargs = often[field.is_required()]
            parser.add_argument(name, **shown, metavar=name.upper(), nargs=nargs, type=_bare)
        elif field.annotation is bool:
            parser.add_argument(flag(name), **shown, action=argparse.BooleanOptionalAction)
        else:
            action = "append" if is_list(field) else "store"
            metavar = extra(field).get("metavar", "VALUE")
            parser.add_argument(flag(name), **shown, action=action, metavar=metavar, type=_bare)


def _help(name: str, field: FieldInfo) -> str:
    text = (field.description or "").replace("%", "%%")
    if is_list(field) and not is_positional(field):
        text += " (repeatable)"
    if not field.is_required() and field.default not in (None, (), False, ""):
        text += f" [default: {field.default}]".replace("%", "%%")
    return text if is_positional(field) else f"{text} [{ENV_PREFIX}{name.upper()}]"


def _sources(path: tuple[str, ...], given: Mapping[str, Any]) -> Sources:
    parts = sorted({words[0] for words in COMMANDS})
    return Sources(path[0], _load(COMMANDS[path].config), given, dict(os.environ), _known_options, parts)


def _known_options(part: str) -> set[str]:
    models = (_load(command.config) for words, command in COMMANDS.items() if words[0] == part)
    return {name for model in models for name in options(model)}


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
