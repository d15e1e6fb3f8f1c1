"""`--help` is complete: every option, what it means, its default and its variable."""

from __future__ import annotations

import re
from typing import Any, get_origin

import pytest

import waypost
from tests.commands import here


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


@pytest.mark.parametrize("path", waypost.COMMANDS, ids=" ".join)
def test_help_shows_every_option(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    ended = here(capsys, *path, "--help")
    assert (ended.status, ended.err) == (0, "")
    shown = _squeezed(ended.out)
    assert "--config" in shown
    model: Any = waypost._load(waypost.COMMANDS[path].config)
    for name, field in model.model_fields.items():
        option = field.alias or name
        extra = field.json_schema_extra or {}
        if get_origin(field.annotation) is dict:
            continue  # a table of the file
        assert field.description, option
        assert _squeezed(field.description) in shown, option
        if extra.get("positional"):
            assert option.upper() in shown
            continue
        assert f"--{option.replace('_', '-')}" in shown
        assert f"[WAYPOST_{option.upper()}]" in shown
        if not field.is_required() and field.default not in (None, (), False, "") and field.default_factory is None:
            assert _squeezed(f"[default: {field.default}]") in shown, option
        if get_origin(field.annotation) is tuple:
            assert "(repeatable)" in shown


@pytest.mark.parametrize("group", [(), *waypost.GROUPS], ids=lambda group: " ".join(group) or "waypost")
def test_help_of_a_group_lists_what_is_in_it(group: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    ended = here(capsys, *group, "--help")
    assert ended.status == 0
    for path, command in waypost.COMMANDS.items():
        if path[: len(group)] == group and len(path) == len(group) + 1:
            assert path[-1] in ended.out
            assert _squeezed(command.help) in _squeezed(ended.out)


def test_no_command_shows_the_help_and_the_version_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert here(capsys).out.startswith("usage: waypost")
    assert re.match(r"waypost \d", here(capsys, "--version").out)
