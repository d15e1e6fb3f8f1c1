"""An operator's leave to its delegates: nothing that a host does makes the operator sign away what it signed before."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from aleph_boards import SHORT, Channel, Opener

from registry.aleph.messages import Message, checksum
from registry.aleph.record import Record
from registry.aleph.rights import Rights
from registry.backend import Pending, Rejected, Unreachable
from registry.keys import Wallet

ONE, TWO, THREE = (Wallet.new().address for _ in range(3))


@pytest.fixture
def operator() -> Wallet:
    return Wallet.new()


async def signed_lists(node: Channel, opened: Opener) -> list[Message]:
    filters = {"msgTypes": "AGGREGATE", "channels": node.name}
    return [message async for page in opened()._reader.walk(filters) for message in page]


async def allowed(node: Channel, opened: Opener) -> list[str]:
    """The addresses in the newest list, once the node is honest again."""
    await node.control(reset=True)
    content: Any = (await signed_lists(node, opened))[-1].content
    return [entry["address"].lower() for entry in content["content"]["authorizations"]]


async def test_leave_is_given_once_and_other_rights_stay(node: Channel, opened: Opener, operator: Wallet) -> None:
    other = {"address": checksum(ONE), "types": ["STORE"]}
    ahead = time.time() + 1000
    board = opened(operator)
    await board._writer.set_rights(Rights([other], ahead))
    await board.allow(TWO)
    await board.allow(TWO)
    await board.disallow([ONE])
    found = await signed_lists(node, opened)
    assert len(found) == 2
    content: Any = found[-1].content
    assert content["time"] > ahead and content["content"]["authorizations"][0] == other
    assert await allowed(node, opened) == [ONE, TWO]


async def test_only_the_operators_key_gives_leave(opened: Opener) -> None:
    with pytest.raises(Rejected, match="operator's key"):
        await opened().allow(ONE)


@pytest.mark.parametrize("hiding", [{"withhold_all": True}, {"alter_item_content": True}, {"break_signature": True}])
async def test_a_host_that_hides_the_list_ends_nobodys_leave(
    hiding: dict[str, Any], node: Channel, opened: Opener, operator: Wallet
) -> None:
    await opened(operator).allow(ONE)
    await node.control(**hiding)
    await opened(operator).allow(TWO)
    assert await allowed(node, opened) == [ONE, TWO]


async def test_a_host_that_shows_an_older_list_gives_nobodys_leave_back(
    node: Channel, opened: Opener, operator: Wallet
) -> None:
    board = opened(operator)
    await board.allow(ONE)
    await board.allow(TWO)
    old = [message.item_hash for message in await signed_lists(node, opened)]
    await board.disallow([ONE])
    new = [message.item_hash for message in await signed_lists(node, opened) if message.item_hash not in old]
    await node.control(withhold_hashes=new)
    await opened(operator).allow(THREE)
    assert await allowed(node, opened) == [TWO, THREE]


async def test_a_host_that_lacks_the_newest_list_gets_it_as_it_was_signed(
    node: Channel, opened: Opener, operator: Wallet
) -> None:
    await opened(operator).allow(ONE)
    await node.control(withhold_all=True, reset_counts=True)
    await opened(operator).allow(ONE)
    assert (await node.counts())["requests"]["POST /api/v0/messages"] == 1
    assert await allowed(node, opened) == [ONE] and len(await signed_lists(node, opened)) == 1


async def test_what_another_machine_signed_later_counts(
    node: Channel, opened: Opener, operator: Wallet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await opened(operator).allow(ONE)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
        await opened(operator).disallow([ONE])
    await opened(operator).allow(TWO)
    assert await allowed(node, opened) == [TWO]


async def test_what_a_host_showed_is_kept_too(node: Channel, opened: Opener, operator: Wallet) -> None:
    await opened(operator).allow(ONE)
    Record(operator).path.unlink()
    await opened(operator).allow(ONE)
    await node.control(withhold_all=True)
    await opened(operator).allow(TWO)
    assert await allowed(node, opened) == [ONE, TWO]


def test_the_record_is_one_signed_message_for_its_owner_alone(operator: Wallet, state: Path) -> None:
    record = Record(operator)
    record.save(Rights([{"address": "x"}], 2.5))
    assert [file.name for file in state.iterdir()] == [f"aleph-security-{operator.address}.json"]
    assert record.path.stat().st_mode & 0o777 == 0o600
    assert (record.load().entries, record.load().set_at) == ([{"address": "x"}], 2.5)
    stranger = Record(Wallet.new())
    stranger.path.write_bytes(record.path.read_bytes())
    assert stranger.load().set_at == 0


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff", b"null", b"{}", b"[" * 100_000])
def test_a_broken_record_is_none(text: bytes, operator: Wallet) -> None:
    record = Record(operator)
    record.save(Rights(["x"], 2.5))
    record.path.write_bytes(text)
    assert record.load().entries == []


@pytest.mark.parametrize("field", ["sender", "item_content", "item_hash", "signature", "type"])
def test_a_record_that_was_changed_is_none(field: str, operator: Wallet) -> None:
    record = Record(operator)
    record.save(Rights(["x"], 2.5))
    message = json.loads(record.path.read_text())
    record.path.write_text(json.dumps({**message, field: message[field] + "0"}))
    assert record.load().entries == []


@pytest.fixture
def blocked(state: Path) -> None:
    state.parent.mkdir()
    state.write_text("a file where the folder should be")


@pytest.mark.usefixtures("blocked")
async def test_a_record_that_cannot_be_written_stops_nothing(
    node: Channel, opened: Opener, operator: Wallet, caplog: pytest.LogCaptureFixture
) -> None:
    await opened(operator).allow(ONE)
    assert await allowed(node, opened) == [ONE]
    assert "goes by what the host shows alone" in caplog.text


async def test_a_list_that_a_host_took_without_a_word_is_remembered(
    node: Channel, opened: Opener, operator: Wallet
) -> None:
    await node.control(pending_next=1)
    with pytest.raises(Pending):
        await opened(operator, SHORT).allow(ONE)
    await node.control(answer="html", answer_on="publish")
    with pytest.raises(Unreachable):
        await opened(operator).allow(TWO)
    await node.control(reset=True)
    await opened(operator).allow(THREE)
    assert await allowed(node, opened) == [ONE, TWO, THREE]


async def test_a_list_that_was_refused_in_the_end_is_given_again(
    node: Channel, opened: Opener, operator: Wallet
) -> None:
    await node.control(pending_next=1)
    with pytest.raises(Pending):
        await opened(operator, SHORT).allow(ONE)
    await node.control(settle="reject")
    await opened(operator).allow(ONE)
    assert await allowed(node, opened) == [ONE]


async def test_a_list_that_is_refused_is_not_remembered(opened: Opener, operator: Wallet) -> None:
    board, most = opened(operator), Rights(["x" * 199_800], 2.5)
    await board._writer.set_rights(most)
    with pytest.raises(Rejected, match="at most 200000"):
        await board.allow(ONE)
    assert Record(operator).load().entries == most.entries
