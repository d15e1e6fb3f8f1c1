"""What a deployment has come to, on the disk: all or nothing, one at a time, and for nobody else to read."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.aleph.state import Record, Sent, Store, deployments
from registry.commands.failure import CommandError


def _record(name: str = "a") -> Record:
    return Record(
        name=name, operator="0x" + "1" * 40, api="http://x", hosts="http://y", ssh_key="k", made_at=1.5, fixed={},
        registries=("r",),
    )  # fmt: skip


def test_it_comes_back_as_it_was_and_is_private(tmp_path: Path) -> None:
    sent = Sent(envelope={"item_hash": "h", "time": 1795333670.1234567}, signed_at=2.25)
    with Store.held(tmp_path / "d", "a", make=True) as store:
        store.save(_record())
        store.change(instance=sent)
    again = Store.at(tmp_path / "d", "a").record
    assert again == _record().model_copy(update={"instance": sent})
    for path in (tmp_path / "d", tmp_path / "d" / "a", tmp_path / "d" / "a" / "deployment.json"):
        assert path.stat().st_mode & 0o77 == 0, path
    assert deployments(tmp_path / "d") == ["a"]


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with (
        Store.held(tmp_path, "a", make=True),
        pytest.raises(CommandError, match="another waypost"),
        Store.held(tmp_path, "a", make=True),
    ):
        pass
    with Store.held(tmp_path, "a", make=True):
        pass


def test_what_is_not_there_or_not_ours_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="there is: none"):
        Store.at(tmp_path, "a")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "deployment.json").write_text('{"v": 1, "name": "a", "secret": "s3cret"}')
    with pytest.raises(CommandError, match=r"deployment\.json") as refused:
        Store.at(tmp_path, "a")
    assert "s3cret" not in str(refused.value)


def test_an_ended_one_makes_room_and_stays_readable(tmp_path: Path) -> None:
    with Store.held(tmp_path, "a", make=True) as store:
        store.save(_record())
        store.known_hosts.write_text("x")
        store.archive()
        assert store.record is None and not store.known_hosts.exists()
    assert len(list((tmp_path / "a").glob("ended-*.json"))) == 1 and deployments(tmp_path) == []
