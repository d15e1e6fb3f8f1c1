"""The agent as it really is, from one version to the next, by the commands of the VM: its own wheel, its own health."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.node.conftest import FAKE, write_gguf
from tests.programs import ROOT, free_port, until
from tests.upgrade.vm import Vm, systemctl, vm


def _wheel(folder: Path) -> Path:
    """Of this checkout."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(folder), str(ROOT)], check=True)
    return next(folder.glob("waypost-*.whl"))


def _named(wheel: Path, version: str) -> Path:
    """The same under another version: building each would take its time."""
    old, made = wheel.name.split("-")[1], wheel.with_name(f"waypost-{version}-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(made, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith(("/METADATA", "/RECORD")):
                content = content.replace(f"Version: {old}\n".encode(), f"Version: {version}\n".encode())
                content = content.replace(f"waypost-{old}.dist".encode(), f"waypost-{version}.dist".encode())
            target.writestr(name.replace(f"waypost-{old}.dist", f"waypost-{version}.dist"), content)
    return made


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Vm]:
    """A node over the stand-in for llama-server, which serves TLS; its packages are this environment's."""
    async with vm(tmp_path, started=False) as made:
        (tmp_path / "llama-server").write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
        (tmp_path / "llama-server").chmod(0o755)
        home = made.root / "opt/waypost-releases/1.0"
        (site,) = home.glob("lib/python3*/site-packages")
        (site / "around.pth").write_text(sysconfig.get_path("purelib") + "\n")
        port, state = free_port(), made.root / "var/lib/waypost"
        (made.root / "etc/waypost/environment").write_text(
            f"WAYPOST_LISTEN=127.0.0.1:{port}\nWAYPOST_STATE={state}\nWAYPOST_TLS_KEY={state}/tls.key\n"
            f"PYTHONPATH=\nXDG_RUNTIME_DIR={tmp_path}\n"
        )
        gguf = write_gguf(tmp_path / "small.gguf")
        (made.root / "etc/waypost/waypost.toml").write_text(
            f'[node]\nllama_server = "{tmp_path}/llama-server"\n[node.models.small]\nuri = "{gguf}"\n'
        )
        yield made


@pytest.mark.engine
async def test_a_node_goes_on_as_the_same_node_under_its_next_release(machine: Vm, tmp_path: Path) -> None:
    wheel = await asyncio.to_thread(_wheel, tmp_path)
    done = await machine.upgrade(
        _named(wheel, "0.8.1"), "--unproven", "--healthy-s", "120"
    )  # the made-up 1.0 never served
    assert (done.status, machine.current) == (0, "0.8.1"), done.err
    before = _keys(machine)
    done = await machine.upgrade(_named(wheel, "0.8.2"), "--healthy-s", "120")
    assert (done.status, machine.current) == (0, "0.8.2"), done.err
    after = _keys(machine)
    assert {**before, "version": ""} == {**after, "version": ""}
    assert (before["version"], after["version"]) == ("0.8.1", "0.8.2")
    kept = (await machine.run("waypost-backup")).out.encode("latin-1")
    assert (await machine.run("waypost-backup", "--restore", stdin=kept)).status == 0
    config = machine.root / "etc/waypost/waypost.toml"
    config.write_text(config.read_text() + "unknown = 1\n")
    systemctl(machine, "restart")
    await until(lambda: (machine.root / "unit.state").read_text() == "failed")
    done = await machine.upgrade("--back", "--healthy-s", "120")
    assert (done.status, machine.current) == (1, "0.8.1")
    assert "0.8.1 cannot be used: the unit is failed" in done.err


def _keys(machine: Vm) -> dict[str, str | None]:
    lines = (machine.root / "etc/waypost/environment").read_text().split()
    env = machine.environment | dict(line.split("=", 1) for line in lines)
    words = [machine.root / "opt/waypost/bin/waypost", "node", "keys"]
    done = subprocess.run(words, env=env, capture_output=True, check=True, cwd=machine.root)
    found: dict[str, str | None] = json.loads(done.stdout)
    return found
