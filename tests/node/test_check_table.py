"""The table of `waypost node check`: as wide as the terminal and no wider, whole where nobody looks at it."""

from __future__ import annotations

import orjson
import pytest

from node.proving.check_table import Checked, as_json, table
from node.proving.proof import Proof
from node.sizes.memory import MIB, Memory

GOOD = Checked(
    "smollm2-135m-instruct", "chat", 94 * MIB, Memory(330 * MIB), Proof(1.25, 0.5, 101.26, Memory(300 * MIB))
)
ON_GPU = Checked(
    "large", "chat", 40 * 1024 * MIB, Memory(600 * MIB, 45 * 1024 * MIB),
    Proof(125.4, 2.0, 33.0, Memory(900 * MIB, 50 * 1024 * MIB)),
)  # fmt: skip
ELSEWHERE = Checked("there", "external", 0, Memory(), Proof(0.3, 0.0))
BAD = Checked(
    "nosuch", why="/models/nosuch.gguf: this llama-server cannot load it (unknown model architecture: 'nosuch')"
)
ROWS = (GOOD, ON_GPU, ELSEWHERE, BAD)


def test_each_model_is_a_line_and_what_is_wrong_another() -> None:
    lines = table(ROWS, None).splitlines()
    heads = "MODEL KIND WEIGHTS NEEDS TOOK ERROR % LOADS IN ANSWERS IN TOKENS/S VERDICT"
    assert " ".join(lines[0].split()) == heads
    assert " ".join(lines[1].split()) == "smollm2-135m-instruct chat 94 MiB 330 MiB 300 MiB +10 1.2 s 0.50 s 101.3 ok"
    assert "40.0 GiB  600 MiB RAM + 45.0 GiB VRAM  900 MiB RAM + 50.0 GiB VRAM      -10     125 s" in lines[2]
    assert lines[3].split() == ["there", "external", "-", "-", "-", "-", "0.30", "s", "-", "-", "ok"]
    assert lines[4].split() == ["nosuch", *"--------", "no"]
    assert lines[5] == f"  {BAD.why}"
    assert len(lines) == 6


@pytest.mark.parametrize("width", [1, 40, 60, 80, 100, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    rows = (GOOD, Checked("long/" * 25, "transcription", 1, Memory(1), None, "why " * 60), BAD)
    for coloured in (False, True):
        shown = table(rows, width, coloured).replace("\x1b[32m", "").replace("\x1b[31m", "").replace("\x1b[0m", "")
        assert max(map(len, shown.splitlines())) <= max(width, 40)
        assert "ok" in shown and "no" in shown and "MiB" in shown and shown.count("why") == 60


def test_a_long_name_is_cut_where_there_is_a_terminal() -> None:
    name = "hf.co/somebody/" + "a-very-long-name-" * 5
    row = Checked(name, "chat", 94 * MIB, Memory(330 * MIB), GOOD.proof)
    wide = table([row], 120)
    assert "hf.co/somebody/a" in wide and "...  chat" in wide and name not in wide
    assert name in table([row], None)


def test_where_columns_have_no_room_they_stand_below_each_other() -> None:
    assert table([GOOD, BAD], 60).splitlines() == [
        "ok: smollm2-135m-instruct",
        "  KIND        chat",
        "  WEIGHTS     94 MiB",
        "  NEEDS       330 MiB",
        "  TOOK        300 MiB",
        "  ERROR %     +10",
        "  LOADS IN    1.2 s",
        "  ANSWERS IN  0.50 s",
        "  TOKENS/S    101.3",
        "no: nosuch",
        "  /models/nosuch.gguf: this llama-server cannot load it",
        "  (unknown model architecture: 'nosuch')",
    ]


def test_colours_are_for_who_asks_for_them() -> None:
    assert "\x1b" not in table(ROWS, 120)
    lines = table([GOOD, BAD], 120, coloured=True).splitlines()
    assert lines[1].startswith("\x1b[32m") and lines[1].endswith("\x1b[0m")
    assert lines[2].startswith("\x1b[31m") and "\x1b" not in lines[0] + lines[3]


def test_a_program_gets_bytes_and_seconds() -> None:
    found = orjson.loads(as_json(ROWS))
    assert found[0] == {
        "model": "smollm2-135m-instruct", "kind": "chat", "weights_bytes": 94 * MIB,
        "needs": {"ram": 330 * MIB, "vram": 0}, "took": {"ram": 300 * MIB, "vram": 0},
        "error_percent": pytest.approx(10.0), "load_s": 1.25, "answer_s": 0.5, "tokens_per_s": 101.26,
        "ok": True, "why": None,
    }  # fmt: skip
    assert found[1]["error_percent"] == pytest.approx(-10.0), "of GPU memory, where it uses some"
    assert found[2]["error_percent"] is None
    bad = {"model": "nosuch", "ok": False, "why": BAD.why}
    assert {name: value for name, value in found[3].items() if value is not None} == bad
    assert as_json([]) == b"[]"


def test_a_model_whose_need_is_not_estimated_has_no_error() -> None:
    assert Checked("m", "image", 1, Memory(), GOOD.proof).error_percent is None
    assert Checked("m", "chat", 1, Memory(5), Proof(1, 1, None, None)).error_percent is None
