"""One node asked after another, over real sockets: what the client is told, and how often each node was asked."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest

from gateway.attempts import Attempts
from gateway.balance import Balance
from gateway.config import GatewayConfig
from gateway.failover import Failover
from gateway.groups import Candidate
from gateway.limits import LimitsOf
from gateway.tokens import Tokens
from registry.keys import NodeKey
from relay.answer import Relayed
from relay.call import Call
from relay.endpoints import ENDPOINTS
from relay.errors import ApiError, Reset, UpstreamTimeout
from relay.wire.upstreams import Upstreams
from relay.wire.watch import Watch
from tests.gateway.moody_node import Moody, moody_node
from tests.programs import free_port, until

CHAT = Call(ENDPOINTS["chat.completions"], "m", False, "id", body=b'{"model": "m", "messages": []}')
CONFIG = GatewayConfig(
    registry=("memory://",), trust=("any",), allow_private=True, open=True, head_s=0.3, first_token_s=0.3
)


@dataclass
class Scene:
    """Attempts over nodes, and what they count."""

    nodes: Sequence[Moody]
    failover: Failover
    balance: Balance = field(default_factory=lambda: Balance(spread=lambda: 0.0))
    causes: Counter[str] = field(default_factory=Counter)
    fired: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.attempts = Attempts(
            self.balance, lambda cause: self.causes.update([cause]), lambda limit: self.fired.update([limit])
        )

    async def goes(self, *tiers: Sequence[Candidate], queue_s: float = 10.0) -> Candidate:
        """Who answers. Raises what the client would be told."""
        given = tiers or ([node.candidate() for node in self.nodes],)
        async with self.attempts.first(CHAT, given, self._ask, (ApiError,), queue_s) as (candidate, answer), answer:
            assert self.balance.in_flight > 0
            return candidate

    async def told(self, *tiers: Sequence[Candidate], queue_s: float = 0.0) -> ApiError:
        with pytest.raises(ApiError) as told:
            await self.goes(*tiers, queue_s=queue_s)
        return told.value

    async def finally_goes(self, *tiers: Sequence[Candidate]) -> None:
        """Ask again and again, as a client would, until somebody answers."""
        async with asyncio.timeout(90):
            while True:
                try:
                    async with self.attempts.first(CHAT, tiers, self._ask, (ApiError,), 0.0) as (_, answer), answer:
                        return
                except ApiError:
                    await asyncio.sleep(0.02)

    async def _ask(self, candidate: Candidate) -> Relayed:
        return await self.failover.ask(CHAT, candidate)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(moody_node(name)) for name in "abc"]
        upstreams = Upstreams(None, Watch())
        stack.callback(upstreams.close)
        made = Scene(nodes, Failover(upstreams, Tokens(NodeKey.new()), LimitsOf(CONFIG)))
        yield made
        assert made.balance.in_flight == 0, "whatever befell"


@pytest.mark.parametrize(
    ("mood", "cause"),
    [
        ("broken", "status_502"),
        ("draining", "status_503"),
        ("busy", "status_429"),
        ("reset", "upstream_reset"),
        ("silent", "head_timeout"),
        ("forbidden", "upstream_refused"),
        ("unknown", "upstream_refused"),
    ],
)
async def test_a_bad_node_is_asked_once_and_the_next_one_answers(scene: Scene, mood: str, cause: str) -> None:
    one, other = scene.nodes[:2]
    one.moods = [mood]
    candidates = [[one.candidate()], [other.candidate("other")]]
    found = await scene.goes(*candidates)
    assert (found.offer.model, one.asked, other.asked) == ("other", 1, 1)
    assert dict(scene.causes) == {cause: 1}
    assert dict(scene.fired) == ({"head": 1} if mood == "silent" else {})


async def test_where_nobody_listens_the_next_one_is_asked_and_the_dead_is_left_alone(scene: Scene) -> None:
    dead = Moody("dead", f"http://127.0.0.1:{free_port()}")
    for _ in range(3):
        assert (await scene.goes([dead.candidate()], [scene.nodes[0].candidate()])).node == scene.nodes[
            0
        ].candidate().node
    assert dict(scene.causes) == {"connect_failed": 1}, "it was tried once, and left alone then"
    told = await scene.told([dead.candidate()])
    assert (told.status, told.code) == (503, "model_unavailable")
    assert told.retry_after_s is not None
    assert told.retry_after_s >= 1


async def test_what_the_client_got_wrong_is_told_in_the_nodes_words_and_asked_of_nobody_else(scene: Scene) -> None:
    for node in scene.nodes:
        node.moods = ["wrong"]
    told = await scene.told()
    assert (told.status, told.code, told.param, told.message) == (400, "invalid_role", "messages", "no such role")
    assert sum(node.asked for node in scene.nodes) == 1
    assert not scene.causes
    assert scene.balance.open_circuits == 0


async def test_too_long_goes_to_the_node_that_advertises_more(scene: Scene) -> None:
    small, same, large = scene.nodes
    small.moods = same.moods = ["long"]
    found = await scene.goes([small.candidate()], [same.candidate(), large.candidate(context_length=8192)])
    assert found.node == large.candidate().node
    assert (small.asked, same.asked, large.asked) == (1, 0, 1)
    assert not scene.causes


async def test_a_busy_node_is_waited_for_and_nothing_is_in_flight_meanwhile(scene: Scene) -> None:
    (one, *_) = scene.nodes
    one.moods = ["busy"]
    task = asyncio.create_task(scene.goes([one.candidate()]))
    await until(lambda: one.asked == 1 and scene.causes["status_429"] == 1)
    assert scene.balance.in_flight == 0
    assert (await task).node == one.candidate().node
    assert one.asked == 2


async def test_a_crowd_that_waits_for_a_busy_node_does_not_ask_it_meanwhile(scene: Scene) -> None:
    (one, *_) = scene.nodes
    one.moods = ["busy"]
    await scene.told([one.candidate()])
    asking = [asyncio.create_task(scene.goes([one.candidate()])) for _ in range(8)]
    await asyncio.gather(*asking)
    assert one.asked == 9, "each of the eight once, when it was time"


async def test_a_client_that_leaves_while_it_waits_asks_nobody(scene: Scene) -> None:
    (one, *_) = scene.nodes
    one.moods = ["busy", "busy", "busy"]
    task = asyncio.create_task(scene.goes([one.candidate()]))
    await until(lambda: scene.causes["status_429"] == 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert (one.asked, scene.balance.in_flight) == (1, 0)


async def test_who_is_busy_for_longer_than_the_queue_says_so_at_once_and_that_is_counted(scene: Scene) -> None:
    (one, *_) = scene.nodes
    one.moods = ["busy long"]
    for _ in range(3):
        told = await scene.told([one.candidate()], queue_s=5.0)
        assert (told.status, told.code, told.message) == (429, "busy", "all slots are taken")
        assert told.retry_after_s is not None
        assert 590 < told.retry_after_s <= 600
    assert one.asked == 1
    assert scene.fired == {"queue": 3}


async def test_a_cold_model_is_no_failure(scene: Scene) -> None:
    one, other = scene.nodes[:2]
    one.moods = ["cold"]
    await scene.goes([one.candidate()], [other.candidate("other")])
    assert not scene.causes
    assert scene.balance.open_circuits == 0


async def test_a_node_that_refuses_this_gateway_is_put_aside_with_that_model_alone(scene: Scene) -> None:
    one, other = scene.nodes[:2]
    one.moods = ["forbidden"]
    for _ in range(5):
        await scene.goes([one.candidate()], [other.candidate("other")])
    assert (one.asked, other.asked) == (1, 5)
    assert scene.causes == {"upstream_refused": 1}
    await scene.goes([one.candidate("another")])
    told = await scene.told([one.candidate()], queue_s=5.0)
    assert (told.status, told.code) == (503, "model_unavailable")
    assert scene.balance.open_circuits == 0


async def test_a_streak_opens_the_circuit_and_one_request_at_a_time_finds_out(scene: Scene) -> None:
    (one, *_) = scene.nodes
    one.moods = ["broken"] * 3
    for _ in range(3):
        assert (await scene.told([one.candidate()])).status == 502
    assert scene.balance.open_circuits == 1
    told = await scene.told([one.candidate()])
    assert (told.status, told.retry_after_s, one.asked) == (503, 1, 3)

    one.most_at_once, one.moods = 0, ["silent"]
    crowds = [asyncio.create_task(scene.finally_goes([one.candidate()])) for _ in range(8)]
    await until(lambda: one.asked > 3)
    assert (one.asked, scene.balance.in_flight) == (4, 1), "the probe"
    await asyncio.gather(*crowds)
    assert one.asked > 4
    assert scene.balance.open_circuits == 0


async def test_a_probe_whose_client_leaves_is_no_verdict(scene: Scene) -> None:
    (one, *_) = scene.nodes
    one.moods = ["reset"] * 3 + ["silent"]
    for _ in range(3):
        await scene.told([one.candidate()])
    assert scene.balance.open_circuits == 1

    task = asyncio.create_task(scene.finally_goes([one.candidate()]))
    await until(lambda: one.asked == 4)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert scene.balance.open_circuits == 1
    await scene.goes([one.candidate()])
    assert scene.balance.open_circuits == 0


async def test_streams_that_die_open_the_circuit_and_are_counted(scene: Scene) -> None:
    one, other = scene.nodes[:2]
    scene.attempts.broke(one.candidate(), Reset("cut", code="upstream_broken"))
    assert scene.balance.open_circuits == 0
    scene.attempts.broke(one.candidate(), UpstreamTimeout("stalled", code="gap_timeout"))
    assert scene.balance.open_circuits == 1
    assert scene.causes == {"upstream_broken": 1, "gap_timeout": 1}
    assert scene.fired == {"gap": 1}
    await scene.goes([one.candidate()], [other.candidate()])
    assert (one.asked, other.asked) == (0, 1)


async def test_what_a_node_says_of_limits_of_its_own_is_not_counted_as_ours(scene: Scene) -> None:
    said = UpstreamTimeout("my engine is slow", code="head_timeout")
    said.theirs = True
    scene.attempts.broke(scene.nodes[0].candidate(), said)
    assert not scene.fired
    assert scene.causes == {"status_504": 1}


async def test_all_nodes_fail_and_each_was_asked_once(scene: Scene) -> None:
    for node in scene.nodes:
        node.moods = ["broken", "broken"]
    told = await scene.told()
    assert (told.status, told.code) == (502, "engine_broken")
    assert [node.asked for node in scene.nodes] == [1, 1, 1]
    assert scene.causes == {"status_502": 3}
