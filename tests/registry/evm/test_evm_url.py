"""Which URLs name a contract, and that nothing that may be a key is shown."""

from __future__ import annotations

import pytest

from registry.backend import open_backend
from registry.evm.url import parse_chain, parse_place

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
    place = parse_place(f"evm+https://user:pa%2Fss@rpc.example/v3/KEY1/{CONTRACT}?token=KEY2&chain=10&KEY3=")
    assert place.rpc == "https://user:pa%2Fss@rpc.example/v3/KEY1?token=KEY2&KEY3="
    assert place.url == f"evm+https://rpc.example/.../{LOW}?chain=10"
    told = place.redacted(f"bad key KEY1 or KEY2 of user pa/ss pa%2Fss at {place.rpc}")
    for secret in ("KEY1", "KEY2", "user", "pa/ss", "pa%2Fss", "KEY3"):
        assert secret not in place.url + repr(place) + told
    assert place.with_contract("0x1").startswith("evm+https://user:pa%2Fss@rpc.example/v3/KEY1/")


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("evm+http://127.0.0.1:8545", f"evm+http://127.0.0.1:8545/{LOW}"),
        ("evm+http://127.0.0.1:8545/", f"evm+http://127.0.0.1:8545/{LOW}"),
        ("evm+https://rpc.example/v2/k?a=b&chain=5", f"evm+https://rpc.example/v2/k/{LOW}?a=b&chain=5"),
    ],
)
def test_a_new_contract_goes_behind_the_path(url: str, whole: str) -> None:
    assert parse_chain(url).with_contract(LOW) == whole
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
        f"evm+https://[SECRET/{CONTRACT}",
    ],
)
def test_a_bad_url_is_told_without_its_secrets(bad: str) -> None:
    with pytest.raises(ValueError, match=r"registry evm\+.*must be") as caught:
        open_backend(bad)
    assert "SECRET" not in str(caught.value)


def test_a_contract_in_the_url_of_a_chain_is_told() -> None:
    with pytest.raises(ValueError, match="without a contract"):
        parse_chain(f"evm+https://rpc.example/{CONTRACT}")
