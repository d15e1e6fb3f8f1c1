"""Removing an operator, or revoking a delegate, stops new requests soon and lets running streams end."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from registry.advert import Advert, Curation, Delegation, Envelope, Revocation
from registry.keys import Wallet
from registry.signing import next_seq, sign_advert, sign_curation, sign_delegation, sign_revocation
from tests.gateway.adverts import offer
from tests.gateway.held_node import Held, held_node
from tests.gateway.scene import CHAT, Operator, becomes, new_scene
from tests.programs import until
from tests.stack import Stack, serve_gateway

PROMISED_S = 5.0 * 6  # on a machine that runs other tests beside this one


@pytest.fixture
async def node() -> AsyncIterator[Held]:
    async with held_node() as made:
        yield made


def _listed(curator: Wallet, operators: tuple[str, ...], seq: int) -> Envelope:
    now = int(time.time())
    curation = Curation(
        curator=curator.address,
        seq=seq,
        issued_at=now,
        expires_at=now + 3600,
        operators=operators,
        nodes=(),
        models={},
        slugs={},
    )
    return sign_curation(curation, curator)


def _delegated(operator: Operator, node: Held, delegate: Wallet) -> Envelope:
    now = int(time.time())
    delegation = Delegation(
        operator=operator.wallet.address,
        delegate=delegate.address,
        node=None,
        issued_at=now,
        expires_at=now + 3600,
        url_suffixes=None,
    )
    advert = Advert(
        operator=operator.wallet.address,
        node=node.key.public,
        seq=next_seq(now, 0),
        issued_at=now,
        expires_at=now + 3600,
        url=node.url,
        tls_spki_sha256=None,
        offers=(offer("m"),),
    )
    return sign_advert(advert, delegate, node.key, sign_delegation(delegation, operator.wallet))


async def _while_a_stream_runs(
    session: aiohttp.ClientSession, stack: Stack, node: Held, operator: Operator, ending: Envelope
) -> None:
    """Post `ending` while a stream runs: new requests stop, and the stream comes to its end."""
    body = {**CHAT, "model": "m", "stream": True}
    async with session.post(f"{stack.base_url}/chat/completions", json=body) as stream:
        assert b"first" in await stream.content.readuntil(b"\n\n")
        await operator.post(ending)
        assert await becomes(session, stack, "m", 503) < PROMISED_S
        node.go_on.set()
        rest = await stream.read()
        assert b"last" in rest and rest.endswith(b"data: [DONE]\n\n")


async def test_an_operator_that_a_curator_drops(tmp_path: Path, node: Held, session: aiohttp.ClientSession) -> None:
    stack, operator = new_scene(tmp_path)
    curator = Wallet.new()
    seq = int(time.time()) * 1000
    advert = operator.sign(node.key, node.url, "m")
    await operator.post(advert, _listed(curator, (operator.wallet.address,), seq))
    async with serve_gateway(stack, ("--open",), proven=1, trust=f"curator:{curator.address}"):
        await becomes(session, stack, "m", 200)
        await _while_a_stream_runs(session, stack, node, operator, _listed(curator, (), seq + 1))


async def test_a_delegate_that_its_operator_revokes(tmp_path: Path, node: Held, session: aiohttp.ClientSession) -> None:
    stack, operator = new_scene(tmp_path)
    delegate = Wallet.new()
    advert = _delegated(operator, node, delegate)
    await operator.post(advert)
    revocation = Revocation(operator=operator.wallet.address, seq=1, delegates=(delegate.address,))
    async with serve_gateway(stack, ("--open",), proven=1) as program:
        await becomes(session, stack, "m", 200)
        await _while_a_stream_runs(session, stack, node, operator, sign_revocation(revocation, operator.wallet))
        saved = '"kind":"revocation"'
        await until(
            lambda: any(saved in file.read_text() for file in stack.folder.glob("gateway-*.json")), limit_s=PROMISED_S
        )
        await program.stop(signal.SIGKILL)
    for part in stack.folder.glob("registry.db*"):
        part.unlink()
    await operator.post(advert)
    async with serve_gateway(stack, ("--open",), proven=0):
        await becomes(session, stack, "m", 503)
