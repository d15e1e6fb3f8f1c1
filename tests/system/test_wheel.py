"""The wheel: built, installed alone into an empty environment, and light there."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from registry.evm import deploy
from tests.chain.anvil import anvil
from tests.fakes.aleph import aleph_node
from tests.programs import ROOT

HEAVY = ("llama_cpp", "aleph", "web3", "numpy", "gguf")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty virtual environment with nothing but the wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(folder), str(ROOT)], check=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
    wheel = next(folder.glob("waypost-*.whl"))
    subprocess.run([*pip, "--python", str(folder / "env" / "bin" / "python"), "install", str(wheel)], check=True)
    return folder / "env" / "bin"


def _imported(environment: Path, words: list[str]) -> set[str]:
    code = (
        "import sys, waypost\n"
        "try:\n    waypost.main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print('imported:', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    command = [str(environment / "python"), "-c", code, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=environment)
    return set(done.stdout.rpartition("imported:")[2].split())


def test_the_gateway_starts_to_explain_itself_without_anything_heavy(environment: Path) -> None:
    done = subprocess.run([environment / "waypost", "gateway", "serve", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "--trust" in done.stdout
    imported = _imported(environment, ["gateway", "serve", "--help"])
    assert not imported & {*HEAVY, "aiohttp", "cryptography"}


def test_everything_a_gateway_runs_is_in_the_wheel(environment: Path) -> None:
    code = "import gateway.app, gateway.inspect, registry.commands, deploy.up, sys; print(*sys.modules)"
    done = subprocess.run([environment / "python", "-c", code], capture_output=True, text=True, cwd=environment)
    assert done.returncode == 0, done.stderr
    assert not {name.partition(".")[0] for name in done.stdout.split()} & set(HEAVY)


READ_AND_POST = """
import asyncio, sys
from registry.backend import BackendError, fetch_all, open_backend
from registry.keys import Wallet

async def main(url):
    backend = open_backend(url)
    print("read", len(await fetch_all(backend)))
    await backend.close()
    try:
        backend = open_backend(url, author=Wallet.new(), payer=Wallet.new())
        await backend.publish("x")
        await backend.close()
    except (BackendError, ValueError) as error:
        print(error)

asyncio.run(main(sys.argv[1]))
"""


async def _read_and_post(environment: Path, url: str) -> str:
    process = await asyncio.create_subprocess_exec(
        environment / "python", "-c", READ_AND_POST, url, stdout=subprocess.PIPE, cwd=environment
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    return out.decode()


async def test_without_extras_a_network_is_read_and_posting_says_what_it_needs(
    environment: Path, tmp_path: Path
) -> None:
    async with aleph_node(tmp_path) as node:
        said = await _read_and_post(environment, node.registry)
    assert said.startswith("read 0\n") and "pip install 'waypost[aleph]'" in said


async def test_without_extras_a_chain_is_read_and_posting_says_what_it_needs(environment: Path, tmp_path: Path) -> None:
    async with anvil(tmp_path) as chain:
        url = await deploy(f"evm+{chain.rpc}", chain.payer)
        said = await _read_and_post(environment, url)
    assert said.startswith("read 0\n") and "pip install 'waypost[evm]'" in said
