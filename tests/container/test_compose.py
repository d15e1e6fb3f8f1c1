"""docker-compose.yml held against the Dockerfile and Waypost's own options. `make container-test` runs it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import waypost
from deploy.container import trial
from node.config import NodeConfig
from relay.configuring import OptionError, Sources
from tests.container import compose, dockerfile
from tests.programs import ROOT

PROJECT = compose.read(ROOT / "docker-compose.yml")
FILE = dockerfile.read(ROOT / "Dockerfile")
NODES = ("node1", "node2")
STATE = "/var/lib/waypost"


@pytest.fixture
def options(tmp_path: Path) -> Path:
    """A folder like the one that `setup` leaves, with the names of its files."""
    registry = ["sqlite:///a.db"]
    (tmp_path / "node.toml").write_text(trial.toml("node", registry=registry, public_url="https://node1:8801"))
    (tmp_path / "gateway.toml").write_text(trial.toml("gateway", registry=registry, trust=["0x" + "1" * 40]))
    return tmp_path


@pytest.mark.parametrize("name", [*NODES, "gateway"])
def test_waypost_takes_what_a_service_says(name: str, options: Path) -> None:
    config = _parsed(name, options, *_words(name))
    if isinstance(config, NodeConfig):
        assert config.tls_key == Path(STATE) / "tls.key"


def test_it_would_not_take_another_option(options: Path) -> None:
    with pytest.raises((OptionError, SystemExit)):
        _parsed("gateway", options, *_words("gateway"), "--tls-key=/nowhere")


def test_setup_makes_what_the_others_mount() -> None:
    setup = PROJECT["setup"]
    assert setup.entrypoint is not None and setup.entrypoint[1:] == ("-m", trial.__name__)
    given = trial.parser().parse_args(setup.command)
    volumes = {path: volume for volume, path in setup.mounts}
    assert volumes[str(given.gateway)] == _state_volume("gateway")
    ports = set()
    for name, node in zip(NODES, given.node, strict=True):
        url, _, folder = node.partition("=")
        host, _, port = url.removeprefix("https://").partition(":")
        assert (host, volumes[folder]) == (name, _state_volume(name))
        ports.add(port)
    assert ports == {FILE.holds("node", "EXPOSE")}


def test_the_operators_key_is_within_nobody_elses_reach() -> None:
    given = trial.parser().parse_args(PROJECT["setup"].command)
    (volume,) = [volume for volume, path in PROJECT["setup"].mounts if path == str(given.operator)]
    assert {each.name for each in PROJECT.services if volume in dict(each.mounts)} == {"setup"}


def test_each_service_has_its_state_for_itself() -> None:
    assert len({_state_volume(name) for name in (*NODES, "gateway")}) == 3


def test_only_the_gateway_is_reached_and_only_from_this_machine() -> None:
    published = {each.name: each.ports for each in PROJECT.services if each.ports}
    assert published == {"gateway": (("127.0.0.1", 8800, 8800),)}
    assert FILE.holds("gateway", "EXPOSE") == "8800"


def test_volumes_belong_to_the_user_since_the_image_has_their_folders() -> None:
    for service in PROJECT.services:
        made = " ".join(
            each.rest for stage in FILE.lineage(service.target) for each in stage.instructions if each.word == "RUN"
        )
        for _, path in service.mounts:
            assert re.search(rf"install -d -m 0700 -o \S+ -g \S+ [^&]*{re.escape(path)}(\s|$)", made), (
                f"{service.name}: {path}"
            )


def test_the_model_is_the_one_that_the_image_holds() -> None:
    (copied,) = [each.rest for each in FILE.lineage("weights")[0].instructions if "/models/" in each.rest]
    name = re.findall(r"/models/(\S+)", copied)[-1]
    for node in NODES:
        assert f"--model=smollm2=/usr/share/waypost/models/{name}" in _words(node)


def test_a_service_that_says_more_than_is_known_is_refused(tmp_path: Path) -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    for old, new in (("    restart: unless-stopped", "    privileged: true"), ("read_only: true", "read_only: false")):
        assert old in text
        (tmp_path / "docker-compose.yml").write_text(text.replace(old, new, 1))
        with pytest.raises(ValueError, match=r"privileged|read_only"):
            compose.read(tmp_path / "docker-compose.yml")


def _words(name: str) -> tuple[str, ...]:
    command = PROJECT[name].command
    assert command is not None
    return command


def _state_volume(name: str) -> str:
    return next(volume for volume, path in PROJECT[name].mounts if path == STATE)


def _parsed(name: str, options: Path, *words: str) -> object:
    """The options as the command gets them; only the file is another. Raises OptionError, SystemExit."""
    part = "gateway" if name == "gateway" else "node"
    assert f"--config={STATE}/waypost.toml" in words
    moved = [word.replace(f"{STATE}/waypost.toml", str(options / f"{part}.toml")) for word in words]
    path = (part, "serve")
    given = vars(waypost._parser(path).parse_args(moved))
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("WAYPOST_")},
        "WAYPOST_LISTEN": "0.0.0.0:1",
    }
    sources = waypost._sources(path, given)
    return Sources(part, sources.model, given, environment, sources.known, sources.parts).read()
