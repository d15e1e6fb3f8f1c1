"""The fake Aleph node, read and written by the real SDK: what a real node takes, refuses and shows."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aleph.sdk.chains.ethereum import ETHAccount
from aleph.sdk.client import AuthenticatedAlephHttpClient
from aleph.sdk.exceptions import ForgottenMessageError, InvalidMessageError
from aleph.sdk.query.filters import MessageFilter, PostFilter
from aleph_message.models import Chain, ItemHash, MessageType, Payment, PaymentType
from aleph_message.status import MessageStatus

from tests.fakes.aleph import CHANNEL, AlephNode, aleph_node
from tests.fakes.signed import ALICE, BOB, signed

KIND = "waypost-test"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[AlephNode]:
    async with aleph_node(tmp_path) as running:
        yield running


def client(node: AlephNode, account: ETHAccount = ALICE) -> AuthenticatedAlephHttpClient:
    return AuthenticatedAlephHttpClient(account, api_server=node.url)


async def post(
    node: AlephNode, content: Any, account: ETHAccount = ALICE, **options: Any
) -> tuple[ItemHash, MessageStatus]:
    async with client(node, account) as sdk:
        message, status = await sdk.create_post(content, KIND, channel=CHANNEL, sync=True, **options)
    return message.item_hash, status


async def send(node: AlephNode, message: dict[str, Any], sync: bool = True) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{node.url}/api/v0/messages", json={"sync": sync, "message": message}) as response,
    ):
        return response.status, await response.text()


async def get(node: AlephNode, path: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(node.url + path) as response:
        return response.status, await response.json(content_type=None) if response.status == 200 else None


async def test_the_sdk_reads_back_what_it_published(node: AlephNode) -> None:
    item_hash, status = await post(node, {"text": "one"}, ref="tag")
    assert status is MessageStatus.PROCESSED
    async with client(node) as sdk:
        wanted = MessageFilter(message_types=[MessageType.post], content_types=[KIND], channels=[CHANNEL])
        listed = await sdk.get_messages(message_filter=wanted, ignore_invalid_messages=False)
        posts = await sdk.get_posts(post_filter=PostFilter(types=[KIND]), ignore_invalid_messages=False)
        by_cursor = await sdk.get_messages_cursor(message_filter=wanted, ignore_invalid_messages=False)
        one, status_word = await sdk.get_message(item_hash, with_status=True)
        assert await sdk.get_message_status(item_hash) is MessageStatus.PROCESSED
    assert [message.item_hash for message in listed.messages] == [item_hash] == [posts.posts[0].item_hash]
    assert listed.messages[0].content.content == posts.posts[0].content == {"text": "one"}
    assert (listed.pagination_total, by_cursor.messages[0].item_hash, by_cursor.next_cursor) == (1, item_hash, None)
    assert (one.sender, status_word) == (ALICE.get_address(), "processed")
    assert one.item_content == listed.messages[0].item_content


async def test_without_sync_a_node_only_says_that_it_has_it(node: AlephNode) -> None:
    async with client(node) as sdk:
        message, status = await sdk.create_post({}, KIND, channel=CHANNEL)
        assert status is MessageStatus.PENDING
        assert await sdk.get_message_status(message.item_hash) is MessageStatus.PROCESSED


async def test_an_aggregate_merges_by_key_and_loses_what_is_forgotten(node: AlephNode) -> None:
    async with client(node) as sdk:
        first, _ = await sdk.create_aggregate("shelf", {"a": 1, "b": 1}, channel=CHANNEL, sync=True)
        second, _ = await sdk.create_aggregate("shelf", {"b": 2}, channel=CHANNEL, sync=True)
        assert await sdk.fetch_aggregate(ALICE.get_address(), "shelf") == {"a": 1, "b": 2}
        await sdk.forget([second.item_hash], "done", channel=CHANNEL, sync=True)
        assert await sdk.fetch_aggregate(ALICE.get_address(), "shelf") == {"a": 1, "b": 1}
        assert await sdk.get_aggregate(BOB.get_address(), "shelf") is None
        assert first.item_hash != second.item_hash


async def test_a_delegate_posts_only_while_and_what_the_owner_allows(node: AlephNode) -> None:
    owner, delegate = ALICE.get_address(), BOB.get_address()
    with pytest.raises(InvalidMessageError) as refusal:
        await post(node, {"n": 1}, BOB, address=owner)
    assert refusal.value.args[0]["message_status"] == "rejected"
    grant = {"address": delegate.lower(), "types": ["POST"], "post_types": [KIND], "channels": [CHANNEL]}
    async with client(node) as sdk, client(node, BOB) as other:
        await sdk.create_aggregate("security", {"authorizations": [grant]}, channel="security", sync=True)
        item_hash, status = await post(node, {"n": 2}, BOB, address=owner)
        assert status is MessageStatus.PROCESSED
        for kind, channel in (("other-kind", CHANNEL), (KIND, "OTHER")):
            with pytest.raises(InvalidMessageError):
                await other.create_post({}, kind, address=owner, channel=channel, sync=True)
        with pytest.raises(InvalidMessageError):
            await other.create_aggregate("security", {"authorizations": []}, address=owner, channel=CHANNEL, sync=True)
        await sdk.create_aggregate("security", {"authorizations": []}, channel="security", sync=True)
    with pytest.raises(InvalidMessageError):
        await post(node, {"n": 3}, BOB, address=owner)
    _, page = await get(node, f"/api/v0/messages.json?owners={owner}&msgTypes=POST")
    assert [(each["item_hash"], each["sender"]) for each in page["messages"]] == [(item_hash, delegate)]


async def test_one_forgets_what_one_could_have_posted_and_no_forget(node: AlephNode) -> None:
    mine, _ = await post(node, {"n": 1})
    async with client(node) as sdk, client(node, BOB) as stranger:
        with pytest.raises(InvalidMessageError):
            await stranger.forget([mine], None, channel=CHANNEL, sync=True)
        forget, status = await sdk.forget([mine], "old", channel=CHANNEL, sync=True)
        assert status is MessageStatus.PROCESSED
        assert await sdk.get_message_status(mine) is MessageStatus.FORGOTTEN
        with pytest.raises(ForgottenMessageError, match=forget.item_hash):
            await sdk.get_message(mine)
        with pytest.raises(InvalidMessageError):
            await sdk.forget([forget.item_hash], None, channel=CHANNEL, sync=True)
        assert not (await sdk.get_posts()).posts
        _, later = await sdk.forget([ItemHash("ab" * 32)], None, channel=CHANNEL, sync=True)
        assert later is MessageStatus.PENDING
    _, page = await get(node, "/api/v0/messages.json")
    assert [message["type"] for message in page["messages"]] == ["FORGET"]


async def test_an_amend_takes_over_in_posts_but_not_in_messages(node: AlephNode) -> None:
    original, _ = await post(node, {"n": 1})
    async with client(node) as sdk, client(node, BOB) as stranger:
        amend, _ = await sdk.create_post({"n": 2}, "amend", ref=original, channel=CHANNEL, sync=True)
        with pytest.raises(InvalidMessageError):
            await stranger.create_post({"n": 3}, "amend", ref=original, channel=CHANNEL, sync=True)
        found = (await sdk.get_posts(post_filter=PostFilter(types=[KIND]), ignore_invalid_messages=False)).posts
        assert [(each.item_hash, each.original_item_hash, each.content) for each in found] == [
            (amend.item_hash, original, {"n": 2})
        ]
        listed = await sdk.get_messages(message_filter=MessageFilter(content_types=[KIND]))
        assert [message.item_hash for message in listed.messages] == [original]


async def test_an_instance_is_taken_when_its_content_has_the_right_shape(node: AlephNode) -> None:
    async with client(node) as sdk:
        message, status = await sdk.create_instance(
            rootfs="ab" * 32, rootfs_size=2048, channel=CHANNEL, sync=True, metadata={"name": "node"},
            payment=Payment(chain=Chain.ETH, type=PaymentType.credit), ssh_keys=["ssh-ed25519 AAAA"],
        )  # fmt: skip
        assert status is MessageStatus.PROCESSED
        assert (await sdk.get_message(message.item_hash)).content.address == ALICE.get_address()
    broken = {"address": ALICE.get_address(), "time": 1e9, "rootfs": "none"}
    assert await send(node, await signed(broken, "INSTANCE")) == (422, "InvalidMessageFormat")


async def test_limits_signatures_and_hashes(node: AlephNode) -> None:
    content = {"address": ALICE.get_address(), "time": 4e9, "type": KIND, "content": "x"}
    good = await signed(content, "POST")
    size = 200_000 - len(json.dumps({**content, "content": ""}))
    assert (await send(node, await signed({**content, "content": "x" * size}, "POST")))[0] == 200
    for bad in (
        await signed({**content, "content": "x" * (size + 1)}, "POST"),
        {**good, "item_hash": "ab" * 32},
        {**good, "item_content": "not json"},
        {**good, "type": "NONSENSE"},
    ):
        assert await send(node, bad) == (422, "InvalidMessageFormat")
    for bad in ({**good, "sender": BOB.get_address()}, {**good, "chain": "BSC"}, {**good, "signature": "0x00"}):
        assert (await send(node, bad))[0] == 422
        _, shown = await get(node, f"/api/v0/messages/{good['item_hash']}")
        assert (shown["status"], shown["error_code"]) == ("rejected", 1)
    other_envelope = {**good, "time": 2e9, "channel": "SOMEWHERE", "sender": good["sender"]}
    assert (await send(node, other_envelope))[0] == 200, "neither time nor channel is signed"
    assert (await send(node, good))[0] == 200, "again is no error"
    _, shown = await get(node, f"/api/v0/messages/{good['item_hash']}")
    assert shown["message"]["channel"] == "SOMEWHERE"
    assert (await get(node, f"/api/v0/messages/{'cd' * 32}"))[0] == 404


async def test_what_is_too_long_to_go_inline_is_stored_beside(node: AlephNode) -> None:
    item_hash, status = await post(node, "x" * 250_000)
    assert status is MessageStatus.PROCESSED
    _, page = await get(node, f"/api/v0/messages.json?hashes={item_hash}")
    assert (page["messages"][0]["item_type"], page["messages"][0]["item_content"]) == ("storage", None)
    assert page["messages"][0]["content"]["content"] == "x" * 250_000


async def test_pages_and_cursors_cover_everything_once_newest_first(node: AlephNode) -> None:
    sent = [(await post(node, {"n": n}))[0] for n in range(7)]
    paged = [await get(node, f"/api/v0/messages.json?pagination=3&page={page}") for page in (1, 2, 3, 4)]
    assert [each["item_hash"] for _, page in paged for each in page["messages"]] == sent[::-1]
    assert {page["pagination_total"] for _, page in paged} == {7}
    seen, cursor = list[str](), ""
    while cursor is not None:
        _, page = await get(node, f"/api/v0/messages.json?pagination=3&sortOrder=1&cursor={cursor}")
        seen, cursor = seen + [each["item_hash"] for each in page["messages"]], page["next_cursor"]
    assert seen == sent
    _, latest = await get(node, f"/api/v0/messages.json?startDate={page['messages'][0]['time']}")
    assert [each["item_hash"] for each in latest["messages"]] == [sent[-1]]


async def test_a_socket_gives_the_history_then_what_passes_its_filters(node: AlephNode) -> None:
    old, _ = await post(node, {"n": 1})
    async with client(node) as sdk:
        feed = sdk.watch_messages(MessageFilter(content_types=[KIND], channels=[CHANNEL])).__aiter__()
        assert (await anext(feed)).item_hash == old
        await sdk.forget([old], None, channel=CHANNEL, sync=True)
        await sdk.create_post({}, "other", channel=CHANNEL, sync=True)
        await sdk.create_post({}, KIND, channel="OTHER", sync=True)
        new, _ = await post(node, {"n": 2})
        message = await anext(feed)
        assert (message.item_hash, message.content.content) == (new, {"n": 2})
        counts = await node.counts()
        assert (counts["sockets_open"], counts["socket_messages"], counts["messages"]) == (1, 2, 4)


async def test_pending_until_it_is_settled(node: AlephNode) -> None:
    await node.control(pending_next=2)
    first, status = await post(node, {"n": 1})
    assert status is MessageStatus.PENDING
    assert (await get(node, f"/api/v0/messages/{first}"))[1]["messages"][0]["item_hash"] == first
    await node.control(settle="process")
    second, _ = await post(node, {"n": 2})
    await node.control(settle="reject")
    async with client(node) as sdk:
        assert await sdk.get_message_status(first) is MessageStatus.PROCESSED
        assert await sdk.get_message_error(second) == {"error_code": 0, "details": {"errors": ["on request"]}}


async def test_older_nodes_compare_addresses_exactly(tmp_path: Path) -> None:
    content = {"address": ALICE.get_address().lower(), "time": 1, "type": KIND, "content": 1}
    async with aleph_node(tmp_path) as new, aleph_node(tmp_path, "--set", "strict_case=true") as old:
        assert (await send(new, await signed(content, "POST")))[0] == 200
        assert (await send(old, await signed(content, "POST")))[0] == 422
