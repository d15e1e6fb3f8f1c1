"""Parts of an image that need no tools: where packages come from, what the boot sectors say, how dates are chosen."""

from __future__ import annotations

import shutil
import struct
import subprocess

import pytest

from deploy.vm import boot
from deploy.vm.packages import newest
from deploy.vm.settings import FILES
from deploy.vm.sources import chosen, of_mirrors
from deploy.vm.steps import StepFailed
from deploy.vm.tidy import undated

LINES = (
    "http://mirror.example/debian/ bookworm", "http://mirror.example/debian/ bookworm-updates",
    "http://mirror.example/security/ bookworm-security", "https://other.example/ nodistro",
)  # fmt: skip


def test_mirrors_are_those_of_this_machines_apt() -> None:
    found = chosen("bookworm", LINES)
    assert found.mirror == "http://mirror.example/debian/"
    assert [line.split()[2:] for line in found.text(non_free=False).splitlines()] == [
        ["http://mirror.example/debian/", "bookworm", "main"],
        ["http://mirror.example/debian/", "bookworm-updates", "main"],
        ["http://mirror.example/security/", "bookworm-security", "main"],
    ]
    assert " main contrib non-free non-free-firmware\n" in found.text(non_free=True)


def test_without_security_updates_there_is_no_image() -> None:
    with pytest.raises(StepFailed, match="no mirror of bookworm-security; give --mirror"):
        chosen("bookworm", LINES[:2])
    with pytest.raises(StepFailed, match="--mirror needs --security-mirror"):
        of_mirrors("bookworm", "http://mirror.example/debian", None)


def test_the_date_of_a_build_is_that_of_the_newest_list() -> None:
    texts = ("Origin: Debian\nDate: Sat, 17 May 2025 09:22:29 UTC\n", "Date: Tue, 20 May 2025 02:18:45 UTC\n", "x")
    assert newest(texts) == 1_747_707_525
    with pytest.raises(StepFailed, match="--refresh"):
        newest(())


def test_the_first_sector_loads_grub_from_its_partition_and_leaves_the_table_alone() -> None:
    sector = boot.first_sector(bytes(range(256)) * 2, 2048)
    assert len(sector) == 440
    assert struct.unpack_from("<Q", sector, 0x5C) == (2048,)
    core = boot.placed_core(bytes(512 * 3 + 1), 2048)
    assert struct.unpack_from("<QH", core, 0x1F4) == (2049, 3)


def test_no_day_of_the_build_is_left_in_shadow() -> None:
    assert undated("root:*:20413:0:99999:7:::\n") == undated("root:*:20414:0:99999:7:::\n")
    assert undated("a:!:20413::::::\n") == "a:!:19000::::::\n"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze comes with systemd")
def test_the_agents_unit_is_hardened() -> None:
    unit = FILES / "etc/systemd/system/waypost.service"
    words = ("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=30", str(unit))
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


def test_the_firewall_lets_in_two_ports() -> None:
    rules = (FILES / "etc/nftables.conf").read_text()
    accepted = [line.strip() for line in rules.splitlines() if line.strip().endswith("accept")]
    assert [line for line in accepted if "dport" in line] == ["tcp dport { 22, 443 } accept"]
    assert rules.count("policy drop;") == 2
