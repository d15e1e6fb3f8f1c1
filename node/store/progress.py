"""How far a download is. A value that its one writer changes and anybody reads."""

from __future__ import annotations

from dataclasses import dataclass

_KIB = 1024.0


@dataclass
class Progress:
    """Bytes; `total` None where the source does not say. `per_s` is what came in the last seconds."""

    name: str
    done: int = 0
    total: int | None = None
    per_s: float = 0.0

    @property
    def remaining_s(self) -> float | None:
        """Seconds still to go at this speed; None where nobody can tell."""
        if self.total is None or self.per_s <= 0:
            return None
        return max(0, self.total - self.done) / self.per_s


def size_text(count: float) -> str:
    """Bytes for people: `98.2 MiB`."""
    for unit in ("B", "KiB", "MiB"):
        if abs(count) < _KIB:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= _KIB
    return f"{count:.2f} GiB"
