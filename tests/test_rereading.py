"""A command that runs reads its options again: from the places of its start, with the same words for what is wrong."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import waypost
from node.config import NodeConfig
from relay.configuring import OptionError, Sources
from tests.commands import run

NODE = '[node]\nqueue = {queue}\n[node.models.tiny]\nuri = "/tiny.gguf"\n'
PARTS = sorted({words[0] for words in waypost.COMMANDS})


def sources(folder: Path, environment: Mapping[str, str] | None = None, **given: Any) -> Sources:
    return Sources("node", NodeConfig, given, environment or {}, waypost._known_options, PARTS, folder)


def refusal(reread: Callable[[], object]) -> str:
    with pytest.raises(OptionError) as refused:
        reread()
    return str(refused.value)


def test_what_stands_in_the_file_by_then_is_read_again_under_what_was_given_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "waypost.toml"
    file.write_text(NODE.format(queue=1))
    fixed = sources(tmp_path, {"WAYPOST_GAP_S": "7"}, listen="127.0.0.1:7")
    reread = fixed.rereading()
    assert reread() == fixed.read()
    file.write_text('[node]\nqueue = 2\ngap_s = 5\nlisten = "127.0.0.1:5"\nmodel = ["b=/b.gguf"]\n')
    assert reread() == NodeConfig(model=("b=/b.gguf",), queue=2, gap_s=7, listen="127.0.0.1:7")


@pytest.mark.parametrize("given", [{}, {"config": "waypost.toml"}])
def test_the_file_is_that_of_the_folder_of_the_start(tmp_path: Path, given: dict[str, str]) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/waypost.toml").write_text("nonsense")
    (tmp_path / "waypost.toml").write_text(NODE.format(queue=3))
    with contextlib.chdir(tmp_path):
        reread = waypost._sources(("node", "serve"), given).rereading()
    with contextlib.chdir(tmp_path / "other"):
        config = reread()
        (tmp_path / "waypost.toml").write_text("[node]\nx = 1")
        assert refusal(reread).startswith("waypost.toml: [node] has no option 'x'; it knows access,")
    assert isinstance(config, NodeConfig)
    assert config.queue == 3


@pytest.mark.parametrize("toml", ["listen = 1", "[nod]", "[node]\nmodle = 1", "[node", "[node]\nqueue = -1", "[node]"])
def test_it_is_refused_with_the_same_words_as_at_the_start(tmp_path: Path, toml: str) -> None:
    reread = sources(tmp_path).rereading()
    ended = run(tmp_path, "node", "serve", toml=toml)
    assert ended.err == f"waypost: {refusal(reread)}\n"


def test_several_problems_are_a_line_each_at_the_start_and_one_line_in_a_log(tmp_path: Path) -> None:
    ended = run(tmp_path, "node", "serve", toml="[node]\nqueue = -1\ngap_s = 0\n")
    lines = ended.err.splitlines()
    assert [line.split()[:2] for line in lines] == [["waypost:", "--queue:"], ["waypost:", "--gap-s:"]]
    assert refusal(sources(tmp_path).rereading()) == "; ".join(line.removeprefix("waypost: ") for line in lines)


def test_a_file_that_has_gone_is_not_taken_for_one_without_options(tmp_path: Path) -> None:
    file = tmp_path / "waypost.toml"
    file.write_text("[node]\nqueue = 1\n")
    reread = sources(tmp_path, model=["a=/a.gguf"]).rereading()
    file.unlink()
    assert refusal(reread) == "--config waypost.toml: No such file or directory"
    file.mkdir()
    assert refusal(reread) == "--config waypost.toml: only a file can be read again, and this is none"


def test_a_file_that_comes_later_is_read(tmp_path: Path) -> None:
    reread = sources(tmp_path, model=["a=/a.gguf"]).rereading()
    assert reread() == NodeConfig(model=("a=/a.gguf",))
    (tmp_path / "waypost.toml").write_text("[node]\nqueue = 4\n")
    assert reread() == NodeConfig(model=("a=/a.gguf",), queue=4)


def test_a_pipe_can_be_read_once_and_is_never_waited_for_again(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reread = sources(tmp_path, {"WAYPOST_CONFIG": "pipe"}).rereading()
    assert refusal(reread) == "--config pipe: only a file can be read again, and this is none"


def test_options_can_be_read_in_a_folder_that_was_removed(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    with contextlib.chdir(tmp_path / "gone"):
        (tmp_path / "gone").rmdir()
        fixed = waypost._sources(("node", "serve"), {"model": ["a=/a.gguf"]})
    assert fixed.read() == fixed.rereading()() == NodeConfig(model=("a=/a.gguf",))
