"""A new operator's way from a wallet to a chat through a gateway, typed as docs/operators.md has it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.programs import ROOT
from tests.walkthrough.page import Step, steps
from tests.walkthrough.shell import shell

PAGE = ROOT / "docs" / "operators.md"
LOGS = ("aleph.log", "hosts.log", "node.log", "gateway.log")


_SBIN = f"{os.environ['PATH']}:/usr/sbin"
_HAS_TOOLS = all(shutil.which(name) for name in ("curl", "make"))
_HAS_SSH = all(shutil.which(name, path=_SBIN) for name in ("ssh", "ssh-keygen", "sshd"))


@pytest.mark.engine
@pytest.mark.skipif(not _HAS_TOOLS, reason="a reader has curl and make")
@pytest.mark.parametrize(
    "part",
    ["trial", pytest.param("rented", marks=pytest.mark.skipif(not _HAS_SSH, reason="scripts/network_tools.sh: sshd"))],
)
async def test_word_for_word(tmp_path: Path, part: str) -> None:
    typed = steps(PAGE, part)
    assert len(typed) > 15, "there is hardly anything to run"
    async with shell(tmp_path) as reader:
        for step in typed:
            status, printed = await reader.type(step.command)
            assert status == 0, f"$ {step.command}\n{printed}\n{_logs(tmp_path / part)}"
            assert step.is_shape_of(printed), f"$ {step.command}\n{printed}\nis not as shown:\n" + "\n".join(step.shown)
    assert "Traceback" not in _logs(tmp_path / part)


def _logs(folder: Path) -> str:
    files = (folder / name for name in LOGS)
    return "\n".join(f"{file.name}:\n{file.read_text()[-3000:]}" for file in files if file.exists())


@pytest.mark.parametrize(
    ("shown", "printed", "alike"),
    [
        ("seq 1795247959229, 7 days", "seq 1795247959230, 30 days", True),
        ("is 0x93bd9668388646d2bd44d7bf522bbc8430d912ae", "is 0x0980048d05e3eb4b0a2428a688903591af84cfe1", True),
        ("is 0x93bd9668388646d2bd44d7bf522bbc8430d912ae", "is 0x0980", False),
        ("on https://127.0.0.1:8443/v1", "on https://127.0.0.1:8443/v1", True),
        ("on https://127.0.0.1:8443/v1", "on http://127.0.0.1:8443/v1", False),
        ("ready   node pqJjzoSlYL95_FfMTJySqsR-9Q8iWQ1C5IQGnI6CImI", f"ready node {'-' * 43}", True),
        ("1 accepted, 0 refused", "0 accepted, 1 refused by 3", False),
        ("first\n...\nlast", "first\none\ntwo\nlast", True),
        ("first\n...\nlast", "first\none\ntwo", False),
        ("key 9f2c... of it", "key ab12cd of it", True),
        ("key 9f2c... of it", "key none of it", False),
        ("accepted", "refused", False),
    ],
)
def test_a_shape_is_told_from_another(shown: str, printed: str, alike: bool) -> None:
    assert Step("", shown.splitlines()).is_shape_of(printed) is alike
