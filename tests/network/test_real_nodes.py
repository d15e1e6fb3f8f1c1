"""Real nodes with llama-server, cut off in the midst of a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.gateway.scene import Operator
from tests.network.conftest import Stage
from tests.network.faults import Refusal, partition, refusing
from tests.network.hearing import Hearing, listening
from tests.network.real import MODEL, RealNode, real_node
from tests.network.scene import Scene

pytestmark = pytest.mark.engine

TOKENS = 120
# A model that has just begun on two busy processors may take its time; between two of its tokens less.
PATIENT = ("--connect-s", "5", "--head-s", "60", "--first-token-s", "60", "--gap-s", "3")
ASKED: dict[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "Count upwards from one, in words."}],
    "seed": 7,
}


@pytest.fixture(scope="module")
async def real(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Scene, list[RealNode]]]:
    """A registry with two real nodes, for all tests: each has a gateway of its own."""
    folder = tmp_path_factory.mktemp("real")
    operator = Operator(f"sqlite:///{folder}/registry.db")
    async with AsyncExitStack() as exits:
        nodes = [
            await exits.enter_async_context(real_node(stage.network, folder, name, operator)) for name in ("one", "two")
        ]
        yield Scene(folder, stage.network, stage.gateway, stage.url, operator), nodes


async def test_replayed(real: tuple[Scene, list[RealNode]]) -> None:
    """Equal to the uninterrupted text, to the last byte."""
    scene, nodes = real
    async with scene.gateway_serves(*PATIENT, "--resume", "replay", proven=2), listening(scene) as ear:
        calm = await ear.whole(TOKENS, **ASKED)
        has_ended(calm)
        heard = ear.ask(TOKENS, **ASKED)
        await heard.words(10)
        with partition(scene.network, host_of(nodes, heard)):
            await heard.end()
            has_ended(heard)
            assert heard.text == calm.text
            assert await scene.total("limits_fired", limit="gap") == 1
            assert await scene.total("resumes", way="replay", outcome="whole") == 1


async def test_continued(real: tuple[Scene, list[RealNode]]) -> None:
    """As long as it was asked for, and as it began."""
    scene, nodes = real
    async with scene.gateway_serves(*PATIENT, "--resume", "continue", proven=2), listening(scene) as ear:
        heard = ear.ask(TOKENS, **ASKED)
        await heard.words(10)
        before = heard.text
        with refusing(scene.network, host_of(nodes, heard), Refusal.RESET):
            await heard.end()
            has_ended(heard)
            assert heard.text.startswith(before)
            assert await scene.total("limits_fired") == 0
            assert await scene.total("resumes", way="continue", outcome="whole") == 1


def host_of(nodes: list[RealNode], heard: Hearing) -> Any:
    return next(node.host for node in nodes if node.key == heard.node)


def has_ended(heard: Hearing) -> None:
    """With all of its tokens, or where the model itself saw the end."""
    assert heard.error is None, f"{heard!r}"
    assert len(heard.ids) == 1
    assert heard.finish == "length" and heard.usage.completion_tokens == TOKENS, f"{heard!r} {heard.usage}"
