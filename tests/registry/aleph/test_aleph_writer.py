"""Posting through the network's own SDK: what becomes of a message, whose name it bears, and what is taken back."""

from __future__ import annotations

from typing import Any

import postings as p
import pytest
from aleph_boards import SHORT, Channel, Opener

from registry.aleph.messages import checksum
from registry.backend import Pending, Rejected, Unreachable, fetch_all
from registry.keys import Wallet
from registry.signing import sign_advert
from tests.fakes.signed import ALICE, BOB, signed


def advert(seq: int, signer: Wallet = p.DELEGATE) -> str:
    delegation = p.delegation() if signer is p.DELEGATE else None
    return sign_advert(p.advert(seq=seq), signer, p.NODE, delegation).to_json()


async def on_the_node(node: Channel, opened: Opener, **filters: str) -> list[Any]:
    reader = opened()
    return [message async for page in reader._reader.walk({**filters, "channels": node.name}) for message in page]


async def test_the_name_that_a_message_bears(node: Channel, opened: Opener) -> None:
    operator, delegate = opened(p.OPERATOR), opened(p.DELEGATE)
    await operator.allow(p.DELEGATE.address)
    await delegate.publish(advert(1))
    await delegate.publish("by itself")
    await operator.publish(advert(2, p.OPERATOR))
    await operator.publish(advert(1))  # somebody else's advert
    await opened().publish(advert(3))
    found = await on_the_node(node, opened, msgTypes="POST")
    names = [(message.sender, message.address) for message in found]
    one, two = p.OPERATOR.address, p.DELEGATE.address
    assert names[:4] == [(two, one), (two, two), (one, one), (one, one)]
    assert names[4][0] == names[4][1] not in (one, two)
    assert all(message.content["address"] == checksum(message.address) for message in found)


async def test_a_delegate_without_leave_is_told_what_the_operator_has_to_do(opened: Opener) -> None:
    delegate, operator = opened(p.DELEGATE), opened(p.OPERATOR)
    with pytest.raises(Rejected, match=f"waypost registry delegate {p.DELEGATE.address} --registry 'aleph"):
        await delegate.publish(advert(1))
    assert await operator.allow(p.DELEGATE.address)
    await delegate.publish(advert(1))
    assert await operator.disallow([p.DELEGATE.address])
    with pytest.raises(Rejected, match="does not let"):
        await delegate.publish(advert(2))
    assert await fetch_all(opened()) == [advert(1)]


@pytest.mark.parametrize("reject", [False, True])
async def test_a_pending_text_is_asked_after_and_not_posted_twice(reject: bool, node: Channel, opened: Opener) -> None:
    board = opened(p.OTHER, SHORT)
    await node.control(pending_next=1)
    for _ in range(2):
        with pytest.raises(
            Pending, match="not on the board yet; a node asks again by itself, a command has to be run again"
        ):
            await board.publish("text")
    await node.control(settle="reject" if reject else "process")
    if reject:
        with pytest.raises(Rejected):
            await board.publish("text")
        await board.publish("text")  # its fate is known: this is a new attempt
    else:
        await board.publish("text")
    assert await fetch_all(opened()) == ["text"]
    assert (await node.counts())["requests"]["POST /api/v0/messages"] == 1 + reject


@pytest.mark.parametrize(
    "answer", ["away", "stall", "huge", "html", "invalid_json", "wrong_shape", "redirect", "500", "429", "503"]
)
async def test_a_host_in_trouble_is_unreachable_and_the_text_goes_out_once(
    answer: str, node: Channel, opened: Opener
) -> None:
    board = opened(p.OTHER, SHORT)
    await node.control(answer=answer, answer_on="publish")
    for _ in range(2):
        with pytest.raises(Unreachable) as caught:
            await board.publish("text")
        assert "\n" not in str(caught.value)
    await node.control(reset=True)
    await board.publish("text")
    assert await fetch_all(opened()) == ["text"]


async def test_an_answer_without_end_is_not_read_to_the_end(node: Channel, opened: Opener) -> None:
    board = opened(p.OTHER)
    await node.control(answer="huge", answer_on="publish")
    with pytest.raises(Unreachable, match="an answer of more than 1048576 bytes"):
        await board.publish("text")


async def test_a_signed_message_follows_no_redirect(node: Channel, opened: Opener) -> None:
    await node.control(answer="redirect", answer_on="publish", redirect_to="/api/v0/ipfs/pubsub/pub")
    with pytest.raises(Unreachable, match="answered 307, a redirect"):
        await opened().publish("text")
    assert (await node.counts())["requests"].keys() == {"POST /api/v0/messages"}


