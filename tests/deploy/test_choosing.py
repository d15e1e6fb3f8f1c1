"""Which machine is chosen and what it costs, from lists that strangers wrote; no socket and no loop."""

from __future__ import annotations

import copy
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from deploy.aleph.config import UpConfig
from deploy.aleph.hosts import Compute, Offer, find_host, offers, read_hosts
from deploy.aleph.plan import agree, best, money, plan_for
from deploy.aleph.pricing import PriceList
from registry.commands.failure import CommandError
from tests.fakes.aleph_node.credits import AGGREGATES

PRICES = PriceList(AGGREGATES["pricing"], AGGREGATES["settings"])
RTX = {
    "vendor": "NVIDIA", "model": "RTX 4090", "device_name": "AD102 [GeForce RTX 4090]", "device_class": "0300",
    "pci_host": "01:00.0", "device_id": "10de:2684", "compatible": True,
}  # fmt: skip
ADA = {**RTX, "model": "RTX 4000 ADA", "device_name": "AD104GL [RTX 4000 SFF Ada]", "device_id": "10de:27b0"}


def entry(letter: str, /, *gpus: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """A host as the list shows it."""
    room = {"total_kB": 2**30, "available_kB": 2**30}
    shown = {
        "hash": letter * 64, "name": f"host-{letter}", "address": f"https://{letter}.example/", "score": 0.5,
        "qemu_support": True, "gpu_support": True, "ipv6_check": {"host": True, "vm": True},
        "system_usage": {"mem": room, "disk": room, "active": True}, "compatible_available_gpus": list(gpus),
    }  # fmt: skip
    return {**shown, **changed}


def listed(*entries: Any) -> list[Compute]:
    return read_hosts({"crns": list(entries)})


def found(*entries: Any, gpu: str | None = "rtx", region: str | None = None, ipv6: bool = True) -> list[Offer]:
    return offers(listed(*entries), PRICES, gpu=gpu, region=region, ipv6=ipv6, units=None)


def names(some: list[Offer]) -> list[str]:
    return [offer.host.name for offer in some]


def config(tmp_path: Path, **more: Any) -> UpConfig:
    image = tmp_path / "image"
    image.write_bytes(b"x")
    given: dict[str, Any] = {"model": ("m=/x.gguf",), "access": ("open",), "gpu": "rtx 4090", **more}
    return UpConfig(name="n", operator_key=Path("k"), ssh_key=Path("p"), image=str(image), **given)


def test_the_cheapest_comes_first_then_the_best_score() -> None:
    some = found(entry("a", RTX), entry("b", ADA), entry("c", RTX, score=0.9))
    assert names(some) == ["host-b", "host-c", "host-a"]
    assert some[0].size.credits_hour == Decimal(210_000)
    assert (some[1].size.vcpus, some[1].size.memory_mib, some[1].size.disk_mib) == (6, 36864, 368640)


def test_a_gpu_is_named_by_any_part_and_counted_by_kind() -> None:
    two = entry("a", RTX, ADA, RTX)
    assert [(offer.gpu.device_id, offer.free) for offer in found(two, gpu="4090") if offer.gpu] == [("10de:2684", 2)]
    assert [offer.free for offer in found(two, gpu="geforce 4090")] == [2]
    assert found(two, gpu="H100") == []


def test_one_without_a_gpu_costs_by_its_units() -> None:
    (plain,) = offers(listed(entry("a", RTX)), PRICES, gpu=None, region=None, ipv6=True, units=2)
    assert plain.gpu is None and plain.size.credits_hour == 28_500 and plain.size.vcpus == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"ipv6_check": {"host": True, "vm": False}},
        {"ipv6_check": None},
        {"qemu_support": False},
        {"gpu_support": False},
        {"system_usage": None},
        {"system_usage": {"mem": {"available_kB": 1}, "disk": {"available_kB": 2**40}, "active": True}},
        {"compatible_available_gpus": None},
        {"compatible_available_gpus": [{**RTX, "device_id": "10de:ffff"}]},
        {"address": "ftp://a.example"},
        {"address": "https://user@a.example"},
        {"hash": None},
    ],
)
def test_a_host_that_does_not_fit_is_no_offer(changed: dict[str, Any]) -> None:
    assert names(found(entry("a", RTX, **changed), entry("b", RTX))) == ["host-b"]


def test_a_region_is_what_hosts_say_of_themselves() -> None:
    some = (entry("a", RTX, name="Lyon-3"), entry("b", RTX, country="FR"), entry("c", RTX))
    assert names(found(*some, region="fr")) == ["host-b"] and names(found(*some, region="LYON")) == ["Lyon-3"]


def test_a_list_that_is_none_is_refused() -> None:
    for answer in ({}, {"crns": {}}, [], None):
        with pytest.raises(ValueError, match="crns"):
            read_hosts(answer)
    assert read_hosts({"crns": [1, "x", None, {"hash": 1}]}) == []


def test_a_price_list_of_another_kind_is_told_of() -> None:
    strange = copy.deepcopy(AGGREGATES["pricing"])
    strange["instance"]["compute_unit"] = "cheap"
    with pytest.raises(CommandError, match="price list is not as expected"):
        PriceList(strange, AGGREGATES["settings"])
    assert PriceList({}, {}).size(None, None) is None


def test_what_leaves_no_host_is_named(tmp_path: Path) -> None:
    some = found(entry("a", RTX), entry("b", RTX))
    wished = config(tmp_path, region="x", host="https://b.example")
    assert best(some, wished).host.name == "host-b"
    for left_out in ({"never": ["a" * 64]}, {"full": ["a" * 64]}):
        assert best(some, config(tmp_path), **left_out).host.name == "host-b"
    assert best(some, config(tmp_path), full=["a" * 64, "b" * 64]).host.name == "host-a", "it may have room again"
    assert names(find_host(some, "a" * 64)) == ["host-a"]
    with pytest.raises(CommandError, match=r"--gpu 'rtx 4090', --region 'x', --host https://b.example, --ipv6"):
        best(some, wished, never=["b" * 64])


def test_nothing_is_agreed_to_above_the_limit_or_beyond_the_balance(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_for(found(entry("a", RTX, terms_and_conditions="t" * 64))[0], None)
    agree(config(tmp_path, yes=True), plan, Decimal(100), Decimal(2400))
    assert "by going on you accept" in capsys.readouterr().out
    with pytest.raises(CommandError, match="too few"):
        agree(config(tmp_path, yes=True), plan, Decimal(100), Decimal(2399))
    with pytest.raises(CommandError, match="--max-day 2399"):
        agree(config(tmp_path, yes=True, max_day=2399), plan, Decimal(100), Decimal(10**6))
    agree(config(tmp_path, dry_run=True), plan, Decimal(100), Decimal(0))


@pytest.mark.parametrize(
    ("amount", "shown"),
    [("0", "0"), ("0.0123", "0.0123"), ("99.5", "99.5"), ("100", "100"), ("1234567.8", "1,234,568")],
)
def test_credits_are_shown_as_people_read_them(amount: str, shown: str) -> None:
    assert money(Decimal(amount)) == shown


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"model": ()}, "--model"),
        ({"access": ()}, "--access"),
        ({"node_config": Path("x.toml")}, "contradict"),
        ({"days": 31}, "less than or equal to 30"),
        ({"api": "api.example"}, "is no URL"),
        ({"api": "https://user@api.example"}, "is no URL"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        config(tmp_path, **changed)
