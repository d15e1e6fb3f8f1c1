"""Stacks as py-spy writes them, by file of ours: what is called from a file is its own, and the loop is nobody's."""

from __future__ import annotations

import pytest

from bench.relay_profile import in_files
from bench.relay_scene import ROOT

RUNNER = "/usr/lib/python3.11/asyncio/runners.py"
ROOT_FRAMES = f'process 7:"python -m waypost; gateway";run ({ROOT}/gateway/app.py:57);run ({RUNNER}:118)'


def test_a_sample_is_the_innermost_file_s_of_ours() -> None:
    found = in_files([
        f"{ROOT_FRAMES};data_received ({ROOT}/relay/wire/upstream.py:134);write ({ROOT}/relay/wire/inbound.py:200) 6",
        f"{ROOT_FRAMES};read ({ROOT}/relay/call.py:7);loads (/usr/lib/python3.11/json/__init__.py:299) 1",
        f"{ROOT_FRAMES};_run (/usr/lib/python3.11/asyncio/events.py:80) 2",
        f"{ROOT_FRAMES} 1",
    ])  # fmt: skip
    assert found == pytest.approx({"`relay/wire/inbound.py`": 60, "`relay/call.py`": 10, "the loop": 30})


def test_no_sample_is_no_file() -> None:
    assert in_files([]) == {}