async def test_what_is_too_long_is_refused_with_the_number(opened: Opener) -> None:
    board = opened()
    with pytest.raises(Rejected, match="at most 200000"):
        await board.publish("x" * 200_000)
    await board.publish("x" * 199_000)
    assert await fetch_all(board) == ["x" * 199_000]


async def test_older_adverts_are_taken_back_in_one_message(node: Channel, opened: Opener) -> None:
    await opened(p.OPERATOR).allow(p.DELEGATE.address)
    before, delegate = opened(p.DELEGATE), opened(p.DELEGATE)
    other_node = sign_advert(p.advert(seq=1, node=p.NODE_2.public), p.DELEGATE, p.NODE_2, p.delegation()).to_json()
    for text in (advert(1), advert(2), other_node, "text"):
        await before.publish(text)
    await delegate.publish(advert(3))
    await delegate.publish(advert(4))
    await delegate.retire(p.OPERATOR.address, p.NODE.public, 4)
    assert await fetch_all(opened()) == [other_node, "text", advert(4)]
    await delegate.retire(p.OPERATOR.address, p.NODE.public, 4)
    await opened(p.OTHER).retire(p.OPERATOR.address, p.NODE.public, 9)
    assert len(await on_the_node(node, opened, msgTypes="FORGET")) == 1


async def test_an_operator_takes_back_what_was_posted_in_its_name(node: Channel, opened: Opener) -> None:
    operator = opened(p.OPERATOR)
    await operator.allow(p.DELEGATE.address)
    await opened(p.DELEGATE).publish(advert(1))
    await opened(p.OTHER).publish(advert(1))  # not in its name
    await operator.publish(advert(2, p.OPERATOR))
    await operator.retire(p.OPERATOR.address, p.NODE.public, 3)
    assert await fetch_all(opened()) == [advert(1)]


async def test_many_are_taken_back_some_at_a_time(node: Channel, opened: Opener) -> None:
    operator = opened(p.OPERATOR)
    for seq in range(120):
        await operator.publish(advert(seq, p.OPERATOR))
    await operator.retire(p.OPERATOR.address, p.NODE.public, 120)
    assert await fetch_all(opened()) == []
    assert len(await on_the_node(node, opened, msgTypes="FORGET")) == 2


INSTANCE: dict[str, Any] = {
    "allow_amend": False,
    "environment": {"reproducible": False, "internet": True, "aleph_api": True, "shared_cache": False},
    "resources": {"vcpus": 1, "memory": 2048, "seconds": 30},
    "payment": {"chain": "ETH", "type": "credit"},
    "volumes": [],
    "time": 1e9,
    "rootfs": {"parent": {"ref": "ab" * 32, "use_latest": True}, "persistence": "host", "size_mib": 20480},
}


async def test_who_owns_a_machine(node: Channel, opened: Opener) -> None:
    own = await signed({**INSTANCE, "address": ALICE.get_address()}, "INSTANCE")
    post = await signed({"address": ALICE.get_address(), "type": "waypost", "content": "x", "time": 1.0}, "POST")
    for message in (own, post):
        await node.control(publish=message)
    board = opened()
    assert await board.vm_owner(own["item_hash"]) == ALICE.get_address().lower()
    for none in (post["item_hash"], "00" * 32, "x", own["item_hash"].upper(), "../" + own["item_hash"]):
        assert await board.vm_owner(none) is None
    for lie in ({"swap_sender": BOB.get_address()}, {"alter_item_content": True}, {"break_signature": True}):
        await node.control(reset=True)
        await node.control(**lie)
        assert await board.vm_owner(own["item_hash"]) is None
    assert board.faults == 3


async def test_a_machine_in_somebody_elses_name_or_gone_has_no_owner(node: Channel, opened: Opener) -> None:
    board, alice = opened(), ALICE.get_address()
    rights = {"authorizations": [{"address": BOB.get_address()}]}
    security = {"address": alice, "key": "security", "content": rights, "time": 1.0}
    by_bob = await signed({**INSTANCE, "address": alice, "time": 1.5e9}, "INSTANCE", BOB)
    own = await signed({**INSTANCE, "address": alice, "time": 2e9}, "INSTANCE")
    for message in (await signed(security, "AGGREGATE"), by_bob, own):
        await node.control(publish=message)
    assert await board.vm_owner(by_bob["item_hash"]) is None
    assert await board.vm_owner(own["item_hash"]) == alice.lower()
    forget = {"address": alice, "hashes": [own["item_hash"]], "time": 3e9}
    await node.control(publish=await signed(forget, "FORGET"))
    assert await board.vm_owner(own["item_hash"]) is None
