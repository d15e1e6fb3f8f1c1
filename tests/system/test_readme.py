"""The README's examples, as printed there, but for the port."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest

from tests.programs import ROOT
from tests.stack import Stack

pytestmark = pytest.mark.engine
PRINTED = "http://127.0.0.1:8800"
INTERPRETERS = {"python": [sys.executable, "-"], "js": ["node", "--input-type=module"], "bash": ["bash", "-e"]}
BLOCK = re.compile(r"<!-- run: (\w+) -->\n+```(\w+)\n(.*?)```", re.DOTALL)


def _examples() -> dict[str, tuple[str, str]]:
    pages = [ROOT / "README.md", ROOT / "docs" / "clients.md"]
    found = (match for page in pages for match in BLOCK.finditer(page.read_text()))
    return {f"{match[1]}-{number}": (match[2], match[3]) for number, match in enumerate(found)}


@pytest.mark.parametrize("name", _examples())
async def test_an_example_of_the_readme(stack: Stack, name: str, tmp_path: Path) -> None:
    language, code = _examples()[name]
    code = code.replace(PRINTED, stack.gateway_url).replace("<id>", stack.nodes[0].key)
    process = await asyncio.create_subprocess_exec(
        *INTERPRETERS[language],
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        cwd=ROOT / "tests" / "clients" if language == "js" else tmp_path,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(code.encode()), 120)
    text = out.decode()
    assert process.returncode == 0, text
    assert text.strip()
    assert '"error"' not in text


def test_there_are_examples_for_curl_python_and_node() -> None:
    assert {language for language, _ in _examples().values()} >= {"bash", "python", "js"}
