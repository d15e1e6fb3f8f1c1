"""Fixtures that several rooms of tests share: the demo weights, a whole Waypost on this machine, and a voice.

`make test` runs the tests in several processes, each file as a whole in one of them: each process has session fixtures
of its own.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from deploy import demo
from tests.stack import Stack, whole_stack
from tests.stack import full_stack as make_full_stack

_TOLD = "told"


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Say something to who runs the tests, at their end. What is printed is lost where several processes run them."""
    return lambda text: record_property(_TOLD, text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    for report in reports:
        for text in (text for name, text in report.user_properties if name == _TOLD):
            terminalreporter.section(report.nodeid, sep="-")
            terminalreporter.line(text)


@pytest.fixture(scope="session", autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the code under test keeps between runs goes into a folder of this run."""
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
    yield
    if before is None:
        del os.environ["XDG_STATE_HOME"]
    else:
        os.environ["XDG_STATE_HOME"] = before


@pytest.fixture(scope="session")
def weights() -> Path:
    """The demo model, SmolLM2-135M-Instruct, as its package ships it."""
    return Path(str(demo.CHAT.options()["uri"]))


@pytest.fixture(scope="session")
async def stack(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A registry, a node with a chat and an embedding model, and a gateway; for tests that change nothing in them."""
    async with whole_stack(tmp_path_factory.mktemp("stack"), weights, embedding=True) as made:
        yield made


@pytest.fixture(scope="session")
async def full_stack(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """One node with a model for every endpoint (tests.stack.MODEL_OF), and a gateway, both open; changed by no test."""
    async with make_full_stack(tmp_path_factory.mktemp("full"), weights) as made:
        yield made


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made
