"""The examples of the README and of docs/clients.md, as printed there, but for the port."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import aiohttp
import pytest

from deploy import samples
from relay.endpoints import ENDPOINTS
from tests.programs import ROOT
from tests.stack import SPEECH_MODEL, Stack

pytestmark = pytest.mark.engine
README, CLIENTS = ROOT / "README.md", ROOT / "docs" / "clients.md"
PRINTED = "http://127.0.0.1:8800"
INTERPRETERS = {"python": [sys.executable, "-"], "js": ["node", "--input-type=module"], "bash": ["bash", "-e"]}
BLOCK = re.compile(r"<!-- run: (\w+) -->\n+```(\w+)\n(.*?)```", re.DOTALL)
PREFACE = re.compile(r"<!-- before each example of the table -->\n+```python\n(.*?)```", re.DOTALL)
ROW = re.compile(r"^\| `(/[^`]+)` \|[^|]+\|[^|]+\| `([^`]+)` \|$", re.MULTILINE)


def _examples() -> dict[str, tuple[str, str]]:
    found = (match for page in (README, CLIENTS) for match in BLOCK.finditer(page.read_text()))
    return {f"{match[1]}-{number}": (match[2], match[3]) for number, match in enumerate(found)}


def _table() -> dict[str, str]:
    return {match[1]: match[2] for match in ROW.finditer(README.read_text())}


@pytest.fixture(scope="module")
async def files(full_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the reader's own files: picture.png and speech.wav."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "picture.png").write_bytes(samples.picture())
    body = {"model": SPEECH_MODEL, "input": "A waypost shows the way.", "response_format": "wav"}
    url = f"{full_stack.base_url}/audio/speech"
    async with aiohttp.ClientSession() as session, session.post(url, json=body, raise_for_status=True) as response:
        (folder / "speech.wav").write_bytes(await response.read())
    return folder


@pytest.mark.parametrize("name", _examples())
async def test_an_example(full_stack: Stack, name: str, files: Path) -> None:
    language, code = _examples()[name]
    await _run(full_stack, language, code, files)


@pytest.mark.parametrize("path", _table())
async def test_an_example_of_the_table(full_stack: Stack, path: str, files: Path) -> None:
    example = _table()[path]
    if example.startswith("curl"):
        await _run(full_stack, "bash", example, files)
        return
    preface = PREFACE.search(README.read_text())
    assert preface is not None
    await _run(full_stack, "python", f"{preface[1]}\nprint(repr({example})[:2000])", files)


def test_the_table_has_every_endpoint() -> None:
    assert set(_table()) == {f"/v1/{endpoint.path}" for endpoint in ENDPOINTS.values()} | {"/model/proxy/{path}"}


def test_there_are_examples_for_curl_python_and_node() -> None:
    assert {language for language, _ in _examples().values()} >= {"bash", "python", "js"}


async def _run(stack: Stack, language: str, code: str, folder: Path) -> None:
    code = code.replace(PRINTED, stack.gateway_url).replace("<id>", stack.nodes[0].key)
    process = await asyncio.create_subprocess_exec(
        *INTERPRETERS[language],
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        cwd=ROOT / "tests" / "clients" if language == "js" else folder,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(code.encode()), 240)
    text = out.decode(errors="replace")
    assert process.returncode == 0, text
    assert text.strip()
    assert '"error"' not in text, text
