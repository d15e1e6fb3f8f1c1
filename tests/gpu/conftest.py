"""What the GPU tests take: a GPU that NVML reads, and a llama-server that computes on it.

Where these are not, the tests are skipped with the reason; under `make gpu-test`, which has made sure of a GPU, that is
a failure.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from node.engines.llama import Build, find_build
from node.gpus import Gpus


@pytest.fixture(scope="session")
async def gpus() -> AsyncIterator[Gpus]:
    opened = await Gpus.opened()
    if not opened.read():
        _cannot_run(repr(opened))
    yield opened
    opened.close()


@pytest.fixture(scope="session")
async def build(gpus: Gpus) -> Build:
    found = await find_build(None)
    if not found.gpu:
        _cannot_run(f"{found.path} has no GPU device, beside {gpus!r}")
    return found


def _cannot_run(why: str) -> None:
    if os.environ.get("WAYPOST_GPU_TEST"):
        pytest.fail(why)
    pytest.skip(f"no GPU to compute on ({why}); make gpu-test runs this where there is one")
