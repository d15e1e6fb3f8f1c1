"""The gateway follows its registries, quickly, and goes on without them; what it has seen, it remembers."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp
import pytest

from registry.advert import Curation
from registry.keys import Wallet
from registry.signing import sign_curation
from tests.gateway.scene import Operator, Rogue, becomes, chat, new_scene, rogue
from tests.programs import Program, free_port, healthy, running, until
from tests.stack import Stack, serve_gateway

PROMISED_S = 2.0 * 10  # on a machine that runs other tests beside this one; who does not follow at all takes a minute


@pytest.fixture(scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rogue]:
    """One well-behaved node for all: each test has its own registry, operator and gateway."""
    async with rogue(tmp_path_factory.mktemp("node"), "dribble") as made:
        yield made


@pytest.fixture
def scene(tmp_path: Path) -> tuple[Stack, Operator]:
    return new_scene(tmp_path)


@contextlib.asynccontextmanager
async def gateway(
    stack: Stack, proven: int = 1, options: Sequence[str] = (), trust: str = ""
) -> AsyncIterator[Program]:
    async with serve_gateway(stack, ("--open", *options), proven=proven, trust=trust) as program:
        yield program


def _take_registry_away(stack: Stack) -> Path:
    """A folder stands where the file was."""
    file = stack.folder / "registry.db"
    for part in stack.folder.glob("registry.db*"):
        part.unlink()
    file.mkdir()
    return file


async def _refused(session: aiohttp.ClientSession, stack: Stack) -> int:
    """How many postings the gateway has refused."""
    async with session.get(f"{stack.gateway_url}/metrics") as response:
        lines = (await response.text()).splitlines()
    return int(float(next(line for line in lines if line.startswith("waypost_gateway_postings_refused ")).split()[1]))


async def _has_refused(session: aiohttp.ClientSession, stack: Stack, count: int) -> None:
    deadline = time.monotonic() + 10
    while await _refused(session, stack) < count:
        assert time.monotonic() < deadline, "the posting was not read"


async def test_new_adverts_and_tombstones_take_effect_within_two_seconds(
    scene: tuple[Stack, Operator], node: Rogue, session: aiohttp.ClientSession
) -> None:
    stack, operator = scene
    async with gateway(stack, proven=0):
        await becomes(session, stack, "first", 404)
        await operator.offer(node, "first")
        assert await becomes(session, stack, "first", 200) < PROMISED_S
        await operator.offer(node, "second")
        assert await becomes(session, stack, "second", 200) < PROMISED_S
        assert (await chat(session, stack, "first"))[0] == 503
        await operator.offer(node)
        assert await becomes(session, stack, "second", 503) < PROMISED_S


async def test_a_gateway_goes_on_while_its_registry_is_away(
    scene: tuple[Stack, Operator], node: Rogue, session: aiohttp.ClientSession
) -> None:
    stack, operator = scene
    await operator.offer(node, "steady")
    async with gateway(stack) as program:
        assert (await chat(session, stack, "steady"))[0] == 200
        file = _take_registry_away(stack)
        await program.saw("is away")
        assert (await chat(session, stack, "steady"))[0] == 200
        file.rmdir()
        await operator.offer(node, "fresh")
        await becomes(session, stack, "fresh", 200)


async def test_a_gateway_starts_from_its_snapshot_while_its_registry_is_away(
    scene: tuple[Stack, Operator], node: Rogue, session: aiohttp.ClientSession
) -> None:
    stack, operator = scene
    await operator.offer(node, "steady")
    async with gateway(stack):
        await becomes(session, stack, "steady", 200)
    _take_registry_away(stack)
    async with gateway(stack) as program:
        await program.saw("is away")
        assert (await chat(session, stack, "steady"))[0] == 200
        assert (await chat(session, stack, "never-there"))[0] == 404


async def test_a_gateway_without_registry_and_snapshot_is_not_ready(
    scene: tuple[Stack, Operator], session: aiohttp.ClientSession
) -> None:
    stack, operator = scene
    (stack.folder / "registry.db").mkdir()
    url = f"http://127.0.0.1:{free_port()}"
    words = ("--listen", url.removeprefix("http://"), "--registry", stack.registry, "--trust", operator.wallet.address)
    serve = ("-m", "waypost", "gateway", "serve", *words, "--state", str(stack.folder))
    async with running(serve, stack.folder / "gateway.txt") as program:
        await program.saw("is away")
        await program.saw("serves on")
        async with session.get(f"{url}/health") as response:
            assert (response.status, (await response.json())["status"]) == (503, "starting")
        (stack.folder / "registry.db").rmdir()
        await healthy(session, f"{url}/health", program, lambda health: health["status"] == "ready")


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
async def test_a_board_that_is_rolled_back_cannot_bring_old_adverts_back(
    scene: tuple[Stack, Operator], node: Rogue, session: aiohttp.ClientSession, end: signal.Signals
) -> None:
    stack, operator = scene
    old = operator.sign(node.key, node.url, "old")
    await operator.post(old, operator.sign(node.key, node.url, "new"))
    seq = str(operator.seq)
    async with gateway(stack) as program:
        await becomes(session, stack, "new", 200)
        await until(lambda: any(seq in file.read_text() for file in stack.folder.glob("gateway-*.json")))
        await program.stop(end)
    _take_registry_away(stack).rmdir()
    await operator.post(old)
    async with gateway(stack):
        await _has_refused(session, stack, 1)
        assert (await chat(session, stack, "old"))[0] != 200
        assert (await chat(session, stack, "new"))[0] == 200


async def test_a_retired_node_stays_retired_after_a_restart(
    scene: tuple[Stack, Operator], node: Rogue, session: aiohttp.ClientSession
) -> None:
    stack, operator = scene
    alive = operator.sign(node.key, node.url, "mortal")
    await operator.post(alive)
    async with gateway(stack):
        await becomes(session, stack, "mortal", 200)
        await operator.offer(node)
        await becomes(session, stack, "mortal", 503)
    _take_registry_away(stack).rmdir()
    await operator.post(alive)
    async with gateway(stack, proven=0):
        await _has_refused(session, stack, 1)
        assert (await chat(session, stack, "mortal"))[0] == 503, "known, and away"


def _curation(curator: Wallet, operator: Operator, slugs: dict[str, str]) -> Curation:
    now = int(time.time())
    return Curation(
        curator=curator.address,
        seq=now * 1000,
        issued_at=now,
        expires_at=now + 3600,
        operators=(operator.wallet.address,),
        nodes=(),
        models={},
        slugs=slugs,
    )


@pytest.mark.parametrize("when", ["before the gateway starts", "while it runs"])
async def test_an_advert_counts_as_soon_as_a_curator_names_its_operator(
    scene: tuple[Stack, Operator], node: Rogue, session: aiohttp.ClientSession, when: str
) -> None:
    stack, operator = scene
    curator = Wallet.new()
    listed = sign_curation(_curation(curator, operator, {"fast": node.key.public}), curator)
    await operator.offer(node, "vouched-for")
    if when.startswith("before"):
        await operator.post(listed)
    async with gateway(stack, proven=0, trust=f"curator:{curator.address}"):
        if when.startswith("while"):
            await _has_refused(session, stack, 1)
            assert (await chat(session, stack, "vouched-for"))[0] == 404
            await operator.post(listed)
        await becomes(session, stack, "vouched-for", 200)
        async with session.get(f"{stack.gateway_url}/vm/fast/v1/models") as response:
            assert [item["id"] for item in (await response.json())["data"]] == ["vouched-for"]


async def test_a_curator_on_one_registry_speaks_for_adverts_on_another(
    scene: tuple[Stack, Operator], node: Rogue, session: aiohttp.ClientSession
) -> None:
    stack, operator = scene
    curator = Wallet.new()
    second = Operator(f"sqlite:///{stack.folder}/second.db", operator.wallet)
    await operator.offer(node, "vouched-for")
    trust = f"curator:{curator.address}"
    async with gateway(stack, proven=0, options=("--registry", second.registry), trust=trust):
        await _has_refused(session, stack, 1)
        await second.post(sign_curation(_curation(curator, operator, {}), curator))
        await becomes(session, stack, "vouched-for", 200)


async def test_garbage_on_the_board_changes_nothing(
    scene: tuple[Stack, Operator], node: Rogue, session: aiohttp.ClientSession
) -> None:
    stack, operator = scene
    await operator.offer(node, "steady")
    async with gateway(stack):
        await operator.post_texts("", "null", "[]", "{" * 5000, '{"kind": "advert"}', "\x00\ud800", "x" * 400_000)
        await _has_refused(session, stack, 7)
        assert (await chat(session, stack, "steady"))[0] == 200
        await operator.offer(node, "fresh")
        assert await becomes(session, stack, "fresh", 200) < PROMISED_S
