"""`waypost up` with a model of one's own: its one call is one that the model serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs import free_port, waypost
from tests.stack import EMBEDDING_WEIGHTS

pytestmark = pytest.mark.engine


async def test_an_embedding_model_is_asked_to_embed(tmp_path: Path) -> None:
    words = ("up", "--once", "--port", str(free_port()), "--model", f"minilm={EMBEDDING_WEIGHTS}")
    said = await waypost(*words, cwd=tmp_path)
    assert "minilm, asked to embed" in said
    assert "\n384 numbers: " in said
