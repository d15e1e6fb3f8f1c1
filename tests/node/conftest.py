"""Fixtures of the node's tests: a small GGUF, a stand-in for llama-server, a node that runs."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter, LlamaFileType

from tests.node.agent import Agent, agent

FAKE = Path(__file__).with_name("fake_llama.py")


@pytest.fixture
def fake_llama(tmp_path: Path) -> Path:
    """The stand-in, as a program that can be named by --llama-server."""
    program = tmp_path / "llama-server"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
    program.chmod(0o755)
    return program


@pytest.fixture
def small_gguf(tmp_path: Path) -> Path:
    """A whole GGUF with a tensor and no sense."""
    return write_gguf(tmp_path / "small.gguf")


@pytest.fixture
def small(weights: Path) -> dict[str, Any]:
    """Settings of a model that loads at once."""
    return {"uri": str(weights), "context": 512, "parallel": 2}


@pytest.fixture
async def node(tmp_path: Path, small: dict[str, Any]) -> AsyncIterator[Agent]:
    """One that serves a model, `keep`."""
    async with agent(tmp_path, {"keep": small}) as made:
        yield made


def write_gguf(path: Path, template: str | None = "{{ messages }}", tensors: int = 1) -> Path:
    writer = GGUFWriter(path, "llama")
    writer.add_name("Small")
    writer.add_context_length(4096)
    writer.add_block_count(2)
    writer.add_embedding_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_file_type(LlamaFileType.MOSTLY_Q4_K_M)
    writer.add_token_list(["a", "b", "c"] * 1000)
    writer.add_token_scores([0.0] * 3000)
    if template is not None:
        writer.add_chat_template(template)
    for index in range(tensors):
        writer.add_tensor(f"t{index}", np.zeros((32, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
