"""What the Dockerfile says, held without building it: users, commands without a shell, labels, and nothing that leaks.

What the images are like once built is `make container-test`'s.
"""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from pathlib import Path

import pytest

from tests.container import dockerfile
from tests.container.ignored import passes
from tests.programs import ROOT

FILE = dockerfile.read(ROOT / "Dockerfile")
SHIPPED = ("gateway", "node", "demo", "chain")
OURS = ("gateway", "node", "demo")
LOOPBACK = "127.0.0.1"


@pytest.mark.parametrize("target", SHIPPED)
def test_an_image_runs_as_a_numbered_user_that_is_not_root(target: str) -> None:
    user = FILE.holds(target, "USER")
    assert user is not None and re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


@pytest.mark.parametrize("target", SHIPPED)
@pytest.mark.parametrize("word", ["ENTRYPOINT", "CMD", "HEALTHCHECK"])
def test_no_shell_stands_between_the_engine_and_the_program(target: str, word: str) -> None:
    said = FILE.holds(target, word)
    assert said is not None
    words = json.loads(said[said.index("[") :])
    assert all(isinstance(each, str) for each in words)
    assert target == "chain" or "sh" not in {Path(each).name for each in words}


@pytest.mark.parametrize("target", OURS)
def test_the_healthcheck_asks_the_port_that_is_served(target: str) -> None:
    environment = dict(
        said.split("=", 1) for stage in FILE.lineage(target) for said in _environment(stage) if "=" in said
    )
    port = environment["WAYPOST_LISTEN"].rpartition(":")[2]
    check = FILE.holds(target, "HEALTHCHECK")
    assert check is not None
    program, module_option, module, asked = json.loads(check[check.index("[") :])
    assert (program, module_option, asked) == ("/opt/waypost/bin/python", "-m", port)
    assert importlib.util.find_spec(module) is not None
    assert FILE.holds(target, "EXPOSE") == port


def test_labels_tell_the_version_of_this_checkout() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for stage in (FILE.lineage("gateway")[0], FILE.lineage("node")[0]):
        arguments = [each.rest for each in stage.instructions if each.word == "ARG"]
        assert f"VERSION={version}" in arguments, f"{stage.name}: ARG VERSION is not {version}"
        assert '.version="${VERSION}"' in (stage.last("LABEL") or "")


def test_the_gateway_takes_nothing_from_the_stages_of_engines() -> None:
    taken = {
        match[1]
        for stage in FILE.lineage("gateway")
        for each in stage.instructions
        for match in [re.search(r"(?:--from=|from=)(\S+?)[ ,]", each.rest)]
        if match
    }
    assert taken == {"gateway-environment"}
    assert {stage.name for stage in FILE.lineage("gateway-environment")}.isdisjoint({"llama", "node-wheels"})


@pytest.mark.parametrize("target", SHIPPED)
def test_no_image_stands_on_a_stage_that_compiles(target: str) -> None:
    assert FILE.lineage(target)[-1].base == "${BASE}"
    for stage in FILE.lineage(target):
        installed = " ".join(each.rest for each in stage.instructions if "apt-get install" in each.rest)
        assert not re.search(r"\b(g\+\+|gcc|cmake|make|git|curl|python3-venv|python3-pip)\b", installed)


def test_what_reaches_an_index_is_a_secret_of_the_build_and_in_no_layer() -> None:
    for stage in FILE.stages:
        for each in stage.instructions:
            assert each.word != "ADD"
            if re.search(r"pip (wheel|install)|npm ci|wheels.py build", each.rest) and "--no-index" not in each.rest:
                assert "--mount=type=secret,id=pip" in each.rest, f"{stage.name}: {each.rest[:80]}"
            assert each.word not in ("ENV", "ARG") or not re.search(r"INDEX|TOKEN|PASSWORD|PROXY", each.rest)


@pytest.mark.parametrize("name", ["Dockerfile", ".dockerignore", "docker-compose.yml"])
def test_no_host_is_named(name: str) -> None:
    named = set(re.findall(r"https?://([^/:\s\"']+)", (ROOT / name).read_text()))
    assert named <= {LOOPBACK, "chain", "node1", "node2"}


@pytest.mark.parametrize(
    "path",
    [
        "operator.key", "node/left.key", "deploy/cert.pem", "gateway/state.db", ".venv/bin/python", ".git/config",
        "gateway/.env", ".chain/payer.key", "tests/chain/anvil.py", "waypost.toml", "image/waypost.raw",
        "registry/__pycache__/advert.cpython-311.pyc", "docs/operators.md",
    ],
)  # fmt: skip
def test_what_no_image_needs_does_not_reach_the_builder(path: str) -> None:
    assert not passes(path, ROOT / ".dockerignore")


@pytest.mark.parametrize("path", ["waypost.py", "node/app.py", "scripts/llama/cmake-args.txt", "deploy/vm/settings.py"])
def test_what_is_built_from_does(path: str) -> None:
    assert (ROOT / path).exists() and passes(path, ROOT / ".dockerignore")


def test_all_that_is_copied_reaches_the_builder() -> None:
    for stage in FILE.stages:
        for each in stage.instructions:
            if each.word == "COPY" and "--from" not in each.rest:
                *sources, _ = each.rest.split()
                for source in sources:
                    files = [ROOT / source] if (ROOT / source).is_file() else list((ROOT / source).glob("*.*"))
                    assert any(passes(str(file.relative_to(ROOT)), ROOT / ".dockerignore") for file in files), source


def _environment(stage: dockerfile.Stage) -> list[str]:
    return [word for each in stage.instructions if each.word == "ENV" for word in each.rest.split()]
