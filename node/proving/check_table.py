"""What `waypost node check` has found, for a person at a terminal or for a program.

Pure: values in, text out. Not here: finding it (check).
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from node.proving.proof import Proof
from node.sizes.memory import MIB, Memory

_HEADS = (
    "MODEL", "KIND", "WEIGHTS", "NEEDS", "TOOK", "ERROR %", "LOADS IN", "ANSWERS IN", "TOKENS/S", "VERDICT",
)  # fmt: skip
_TEXTS = ("MODEL", "KIND", "VERDICT")  # to the left, as numbers are to the right
_GAP = "  "
_LEAST_NAME = 12  # characters of a name that is cut
_NARROW = 40  # no terminal is taken to be narrower
_GREEN, _RED, _PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[0m"


@dataclass(frozen=True)
class Checked:
    """One model. `need` is the estimate; `why`, with the fix, is None where the model would be served."""

    name: str
    kind: str | None = None
    weights_bytes: int | None = None
    need: Memory | None = None
    proof: Proof | None = None
    why: str | None = None

    @property
    def good(self) -> bool:
        return self.why is None

    @property
    def error_percent(self) -> float | None:
        """How far the estimate is above what was taken, below it where negative: of GPU memory where it uses some."""
        taken = self.proof.taken if self.proof else None
        if self.need is None or taken is None:
            return None
        expected, found = (self.need.vram, taken.vram) if taken.vram else (self.need.ram, taken.ram)
        return 100.0 * (expected - found) / found if expected and found else None


def table(rows: Sequence[Checked], width: int | None, coloured: bool = False) -> str:
    """As lines of at most `width` characters, None for as many as are needed. Names are cut before all else."""
    cells = [_cells(row) for row in rows]
    widths = {head: max(map(len, (head, *(cell[head] for cell in cells)))) for head in _HEADS}
    if width is not None:
        width = max(width, _NARROW)
        rest = sum(widths.values()) - widths["MODEL"] + len(_GAP) * (len(_HEADS) - 1)
        if width - rest < min(widths["MODEL"], _LEAST_NAME):
            return _blocks(rows, cells, width, coloured)
        widths["MODEL"] = min(widths["MODEL"], width - rest)
    lines = [_line({head: head for head in _HEADS}, widths)]
    for row, cell in zip(rows, cells, strict=True):
        lines += [_painted(_line(cell, widths), row, coloured), *_reason(row, width)]
    return "\n".join(lines)


def as_json(rows: Sequence[Checked]) -> bytes:
    """The same as a list of objects; memory in bytes, times in seconds."""
    return orjson.dumps([_object(row) for row in rows], option=orjson.OPT_INDENT_2)


def _object(row: Checked) -> dict[str, Any]:
    proof = row.proof
    return {
        "model": row.name,
        "kind": row.kind,
        "weights_bytes": row.weights_bytes,
        "needs": asdict(row.need) if row.need else None,
        "took": asdict(proof.taken) if proof and proof.taken else None,
        "error_percent": row.error_percent,
        "load_s": proof.load_s if proof else None,
        "answer_s": proof.answer_s if proof else None,
        "tokens_per_s": proof.tokens_per_s if proof else None,
        "ok": row.good,
        "why": row.why,
    }


def _cells(row: Checked) -> dict[str, str]:
    proof, error = row.proof, row.error_percent
    found = (
        row.name,
        row.kind or "-",
        _size(row.weights_bytes),
        _memory(row.need),
        _memory(proof.taken if proof else None),
        "-" if error is None else f"{error:+.0f}",
        _seconds(proof.load_s if proof else None),
        _seconds(proof.answer_s if proof else None),
        f"{proof.tokens_per_s:.1f}" if proof and proof.tokens_per_s else "-",
        "ok" if row.good else "no",
    )
    return dict(zip(_HEADS, found, strict=True))


def _memory(memory: Memory | None) -> str:
    if memory is None or memory == Memory():
        return "-"
    return str(memory) if memory.vram else _size(memory.ram)


def _size(count: int | None) -> str:
    if not count:
        return "-"
    mib = count / MIB
    return f"{mib / 1024:.1f} GiB" if mib >= 1024 else f"{mib:.0f} MiB" if mib >= 10 else f"{mib:.1f} MiB"


def _seconds(count: float | None) -> str:
    if not count:
        return "-"
    return f"{count:.0f} s" if count >= 100 else f"{count:.1f} s" if count >= 1 else f"{count:.2f} s"


def _line(cells: Mapping[str, str], widths: Mapping[str, int]) -> str:
    padded = (_aligned(head, _cut(cells[head], widths[head]), widths[head]) for head in _HEADS)
    return _GAP.join(padded).rstrip()


def _aligned(head: str, cell: str, width: int) -> str:
    return cell.ljust(width) if head in _TEXTS else cell.rjust(width)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _blocks(rows: Sequence[Checked], cells: Sequence[Mapping[str, str]], width: int, coloured: bool) -> str:
    """Below each other, where the columns have no room beside each other."""
    lines: list[str] = []
    for row, cell in zip(rows, cells, strict=True):
        lines.append(_painted(_cut(f"{cell['VERDICT']}: {cell['MODEL']}", width), row, coloured))
        lines += [_cut(f"  {head:<10}  {cell[head]}", width) for head in _HEADS[1:-1] if cell[head] != "-"]
        lines += _reason(row, width)
    return "\n".join(lines)


def _reason(row: Checked, width: int | None) -> list[str]:
    if row.why is None:
        return []
    if width is None:
        return [f"  {row.why}"]
    return textwrap.wrap(row.why, width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)


def _painted(line: str, row: Checked, coloured: bool) -> str:
    if not coloured:
        return line
    return f"{_GREEN if row.good else _RED}{line}{_PLAIN}"
