"""What `setup` of docker-compose.yml makes, on a real chain: keys once, a registry for each chain, delegations anew."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

from registry.keys import Wallet
from tests.chain.anvil import anvil
from tests.programs import ROOT

NODES = {"node1": "https://node1:8801", "node2": "https://node2:8801"}
KEPT = ("operator/operator.key", "node1/node.key", "node1/delegate.key", "node2/tls.key")


async def test_setup_can_be_repeated_and_finds_out_that_the_chain_is_another(tmp_path: Path) -> None:
    async with anvil(tmp_path) as chain:
        first = _setup(tmp_path, chain.rpc)
        again = _setup(tmp_path, chain.rpc, nodes=())
    assert first.returncode == again.returncode == 0, first.stderr + again.stderr
    assert "registry create" in first.stdout and "registry create" not in again.stdout
    keys = [(tmp_path / name).read_bytes() for name in KEPT]
    async with anvil(tmp_path) as chain:
        moved = _setup(tmp_path, chain.rpc)
    assert moved.returncode == 0, moved.stderr
    assert "registry create" in moved.stdout
    assert [(tmp_path / name).read_bytes() for name in KEPT] == keys
    _holds_together(tmp_path)


async def test_without_a_chain_it_says_what_failed(tmp_path: Path) -> None:
    async with anvil(tmp_path) as chain:
        gone = chain.rpc
    ended = _setup(tmp_path, gone)
    assert ended.returncode == 1
    assert "registry create failed" in ended.stderr


def _holds_together(folder: Path) -> None:
    """Whom the gateway trusts signed for the keys that the nodes have; nothing can be read by others."""
    operator = Wallet.load(folder / "operator" / "operator.key").address
    gateway = tomllib.loads((folder / "gateway" / "waypost.toml").read_text())["gateway"]
    assert gateway["trust"] == [operator]
    payers = set()
    for name, url in NODES.items():
        node = tomllib.loads((folder / name / "waypost.toml").read_text())["node"]
        assert (node["public_url"], node["registry"]) == (url, gateway["registry"])
        delegation = json.loads((folder / name / "delegation.json").read_text())
        assert Wallet.load(folder / name / "delegate.key").address in json.dumps(delegation)
        payers.add((folder / name / "payer.key").read_text())
    assert len(payers) == len(NODES), "nodes that pay from one wallet get in each other's way"
    for file in folder.glob("*/*.key"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def _setup(folder: Path, rpc: str, nodes: Iterable[str] = NODES) -> subprocess.CompletedProcess[str]:
    for name in ("operator", "gateway", *NODES):
        (folder / name).mkdir(exist_ok=True)
    words = ["--chain", f"evm+{rpc}", "--operator", str(folder / "operator"), "--gateway", str(folder / "gateway")]
    words += [f"--node={url}={folder / name}" for name, url in NODES.items() if name in nodes]
    command = (sys.executable, "-m", "deploy.container.trial", *words)
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
