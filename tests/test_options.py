"""Options: where each is read from and what wins, and one clear line for whatever is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import waypost
from gateway.config import GatewayConfig
from relay.configuring import options
from tests.commands import Ended, here, run

ADDRESS = "0x" + "a" * 40
SERVE = ["gateway", "serve", "--registry", "sqlite:///r.db", "--trust", "any"]
LIST = ["registry", "list"]


# where an option is read from: `registry list` names the registry that it cannot open


def _asked(ended: Ended) -> str:
    found = re.search(r"registry (\w+)://", ended.err)
    return found[1] if found else ended.err


FILE = '[registry]\nregistry = ["file://x"]\n'
VARIABLE = {"WAYPOST_REGISTRY": "env://x"}


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    assert _asked(run(tmp_path, *LIST, toml=FILE)) == "file"
    assert _asked(run(tmp_path, *LIST, env=VARIABLE)) == "env"
    assert _asked(run(tmp_path, *LIST, "--registry", "cli://x", env=VARIABLE)) == "cli"


def test_what_is_nowhere_has_its_default_or_is_asked_for(tmp_path: Path) -> None:
    ended = run(tmp_path, *LIST)
    assert (ended.status, ended.err) == (2, "waypost: --registry: required\n")
    refused = run(tmp_path, *LIST, "--trust", "nobody", toml=FILE)
    assert refused.err.startswith("waypost: --trust:"), "without it, any is trusted"


def test_another_file_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(FILE)
    assert _asked(run(tmp_path, *LIST, "--config", "other.toml", toml="nonsense = 1")) == "file"
    assert _asked(run(tmp_path, *LIST, env={"WAYPOST_CONFIG": "other.toml"})) == "file"
    ended = run(tmp_path, *LIST, "--config", "absent.toml")
    assert (ended.status, ended.err) == (2, "waypost: --config absent.toml: No such file or directory\n")


def test_lists_flags_and_numbers_can_stand_anywhere(tmp_path: Path) -> None:
    ended = run(tmp_path, *LIST, env={"WAYPOST_REGISTRY": "one://x two://x", "WAYPOST_JSON": "true"})
    assert (ended.status, _asked(ended)) == (1, "one")
    toml = '[gateway]\nregistry = ["no://x"]\ntrust = ["any"]\nopen = true\nlisten = "0.0.0.0:0"\nhead_s = 2\n'
    ended = run(tmp_path, "gateway", "serve", toml=toml, env={"WAYPOST_GAP_S": "1.5"})
    assert (ended.status, _asked(ended)) == (1, "no")


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        (
            "listen = 1",
            "waypost.toml: unknown key 'listen'; the tables are [deploy], [gateway], [key], [node], [registry], [up]",
        ),
        ("[gatway]\nopen = true", "waypost.toml: unknown key 'gatway'; the tables are [deploy], [gateway],"),
        ("[gateway]\nlisen = 'x'", "waypost.toml: [gateway] has no option 'lisen'; it knows allow_private, api_keys,"),
        ("[node]\nmodle = 'x'", "waypost.toml: [node] has no option 'modle'; it knows access,"),
        ("[registry]\nregistry = 7", "--registry: "),
        ("[registry\n", "--config waypost.toml: "),
    ],
)
def test_a_file_with_something_unknown_is_refused_with_what_is_known(tmp_path: Path, toml: str, said: str) -> None:
    ended = run(tmp_path, *LIST, toml=toml)
    assert ended.status == 2
    assert ended.err.startswith(f"waypost: {said}"), ended.err
    assert len(ended.err.splitlines()) == 1


def test_an_unknown_option_of_one_model_is_refused(tmp_path: Path) -> None:
    toml = '[node.models.tiny]\nuri = "/tiny.gguf"\ncontxt = 5\n'
    ended = run(tmp_path, "node", "serve", toml=toml)
    assert (ended.status, ended.err) == (2, "waypost: [node] models.tiny.contxt: no such option\n")


KEYS = ["-" * 43, "-h" + "A" * 41, "--registry" + "x" * 33, "-" + "0" * 42, "-" + "aZ_" * 14, "-" * 42 + "A"]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("words", [["{}", "--json", "--registry", "no://x"], ["--registry", "no://x", "{}"]])
def test_a_key_that_begins_with_a_dash_may_be_named(
    capsys: pytest.CaptureFixture[str], key: str, words: list[str]
) -> None:
    ended = here(capsys, "registry", "show", *(word.format(key) for word in words))
    assert (ended.status, _asked(ended)) == (1, "no"), ended.err


@pytest.mark.parametrize("key", KEYS)
def test_an_option_may_have_a_value_that_begins_with_a_dash(capsys: pytest.CaptureFixture[str], key: str) -> None:
    wrong = ["--listen", "0.0.0.0:1", "--public-url", "x", "--model", "t=/t.gguf"]
    ended = here(capsys, "node", "serve", "--access", key, "--access", f"a{key}", *wrong)
    assert ended.err.startswith(f"waypost: --access: 'a{key}' names nobody"), ended.err
    ended = here(capsys, "node", "serve", "--access", key, "--access", KEYS[0], *wrong)
    assert ended.err.startswith("waypost: --public-url 'x' must be"), ended.err


def test_several_keys_that_begin_with_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["retire", *(key[:-1] + "A" for key in KEYS), "--operator-key", "none.key", "--registry", "no://x"]
    ended = here(capsys, "registry", *words)
    assert (ended.status, ended.out) == (1, ""), ended.err
    assert "none.key" in ended.err or "no://x" in ended.err


def test_no_option_is_as_long_as_a_key() -> None:
    for command in waypost.COMMANDS.values():
        flags = ["--no-" + name.replace("_", "-") for name in options(waypost._load(command.config))]
        assert all(len(flag) < 43 for flag in flags)


def test_an_unknown_variable_is_refused_and_another_commands_is_not(tmp_path: Path) -> None:
    ended = run(tmp_path, *LIST, env={"WAYPOST_REGISTRIES": "env://x"})
    assert ended.status == 2
    assert ended.err == (
        "waypost: the environment has WAYPOST_REGISTRIES, which is no option; unset it, or see waypost --help\n"
    )
    assert _asked(run(tmp_path, *LIST, env={**VARIABLE, "WAYPOST_PUBLIC_URL": "http://x"})) == "env"


# what is wrong


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gateway", "serve", "--registry", "sqlite:///r.db"], "--trust: required"),
        (["gateway", "serve", "--trust", "any"], "--registry: required"),
        ([*SERVE, "--trust", "0x12"], "--trust: '0x12' names nobody; write any, an operator's 0x address, or curator:"),
        ([*SERVE, "--pin", "m"], "--pin: 'm' is not NAME=DIGEST with 64"),
        ([*SERVE, "--pin", f"m={'A' * 64}"], "--pin: "),
        ([*SERVE, "--listen", "8800"], "--listen: '8800' is not HOST:PORT; write for example 127.0.0.1:8800"),
        ([*SERVE, "--listen", "127.0.0.1:99999"], "--listen: '127.0.0.1:99999' is not HOST:PORT;"),
        ([*SERVE, "--open", "--listen", "x"], "--listen: 'x' is not HOST:PORT;"),
        ([*SERVE, "--open", "--api-keys", "k"], "--open and --api-keys contradict each other; give one of them"),
        ([*SERVE, "--head-s", "soon"], "--head-s: "),
        ([*SERVE, "--head-s", "0"], "--head-s: "),
        ([*SERVE, "--log-level", "loud"], "--log-level: "),
        ([*SERVE, "--body-limit-bytes", "1.5"], "--body-limit-bytes: "),
        (["gateway", "key", "new", "a b", "--api-keys", "k"], "NAME: "),
        (["gateway", "key", "new", "a"], "--api-keys: required"),
        (["node", "serve"], "no model is named; give --model NAME=URI, or [node.models.NAME] in the file"),
        (["node", "serve", "--model", "tiny"], "--model: "),
        (
            ["node", "serve", "--model", "t=/t.gguf", "--listen", "0.0.0.0:1"],
            "--listen 0.0.0.0:1 is reachable by others;",
        ),
        (
            ["registry", "list", "--registry", "sqlite:///r.db", "--trust", "me"],
            "--trust: 'me' names nobody; write any,",
        ),
        (["registry", "delegate", "0x12", "--operator-key", "k", "--out", "o"], "DELEGATE: "),
        (["up", "--port", "70000"], "--port: "),
        (["up", "--nodes", "0"], "--nodes: "),
    ],
    ids=lambda value: " ".join(value[2:]) if isinstance(value, list) else "",
)
def test_a_wrong_value_gets_one_line_that_names_the_option(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    ended = here(capsys, *words)
    assert ended.status == 2
    assert ended.err.startswith(f"waypost: {said}"), ended.err
    assert len(ended.err.splitlines()) == 1
    assert "Traceback" not in ended.err
    assert ended.out == ""


@pytest.mark.parametrize(
    "words",
    [["serve"], ["gateway"], ["gateway", "key"], ["gateway", "serve", "--nonsense"], ["up", "x"], ["key", "new"]],
)
def test_what_is_no_command_or_option_is_told_with_the_usage(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    ended = here(capsys, *words)
    assert ended.status == 2
    assert ended.err.startswith("usage: waypost")
    assert "error: " in ended.err


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.168.1.5", "gateway.example"])
def test_a_gateway_that_others_can_reach_must_say_who_may_call(capsys: pytest.CaptureFixture[str], host: str) -> None:
    ended = here(capsys, *SERVE, "--listen", f"{host}:8800")
    assert ended.status == 2
    assert ended.err == (
        f"waypost: --listen {host}:8800 is reachable by others, and nothing says who may call: "
        "give --api-keys FILE, or --open to let anybody call\n"
    )


@pytest.mark.parametrize("options", [["--open"], ["--api-keys", "keys.json"]])
@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
def test_one_that_says_so_may_listen_anywhere(host: str, options: list[str]) -> None:
    given = {"open": True} if options == ["--open"] else {"api_keys": Path("keys.json")}
    assert GatewayConfig(registry=("sqlite:///r.db",), trust=("any",), listen=f"{host}:8800", **given)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "127.9.9.9"])
def test_on_loopback_nobody_needs_a_key(host: str) -> None:
    assert GatewayConfig(registry=("sqlite:///r.db",), trust=("any",), listen=f"{host}:8800")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--registry", "ftp://x"], "registry ftp://x: unknown scheme 'ftp'; known: sqlite:///relative.db,"),
        (["--registry", "sqlite:///r.db", "--gateway-key", "loose.key"], "loose.key: others can read this key; run"),
        (["--registry", "sqlite:///r.db", "--state", "loose.key/x"], "--state loose.key/x: "),
    ],
)
def test_what_keeps_a_gateway_from_starting_is_one_line(tmp_path: Path, options: list[str], said: str) -> None:
    (tmp_path / "loose.key").write_text("00" * 32)
    (tmp_path / "loose.key").chmod(0o644)
    ended = run(tmp_path, "gateway", "serve", "--listen", "127.0.0.1:0", "--trust", "any", *options)
    assert ended.status == 1
    assert ended.err.startswith(f"waypost: {said}"), ended.err
    assert len(ended.err.splitlines()) == 1


def test_registry_show_shows_everybody_where_nobody_is_named(tmp_path: Path) -> None:
    ended = run(tmp_path, "registry", "show", "--registry", "sqlite:///r.db")
    assert ended.status == 0, ended.err
    assert "0 accepted, 0 refused" in ended.out
    assert "there is nothing at sqlite:///r.db yet" in ended.err
