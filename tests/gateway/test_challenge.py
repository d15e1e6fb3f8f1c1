"""What a node must answer before it is routed to, and how often it is asked."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from aiohttp import web

from gateway.challenge import Prover, challenge, identity
from gateway.turns import HostBudget
from registry.advert import Advert, Envelope, Kind, Reason, Refused
from registry.keys import NodeKey
from registry.signing import challenge_message
from registry.trust import Believed
from tests.gateway.prover import Answer, advert_of, answering, client, proof
from tests.programs import until

NODE, GATEWAY = NodeKey.new(), NodeKey.new()


def _saying(**fields: Any) -> Answer:
    async def answer(_: dict[str, Any]) -> web.StreamResponse:
        return web.Response(**fields)

    return answer


def _signing(change: dict[str, str]) -> Answer:
    """Signs another challenge than the one it was asked."""

    async def answer(asked: dict[str, Any]) -> web.StreamResponse:
        said = {"spki": None, **asked, **change}
        message = challenge_message(said["nonce"], said["url"], said["spki"], said["gateway"])
        return web.json_response({"signature": NODE.sign(message)})

    return answer


WRONG = {
    "another key": proof(NodeKey.new()),
    "another nonce": _signing({"nonce": "A" * 43}),
    "another URL": _signing({"url": "https://elsewhere.example"}),
    "another gateway": _signing({"gateway": NodeKey.new().public}),
    "another TLS key": _signing({"spki": "0" * 64}),
    "a redirect": _saying(status=307, headers={"Location": "https://elsewhere.example/"}),
    "an error": _saying(status=500, text="oops"),
    "no JSON": _saying(text="signature"),
    "JSON that is no object": _saying(text='["signature"]'),
    "no signature": _saying(text="{}"),
    "a signature that is no text": _saying(text='{"signature": 7}'),
    "an empty signature": _saying(text='{"signature": ""}'),
    "a long answer": _saying(text='{"signature": "' + "A" * 100_000 + '"}'),
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_answer_is_refused(name: str) -> None:
    async with answering(WRONG[name]) as (port, asked), client() as session:
        with pytest.raises(Refused) as refused:
            await challenge(session, advert_of(NODE, f"http://127.0.0.1:{port}"), GATEWAY)
        assert refused.value.reason is Reason.CHALLENGE_FAILED
        assert refused.value.detail
        assert len(asked) == 1, "no redirect is followed"


async def test_the_right_answer_is_accepted_and_every_challenge_is_a_new_one() -> None:
    async with answering(proof(NODE)) as (port, asked), client() as session:
        url = f"http://127.0.0.1:{port}"
        for _ in range(2):
            await challenge(session, advert_of(NODE, url), GATEWAY)
        assert asked[0]["nonce"] != asked[1]["nonce"]
        assert all(set(one) == {"nonce", "url", "gateway"} and len(one["nonce"]) == 43 for one in asked)
        assert (asked[0]["url"], asked[0]["gateway"]) == (url, GATEWAY.public)


async def test_an_answer_in_many_pieces_is_read_whole() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        body = orjson.loads(await reader.readexactly(length))
        message = challenge_message(body["nonce"], body["url"], None, body["gateway"])
        answer = orjson.dumps({"signature": NODE.sign(message)})
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer))
        for at in range(len(answer)):
            writer.write(answer[at : at + 1])
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server, client() as session:
        port = server.sockets[0].getsockname()[1]
        await challenge(session, advert_of(NODE, f"http://127.0.0.1:{port}"), GATEWAY)


async def test_nobody_at_home_is_a_failed_challenge() -> None:
    async with answering(proof(NODE)) as (port, _):
        pass
    async with client() as session:
        with pytest.raises(Refused, match="could not be reached"):
            await challenge(session, advert_of(NODE, f"http://127.0.0.1:{port}"), GATEWAY)


async def test_a_node_is_asked_once_and_again_when_its_url_or_tls_key_changes() -> None:
    async with answering(proof(NODE)) as (port, asked), client() as session:
        prover = Prover(session, GATEWAY, lambda: 0.0)
        first = advert_of(NODE, f"http://127.0.0.1:{port}")
        _want(prover, _listed(first))
        assert not prover.proven(identity(first))
        await until(lambda: prover.proven(identity(first)))
        _want(prover, _listed(first.model_copy(update={"seq": 2})))
        moved = first.model_copy(update={"url": f"http://localhost:{port}"})
        pinned = first.model_copy(update={"tls_spki_sha256": "0" * 64})
        assert not prover.proven(identity(moved))
        assert not prover.proven(identity(pinned))
        _want(prover, _listed(moved))
        await until(lambda: prover.proven(identity(moved)))
        assert not prover.proven(identity(first)), "forgotten"
        assert len(asked) == 2
        await prover.close()


async def test_a_node_that_fails_is_asked_again_later_and_later() -> None:
    clock = [0.0]
    async with answering(_saying(status=500)) as (port, asked), client() as session:
        prover = Prover(session, GATEWAY, lambda: clock[0])
        advert = advert_of(NODE, f"http://127.0.0.1:{port}")
        times = []
        for second in range(20):
            clock[0] = float(second)
            before = len(asked)
            _want(prover, _listed(advert))
            await until(lambda: "asking=0" in repr(prover))
            times += [second] * (len(asked) - before)
        assert times == [0, 1, 3, 7, 15]
        assert prover.proven_count == 0
        await prover.close()


async def test_nodes_that_are_no_longer_wanted_are_not_asked_on() -> None:
    never = asyncio.Event()

    async def silent(_: dict[str, Any]) -> web.StreamResponse:
        await never.wait()
        return web.Response()

    async with answering(silent) as (port, asked), client() as session:
        prover = Prover(session, GATEWAY, lambda: 0.0)
        _want(prover, _listed(advert_of(NODE, f"http://127.0.0.1:{port}")))
        await until(lambda: len(asked) == 1)
        _want(prover)
        await until(lambda: repr(prover) == "<Prover proven=0 known=0 asking=0>")


def test_a_host_is_asked_within_a_budget_that_refills() -> None:
    clock = [0.0]
    budget = HostBudget(lambda: clock[0])
    assert sum(budget.take("victim.example") for _ in range(300)) == 128
    assert budget.take("other.example")
    clock[0] = 2.5
    assert sum(budget.take("victim.example") for _ in range(300)) == 2
    clock[0] = 10_000.0
    assert sum(budget.take("victim.example") for _ in range(300)) == 128


async def test_the_ports_of_a_host_share_its_budget(caplog: pytest.LogCaptureFixture) -> None:
    async with client() as session:
        prover = Prover(session, GATEWAY, lambda: 0.0)
        ports = range(81, 281)
        _want(prover, *(_listed(advert_of(NODE, f"http://127.0.0.1:{port}")) for port in ports))
        await until(lambda: "asking=0" in repr(prover))
        assert sum("asked again" in message for message in caplog.messages) == 128
        await prover.close()


async def test_strangers_leave_the_budget_of_those_who_were_named() -> None:
    async with answering(proof(NODE)) as (port, _), client() as session:
        prover = Prover(session, GATEWAY, lambda: 0.0)
        fakes = [_listed(advert_of(NODE, f"http://127.0.0.1:{number}")) for number in range(81, 381)]
        named = _listed(advert_of(NODE, f"http://127.0.0.1:{port}"), explicit=True)
        _want(prover, *fakes, named)
        await until(lambda: prover.proven(identity(named.advert)))
        await prover.close()


def _listed(advert: Advert, explicit: bool = False) -> Believed:
    return Believed(advert, Envelope(Kind.ADVERT, "", "", None, None), 1e12, explicit)


def _want(prover: Prover, *listed: Believed) -> None:
    """These adverts are believed now, each of a node of its own, and no others."""
    for number in range(400):
        prover.follow(("", str(number)), listed[number] if number < len(listed) else None)
    prover.ask()
