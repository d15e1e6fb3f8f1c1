"""The commands, run on real files and boards; each posting is judged as a reader would."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import postings as p
import pytest
from pydantic import ValidationError

from registry import commands
from registry.advert import Advert, Curation, Envelope, Reason
from registry.backend import fetch_all, open_backend
from registry.commands import CommandError
from registry.keys import NodeKey, Wallet
from registry.signing import open_delegation, open_signed, sign_advert
from registry.trust import Policy, Trust


class House:
    """A folder with an operator's key and a board."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.operator = Wallet.new()
        self.key = folder / "operator.key"
        self.operator.save(self.key)
        self.url = f"sqlite:///{folder}/board.db"
        self.board = {"registry": (self.url,), "operator_key": self.key}

    async def postings(self) -> list[str]:
        board = open_backend(self.url)
        try:
            return await fetch_all(board)
        finally:
            await board.close()

    async def post(self, *texts: str) -> None:
        board = open_backend(self.url)
        for text in texts:
            await board.publish(text)
        await board.close()

    def advert(self, seq_s: float = 0, **changes: Any) -> Envelope:
        now = int(time.time())
        fields = {"issued_at": now, "expires_at": now + 3600, "operator": self.operator.address}
        return sign_advert(p.advert(seq=int((now + seq_s) * 1000), **fields, **changes), self.operator, p.NODE, None)

    async def judged(self, *entries: str) -> tuple[Trust, list[Reason | None]]:
        trust = Trust(Policy.parse(entries or ("any",)))
        raws = await self.postings()
        for raw in raws:
            trust.consider(raw, time.time())
        return trust, [trust.judge(raw, time.time()).reason for raw in raws]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def test_key_new_makes_a_wallet_and_shows_its_address(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "key"
    assert await commands.run_key_new(commands.KeyNew(file=path)) == 0
    made = capsys.readouterr().out
    assert Wallet.load(path).address in made and path.read_text().strip() not in made
    with pytest.raises(CommandError, match="exists already"):
        await commands.run_key_new(commands.KeyNew(file=path))


async def test_key_show_shows_both_public_halves(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    assert await commands.run_key_show(commands.KeyShow(file=house.key)) == 0
    shown = capsys.readouterr().out
    assert house.operator.address in shown and NodeKey.load(house.key).public in shown
    assert house.key.read_text().strip() not in shown
    with pytest.raises(CommandError, match="no such key file"):
        await commands.run_key_show(commands.KeyShow(file=house.folder / "none"))


async def test_delegate_writes_a_delegation_that_opens(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    out = house.folder / "delegation.json"
    config = commands.Delegate(
        delegate=p.DELEGATE.address.upper().replace("0X", "0x"),
        operator_key=house.key,
        node=p.NODE.public,
        days=3,
        url_suffix=("2n6.me",),
        out=out,
        registry=(house.url,),
    )
    assert await commands.run_delegate(config) == 0
    given = json.loads(out.read_text())
    assert set(given) == {"text", "signature"}
    delegation = open_delegation(given)
    assert (delegation.operator, delegation.delegate) == (house.operator.address, p.DELEGATE.address)
    assert delegation.expires_at - delegation.issued_at == 3 * p.DAY
    assert delegation.node == p.NODE.public and delegation.url_suffixes == ("2n6.me",)
    assert f"{house.url}: takes postings from anybody" in capsys.readouterr().out
    assert await commands.run_delegate(config.model_copy(update={"url_suffix": (), "node": None})) == 0
    renewed = open_delegation(json.loads(out.read_text()))
    assert renewed.url_suffixes is None and renewed.node is None
    assert sorted(path.name for path in house.folder.iterdir()) == ["delegation.json", "operator.key"]


async def test_delegate_tells_what_it_cannot_do(house: House) -> None:
    base = {"delegate": p.DELEGATE.address, "operator_key": house.key, "out": house.folder / "out"}
    with pytest.raises(CommandError, match="check the folder"):
        await commands.run_delegate(commands.Delegate(**{**base, "out": house.folder / "no" / "out"}))
    with pytest.raises(CommandError, match="unknown scheme"):
        await commands.run_delegate(commands.Delegate(**base, registry=("x://y",)))
    for bad in (
        {"delegate": "0x12"},
        {"days": 31},
        {"days": 0},
        {"node": "x"},
        {"url_suffix": (".x.org",)},
        {"speed": 1},
    ):
        with pytest.raises(ValidationError):
            commands.Delegate(**{**base, **bad})


async def test_revoke_adds_to_all_earlier_revocations(house: House) -> None:
    for delegate in (p.DELEGATE.address, p.OTHER.address, p.OTHER.address):
        assert await commands.run_revoke(commands.Revoke(delegate=(delegate,), **house.board)) == 0
    contents = [open_signed(Envelope.parse(raw)) for raw in await house.postings()]
    assert [set(c.delegates) for c in contents] == [  # type: ignore[union-attr]
        {p.DELEGATE.address},
        {p.DELEGATE.address, p.OTHER.address},
        {p.DELEGATE.address, p.OTHER.address},
    ]
    seqs = [content.seq for content in contents]
    assert seqs == sorted(set(seqs))
    assert (await house.judged())[1] == [None] * 3


async def test_retire_takes_all_of_an_operator_s_nodes_away(house: House) -> None:
    second = sign_advert(
        open_signed(house.advert()).model_copy(update={"node": p.NODE_2.public}), house.operator, p.NODE_2, None
    )
    ahead = house.advert(seq_s=100)
    foreign = p.own().to_json()
    await house.post("garbage", foreign, house.advert().to_json(), ahead.to_json(), second.to_json())
    assert len((await house.judged(house.operator.address))[0].believed(time.time())) == 2
    assert await commands.run_retire(commands.Retire(**house.board)) == 0
    trust, _ = await house.judged(house.operator.address)
    assert not trust.believed(time.time())
    assert trust.judge(ahead.to_json(), time.time()).reason is Reason.STALE
    left = await house.postings()
    assert left[:2] == ["garbage", foreign] and len(left) == 4, "older adverts are tidied away"
    with pytest.raises(CommandError, match="name its node key"):
        await commands.run_retire(commands.Retire(**house.board))


async def test_retire_takes_a_node_that_the_board_does_not_show(house: House) -> None:
    assert await commands.run_retire(commands.Retire(node=(p.NODE.public,), **house.board)) == 0
    [raw] = await house.postings()
    content = open_signed(Envelope.parse(raw))
    assert isinstance(content, Advert) and content.is_tombstone and content.node == p.NODE.public
    assert (await house.judged())[1] == [None]


async def test_post_posts_anything_as_it_stands(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    file = house.folder / "posting"
    file.write_text(" not an envelope\r\n", newline="")
    assert await commands.run_post(commands.Post(file=file, registry=(house.url,))) == 0
    assert await house.postings() == [" not an envelope\r\n"]
    assert house.url in capsys.readouterr().out
    file.write_bytes(b"\xff")
    with pytest.raises(CommandError, match="UTF-8"):
        await commands.run_post(commands.Post(file=file, registry=(house.url,)))
    with pytest.raises(CommandError, match="cannot be read"):
        await commands.run_post(commands.Post(file=house.folder / "none", registry=(house.url,)))


async def test_a_board_that_is_away_does_not_keep_the_others_from_it(house: House) -> None:
    file = house.folder / "posting"
    file.write_text("x")
    away = f"sqlite:///{house.folder}/none/board.db"
    with pytest.raises(CommandError, match="none"):
        await commands.run_post(commands.Post(file=file, registry=(away, house.url)))
    assert await house.postings() == ["x"]


async def test_curate_edits_the_newest_list(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    digest = "ab" * 32
    first = commands.Curate(
        **house.board, add_operator=(p.OPERATOR.address,), pin=(f"m={digest}",), slug=(f"s={p.NODE.public}",)
    )
    second = commands.Curate(
        **house.board, add_node=(p.NODE.public,), remove_operator=(p.OPERATOR.address,), remove_slug=("s",), days=3
    )
    await house.post("garbage", p.curation().to_json())
    for config in (first, second, commands.Curate(**house.board)):
        assert await commands.run_curate(config) == 0
    contents = [open_signed(Envelope.parse(raw)) for raw in (await house.postings())[2:]]
    one, two, three = (content for content in contents if isinstance(content, Curation))
    assert one.operators == (p.OPERATOR.address,) and one.slugs == {"s": p.NODE.public}
    assert (two.operators, two.nodes, two.models, two.slugs) == ((), (p.NODE.public,), {"m": digest}, {})
    assert two.expires_at - two.issued_at == 3 * p.DAY
    assert (three.nodes, three.models) == (two.nodes, two.models) and one.seq < two.seq < three.seq
    trust, reasons = await house.judged(f"curator:{house.operator.address}")
    assert reasons[2:] == [Reason.STALE, Reason.STALE, None]
    assert trust.curation(time.time()).nodes == {p.NODE.public}
    assert f"m = {digest}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "bad",
    [
        {"pin": ("m",)},
        {"pin": ("m=AB",)},
        {"slug": (f"{p.NODE.public}=x",)},
        {"slug": ("s=",)},
        {"add_node": ("x",)},
        {"days": 31},
    ],
)
def test_curate_names_what_it_cannot_read(bad: dict[str, Any], house: House) -> None:
    with pytest.raises(ValidationError):
        commands.Curate(**house.board, **bad)
