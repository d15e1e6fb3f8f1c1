"""What asking one node after another leaves behind: no count, and nothing that only the collector would free."""

from __future__ import annotations

import asyncio

import pytest

from gateway.attempts import Attempts
from gateway.balance import Balance
from gateway.groups import Candidate
from relay.call import Call
from relay.endpoints import ENDPOINTS
from relay.errors import ApiError, BadRequest, BadUpstream, ConnectFailed, TooManyRequests, Unavailable
from tests.gateway.adverts import believed, offer
from tests.relay.test_hot_path_memory import garbage

CALL = Call(ENDPOINTS["chat.completions"], "m", False, "id")


def candidates() -> list[Candidate]:
    return [Candidate(believed("op", name, offer("m")), offer("m")) for name in "abc"]


@pytest.mark.parametrize(
    "failures",
    [
        [ConnectFailed("away"), ConnectFailed("away"), ConnectFailed("away")],
        [BadUpstream("broken"), Unavailable("full"), BadUpstream("broken")],
        [BadUpstream("broken")],
        [TooManyRequests("busy"), BadUpstream("broken"), BadUpstream("broken"), BadUpstream("broken")],
        [BadRequest("long", code="context_length_exceeded")],
        [BadRequest("wrong")],
    ],
    ids=["none is there", "each fails", "the second answers", "one is waited for", "too long", "refused"],
)
async def test_nodes_that_fail_are_forgotten_with_the_request(failures: list[ApiError]) -> None:
    balance = Balance()
    attempts = Attempts(balance, lambda _: None)

    async def once() -> None:
        left = [type(failure)(failure.message, code=failure.code) for failure in failures]

        async def ask(_: Candidate) -> str:
            await asyncio.sleep(0)
            if left:
                raise left.pop(0)
            return "answer"

        try:
            async with attempts.first(CALL, (candidates(),), ask, (ApiError,), 2.0) as (_, answer):
                assert answer == "answer"
        except ApiError:
            assert len(failures) != 1 or isinstance(failures[0], BadRequest)

    with garbage() as found:
        await once()
    assert not found, found
    assert balance.in_flight == 0


async def test_a_client_that_leaves_between_two_attempts_leaves_no_count() -> None:
    """Wherever it is cancelled: each step of an attempt is one."""
    balance = Balance()
    attempts = Attempts(balance, lambda _: None)

    async def ask(candidate: Candidate) -> str:
        await asyncio.sleep(0)
        if candidate.node != candidates()[2].node:
            raise BadUpstream("broken")
        await asyncio.sleep(0)
        return "answer"

    async def request() -> None:
        async with attempts.first(CALL, (candidates(),), ask, (), 10.0):
            await asyncio.sleep(0)

    for steps in range(8):
        task = asyncio.create_task(request())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert balance.in_flight == 0, steps
