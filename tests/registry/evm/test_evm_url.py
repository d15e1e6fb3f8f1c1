"""Which URLs name a contract, and that nothing that may be a key is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.backend import open_backend
from registry.commands.create import Create, run_create
from registry.commands.failure import CommandError
from registry.evm.url import parse_chain, parse_place
from registry.keys import Wallet

CONTRACT = "0x" + "aB" * 20
LOW = CONTRACT.lower()


def test_the_parts_of_a_url() -> None:
    place = parse_place(f"evm+http://127.0.0.1:8545/{CONTRACT}?chain=31337")
    assert (place.rpc, place.contract, place.chain) == ("http://127.0.0.1:8545", LOW, 31337)
    assert place.url == f"evm+http://127.0.0.1:8545/{LOW}?chain=31337" and place.near
    assert place.board == f"evm:{LOW}:31337"
    far = parse_place(f"evm+https://[2001:db8::1]:9/{CONTRACT}/")
    assert far.rpc == "https://[2001:db8::1]:9" and far.board == f"evm:{LOW}" and not far.near


def test_secrets_are_used_and_not_shown() -> None:
    place = parse_place(f"evm+https://user:pa%2Fss@rpc.example/v3/LONGKEY1/{CONTRACT}?token=KEY2&chain=10&KEY3=")
    assert place.rpc == "https://user:pa%2Fss@rpc.example/v3/LONGKEY1?token=KEY2&KEY3="
    assert place.url == f"evm+https://rpc.example/.../{LOW}?chain=10"
    told = place.redacted(f"bad key LONGKEY1 or KEY2 of user pa/ss pa%2Fss at {place.rpc}")
    for secret in ("LONGKEY1", "KEY2", "user", "pa/ss", "pa%2Fss", "KEY3"):
        assert secret not in place.url + repr(place) + told
    assert place.with_contract("0x1", 10).startswith("evm+https://user:pa%2Fss@rpc.example/v3/LONGKEY1/")


def test_what_is_too_short_for_a_key_is_left_in_a_hosts_words() -> None:
    said = "eth_getLogs failed on bc/C/rpc: 10 blocks at most"
    assert parse_place(f"evm+https://rpc.example/1/ext/bc/C/rpc/eth/{CONTRACT}?v=1").redacted(said) == said


def test_how_high_a_tip_may_be() -> None:
    assert parse_place(f"evm+https://rpc.example/{CONTRACT}").max_gwei == 100
    place = parse_place(f"evm+https://rpc.example/{CONTRACT}?max_gwei=7&k=KEY&chain=5")
    assert (place.max_gwei, place.chain, place.rpc) == (7, 5, "https://rpc.example?k=KEY")
    assert place.url == f"evm+https://rpc.example/{LOW}?max_gwei=7&chain=5" and place.board == f"evm:{LOW}:5"


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("evm+http://127.0.0.1:8545", f"evm+http://127.0.0.1:8545/{LOW}?chain=5"),
        ("evm+http://127.0.0.1:8545/", f"evm+http://127.0.0.1:8545/{LOW}?chain=5"),
        ("evm+https://h.example?max_gwei=3", f"evm+https://h.example/{LOW}?max_gwei=3&chain=5"),
        ("evm+https://rpc.example/v2/k?a=b&chain=5", f"evm+https://rpc.example/v2/k/{LOW}?a=b&chain=5"),
    ],
)
def test_a_new_contract_goes_behind_the_path(url: str, whole: str) -> None:
    assert parse_chain(url).with_contract(LOW, 5) == whole
    assert parse_place(whole).chain == 5
    assert parse_place(whole).rpc == parse_chain(url).rpc


@pytest.mark.parametrize(
    "bad",
    [
        "evm+https://SECRET@rpc.example/SECRET",
        "evm+https://rpc.example/SECRET/0x1",
        f"evm+https://rpc.example/SECRET/{CONTRACT}#x",
        f"evm+https:///SECRET/{CONTRACT}",
        f"evm+https://rpc.example:SECRET/{CONTRACT}",
        f"evm+https://rpc.example/SECRET/{CONTRACT}?chain=0x1",
        f"evm+https://rpc.example/SECRET/{CONTRACT}?chain=1&chain=2",
        f"evm+https://rpc.example/SECRET/{CONTRACT}?max_gwei=1.5",
        f"evm+https://rpc.example/SECRET/{CONTRACT}?max_gwei=0",
        f"evm+https://[SECRET/{CONTRACT}",
    ],
)
def test_a_bad_url_is_told_without_its_secrets(bad: str) -> None:
    with pytest.raises(ValueError, match=r"registry evm\+.*must be") as caught:
        open_backend(bad)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("bad", "shown"),
    [
        ("https://rpc.example/v3/SECRET", "https://rpc.example: unknown scheme 'https'"),
        ("https://SECRET:SECRET@rpc.example:8/SECRET?SECRET", "https://rpc.example: unknown scheme 'https'"),
        ("wss://SECRET@SECRET@[::1]:8/SECRET", r"wss://\[::1\]: unknown scheme 'wss'"),
        ("rpc.example/v3/SECRET", "URL: unknown scheme; known"),
        ("SECRET:x://h", "URL: unknown scheme; known"),
        ("SECRET@x://h", "URL: unknown scheme; known"),
    ],
)
async def test_another_kind_of_url_is_told_without_its_secrets(bad: str, shown: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"registry {shown}") as caught:
        open_backend(bad)
    assert "SECRET" not in str(caught.value)
    Wallet.new().save(tmp_path / "payer.key")
    with pytest.raises(CommandError, match="only a chain needs this") as refused:
        await run_create(Create(registry=bad, payer_key=tmp_path / "payer.key"))
    assert "SECRET" not in str(refused.value)


def test_a_contract_in_the_url_of_a_chain_is_told() -> None:
    with pytest.raises(ValueError, match="without a contract"):
        parse_chain(f"evm+https://rpc.example/{CONTRACT}")
