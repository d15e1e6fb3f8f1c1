"""The table of docs/operations.md is what the node's estimate says."""

from __future__ import annotations

import pytest

from bench.sizing import BITS, MODELS, rows, table
from tests.programs import ROOT


def test_the_page_has_the_table_as_it_is_made() -> None:
    assert table(list(rows())) in (ROOT / "docs" / "operations.md").read_text()


@pytest.mark.parametrize(
    ("name", "billions"),
    [("Llama 3.2 3B", 3.2), ("Llama 3.1 8B", 8.0), ("Qwen3 8B", 8.2), ("Qwen3 32B", 32.8), ("Llama 3.3 70B", 70.6)],
)
def test_a_shape_has_as_many_weights_as_its_authors_say(name: str, billions: float) -> None:
    (model,) = (model for model in MODELS if model.name == name)
    assert model.weights / 1e9 == pytest.approx(billions, rel=0.01)


def test_more_memory_never_holds_less() -> None:
    for stored in BITS:
        for model in MODELS:
            found = [row for row in rows([model]) if row.stored == stored]
            held = [row.context * row.parallel if row.fits else 0 for row in found]
            assert held == sorted(held)
