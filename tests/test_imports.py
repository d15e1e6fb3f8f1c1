"""Imports run one way: waypost -> node, gateway, deploy -> relay, registry."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "registry": set[str](),
    "relay": set[str](),
    "node": {"registry", "relay"},
    "gateway": {"registry", "relay"},
    "deploy": {"registry", "relay"},
    "waypost": {"registry", "relay", "node", "gateway", "deploy"},
}
HEAVY = ("llama_cpp", "aleph", "web3", "gguf", "numpy", "node")


def _files() -> Iterator[tuple[str, Path]]:
    yield "waypost", ROOT / "waypost.py"
    for part in MAY_IMPORT:
        for path in sorted((ROOT / part).rglob("*.py")):
            yield part, path


def _imported(path: Path) -> set[str]:
    found = set()
    for step in ast.walk(ast.parse(path.read_text())):
        if isinstance(step, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in step.names}
        elif isinstance(step, ast.ImportFrom):
            assert step.level == 0, f"{path}: imports are absolute"
            found.add((step.module or "").partition(".")[0])
    return found & MAY_IMPORT.keys()


@pytest.mark.parametrize(("part", "path"), [pytest.param(*row, id=str(row[1].relative_to(ROOT))) for row in _files()])
def test_a_file_imports_only_what_its_part_may(part: str, path: Path) -> None:
    assert _imported(path) - {part} <= MAY_IMPORT[part]


@pytest.mark.parametrize("words", [["gateway", "serve", "--help"], ["--help"], ["registry", "list", "--help"]])
def test_help_of_the_light_parts_imports_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys, waypost\n"
        "try:\n    waypost.main(sys.argv[1:])\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "print('imported:', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    imported = set(done.stdout.rpartition("imported:")[2].split())
    assert not imported & set(HEAVY)


def test_a_running_gateway_imports_nothing_heavy() -> None:
    code = "import sys, gateway.app\nprint(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & set(HEAVY)
