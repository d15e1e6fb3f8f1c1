"""What a node says of itself counts beside what is in flight from here, over real sockets."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from gateway.attempts import Attempts
from gateway.balance import Balance
from gateway.config import GatewayConfig
from gateway.failover import Failover
from gateway.groups import Candidate
from gateway.limits import LimitsOf
from gateway.tokens import Tokens
from registry.keys import NodeKey
from relay.call import Call
from relay.endpoints import ENDPOINTS
from relay.errors import ApiError
from relay.wire.upstreams import Upstreams
from relay.wire.watch import Watch
from tests.gateway.adverts import believed, offer
from tests.gateway.slotted_node import slotted_node

STREAM = Call(ENDPOINTS["chat.completions"], "m", True, "id", body=b'{"model": "m", "messages": [], "stream": true}')
CONFIG = GatewayConfig(registry=("memory://",), trust=("any",), allow_private=True, open=True)


@pytest.mark.parametrize(
    ("said", "full"),
    [
        ("8/8+3", True),
        ("8/8+0", False),
        ("3/8+0", False),
        ("", False),
        ("8/8", False),
        ("-1/8+3", False),
        ("9" * 40 + "/8+3", False),
        ("8/8+3, 8/8+3", False),
    ],
)
async def test_a_node_that_others_fill_is_full(said: str, full: bool) -> None:
    balance, upstreams = Balance(), Upstreams(None, Watch())
    attempts = Attempts(balance, lambda _: None)
    failover = Failover(upstreams, Tokens(NodeKey.new()), LimitsOf(CONFIG))
    async with slotted_node(8) as node:
        node.load = said
        known = believed("op", "a", offer("m", parallel=8))
        known = replace(known, advert=known.advert.model_copy(update={"url": node.url}))
        one, before = Candidate(known, known.advert.offers[0]), time.monotonic()
        asking = attempts.first(STREAM, ([one],), lambda to: failover.ask(STREAM, to), (ApiError,), 1.0)
        async with asyncio.timeout(90), asking as (_, answer), answer:
            assert balance.has_room(one, before) is not full
        assert balance.has_room(one, before), "one of ours has ended, so that a slot is free"
        assert balance.in_flight == 0
    upstreams.close()
