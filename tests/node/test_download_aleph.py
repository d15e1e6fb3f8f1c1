"""`aleph://`: the real SDK uploads, a node of the network sends, and nobody can put other bytes in."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aleph.sdk.client import AuthenticatedAlephHttpClient
from aleph_message.models import StoreContent

from node.store.progress import Progress
from node.store.store import Store
from node.uri import RemoteUri
from node.weights import WeightsError
from tests.fakes.aleph import CHANNEL, AlephNode, aleph_node
from tests.fakes.signed import ALICE, signed
from tests.node.fetcher import QUICK

FILE = b"GGUF" + random.Random(5).randbytes(700_000)
FILE_HASH = hashlib.sha256(FILE).hexdigest()
CID = "QmYULJoNGPDmoRq4WNWTDTUvJGJv1hosox8H6vVd1kCsY8"


@pytest.fixture(scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AlephNode]:
    async with aleph_node(tmp_path_factory.mktemp("aleph")) as running:
        yield running


@pytest.fixture(scope="module")
async def item_hash(node: AlephNode) -> str:
    """Of the STORE message of the file."""
    async with AuthenticatedAlephHttpClient(ALICE, api_server=node.url) as sdk:
        message, _ = await sdk.create_store(file_content=FILE, channel=CHANNEL, sync=True)
    return str(message.item_hash)


@pytest.fixture
async def store(node: AlephNode, tmp_path: Path) -> AsyncIterator[Store]:
    made = Store(tmp_path / "weights", f"{node.url}/", limits=QUICK)
    yield made
    await made.close()
    await node.control(reset=True, reset_counts=True)


async def fails(store: Store, uri: str, why: str) -> None:
    with pytest.raises(WeightsError, match=why) as failed:
        await store.fetch(RemoteUri.parse(uri), Progress("model"))
    assert "\n" not in str(failed.value)


async def publish(node: AlephNode, content: dict[str, Any], kind: str = "STORE") -> str:
    message = await signed({"address": ALICE.get_address(), "time": 1.0, **content}, kind)
    body = {"sync": True, "message": message}
    async with aiohttp.ClientSession() as session, session.post(f"{node.url}/api/v0/messages", json=body) as response:
        assert response.status in (200, 202), await response.text()
    return str(message["item_hash"])


async def test_what_the_sdk_stored_is_fetched_and_known_by_its_hash(
    node: AlephNode, store: Store, item_hash: str
) -> None:
    uri = RemoteUri.parse(f"aleph://{item_hash}#sha256={FILE_HASH}")
    path = await store.fetch(uri, Progress("model"))
    assert path.name == f"{item_hash}.gguf" and path.read_bytes() == FILE
    served = (await node.counts())["served"]
    assert await store.fetch(RemoteUri.parse(f"aleph://{item_hash}"), Progress("model")) == path
    assert (await node.counts())["served"] == served, "what is here is not asked for again"


async def test_other_bytes_than_those_that_were_stored_are_refused(
    node: AlephNode, store: Store, item_hash: str
) -> None:
    await node.control(flip_files=True)
    await fails(store, f"aleph://{item_hash}", f"the sha256 of what came is .*, not {FILE_HASH} as asked for")


async def test_another_message_under_the_hash_is_refused(node: AlephNode, store: Store, item_hash: str) -> None:
    await node.control(alter_item_content=True)
    await fails(store, f"aleph://{item_hash}", "answered with another message than this; give another --aleph-api")


@pytest.mark.parametrize("answer", ["html", "invalid_json", "wrong_shape", "huge"])
async def test_what_is_no_answer_of_a_node_is_named(answer: str, node: AlephNode, store: Store, item_hash: str) -> None:
    await node.control(answer=answer)
    await fails(
        store, f"aleph://{item_hash}", "check --aleph-api|does not have this: it sends a web page|more than 8388608"
    )


async def test_a_node_that_is_busy_or_away_for_a_while_is_asked_again(
    node: AlephNode, store: Store, item_hash: str
) -> None:
    await node.control(answer="503", answer_times=3)
    assert (await store.fetch(RemoteUri.parse(f"aleph://{item_hash}"), Progress("model"))).read_bytes() == FILE
    await node.control(answer="away", answer_times=None)
    await fails(store, f"aleph://{item_hash}#sha256={'0' * 64}", "the connection broke off; given up after 10 tries")


async def test_messages_that_name_no_file_are_refused(node: AlephNode, store: Store, item_hash: str) -> None:
    post = await publish(node, {"type": "kind", "content": {}}, "POST")
    missing = await publish(node, {"item_type": "storage", "item_hash": "1" * 64})
    await fails(store, f"aleph://{post}", "this is no STORE message, so it names no file")
    await fails(store, f"aleph://{missing}", "has not processed this message yet; wait")
    await fails(store, f"aleph://{'2' * 64}", "does not have this: it answered 404")
    await fails(
        store, f"aleph://{item_hash}#sha256={'0' * 64}", f"its file has the sha256 {FILE_HASH}; correct #sha256="
    )


async def test_a_forgotten_message_is_named(node: AlephNode, store: Store) -> None:
    async with AuthenticatedAlephHttpClient(ALICE, api_server=node.url) as sdk:
        message, _ = await sdk.create_store(file_content=FILE + b"2", channel=CHANNEL, sync=True)
        await sdk.forget([message.item_hash], reason="", channel=CHANNEL, sync=True)
    await fails(store, f"aleph://{message.item_hash}", "its owner has had this message forgotten")


async def test_a_message_whose_text_is_stored_apart_is_read_and_checked(node: AlephNode, store: Store) -> None:
    address = ALICE.get_address()
    content = {"address": address, "time": 2.0, "item_type": "storage", "item_hash": FILE_HASH}
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{node.url}/api/v0/storage/add_json", json=content) as response:
            text_hash = (await response.json())["hash"]
        unsigned = {"sender": address, "chain": "ETH", "type": "STORE", "item_type": "storage", "item_hash": text_hash}
        message = await ALICE.sign_message({**unsigned, "time": 2.0, "channel": CHANNEL})
        body = {"sync": True, "message": message}
        async with session.post(f"{node.url}/api/v0/messages", json=body) as response:
            assert response.status == 200, await response.text()
    assert hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest() == text_hash
    assert (await store.fetch(RemoteUri.parse(f"aleph://{text_hash}"), Progress("model"))).read_bytes() == FILE
    await node.control(flip_files=True)
    await fails(store, f"aleph://{text_hash}#sha256={'0' * 64}", "answered with another message than this")


async def test_a_file_on_ipfs_needs_a_digest(node: AlephNode, store: Store, tmp_path: Path) -> None:
    content = {"item_type": "ipfs", "item_hash": CID, "address": ALICE.get_address(), "time": 1.0}
    StoreContent.model_validate(content)
    message = await signed(content, "STORE")
    loaded = tmp_path / "messages.jsonl"
    loaded.write_text(json.dumps({**message, "channel": CHANNEL}))
    async with aleph_node(tmp_path, "--load", str(loaded), "--trust-load") as other:
        there = Store(tmp_path / "other", other.url, limits=QUICK)
        await fails(there, f"aleph://{message['item_hash']}", "its file is on IPFS, .*; add #sha256= and its digest")
        await fails(there, f"aleph://{message['item_hash']}#sha256={FILE_HASH}", f"raw/{CID}: it answered 404")
        await there.close()


async def test_a_node_refuses_an_upload_that_was_not_signed_for(node: AlephNode) -> None:
    message = await signed(
        {"address": ALICE.get_address(), "time": 3.0, "item_type": "storage", "item_hash": FILE_HASH}, "STORE"
    )
    for file, forged, status in ((b"other", {}, 422), (FILE, {"signature": "0x" + "11" * 65}, 403)):
        form = aiohttp.FormData()
        form.add_field("metadata", json.dumps({"message": {**message, **forged}, "sync": True}))
        form.add_field("file", file, filename="f")
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{node.url}/api/v0/storage/add_file", data=form) as response,
        ):
            assert response.status == status, await response.text()
