"""`/vm/<item hash>` on Aleph: the machine's owner is reached there, and nobody else who says that it is his."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from aleph.sdk.chains.ethereum import ETHAccount
from aleph.sdk.client import AuthenticatedAlephHttpClient
from aleph_message.models import Chain, Payment, PaymentType

from registry.advert import Vm
from tests.fakes.aleph import CHANNEL, AlephNode, aleph_node
from tests.gateway.scene import CHAT, Operator, rogue
from tests.stack import MODEL, Stack, new_stack, serve_gateway
from tests.system.published import answers, published_node


async def _instance(aleph: AlephNode, made: Stack) -> str:
    """The message by which the stack's operator starts a machine; its item hash."""
    account = ETHAccount(private_key=bytes.fromhex((made.folder / "operator.key").read_text()))
    async with AuthenticatedAlephHttpClient(account, api_server=aleph.url) as sdk:
        message, _ = await sdk.create_instance(
            rootfs="ab" * 32, rootfs_size=2048, channel=CHANNEL, sync=True, ssh_keys=["ssh-ed25519 AAAA"],
            payment=Payment(chain=Chain.ETH, type=PaymentType.credit),
        )  # fmt: skip
    return str(message.item_hash)


@pytest.mark.engine
async def test_only_the_machine_s_owner_is_reached_by_its_hash(
    weights: Path, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    made = await new_stack(tmp_path)

    async def ask(vm: str) -> tuple[int, str | None]:
        url = f"{made.gateway_url}/vm/{vm}/v1/chat/completions"
        async with session.post(url, json={**CHAT, "model": MODEL, "max_tokens": 4}) as response:
            return response.status, response.headers.get("Waypost-Node")

    async with aleph_node(tmp_path) as aleph, rogue(tmp_path, "fine") as impostor:
        made.registry = aleph.registry
        machine = await _instance(aleph, made)
        vm = Vm(platform="aleph", item_hash=machine)
        await Operator(aleph.registry).offer(impostor, MODEL, vm=vm)
        async with serve_gateway(made, ("--open",), proven=1, trust="any"):
            await aleph.reached(lambda counts: counts["requests"].get("GET /api/v0/messages/{item_hash}", 0) > 0)
            assert await ask(machine) == (404, None)
            async with published_node(made, weights, aleph.registry, vm_hash=machine) as node:
                await answers(session, made, 200, f"{MODEL}@{made.operator}")
                assert [await ask(machine) for _ in range(5)] == [(200, node.key)] * 5
                assert await ask("f" * 64) == (404, None)
            await answers(session, made, 503, f"{MODEL}@{made.operator}")
            assert await ask(machine) == (404, None)
        assert impostor.asked == 0
