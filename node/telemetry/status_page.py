"""A node's health as people read it. The node may be a stranger's: nothing in its answer may steer a terminal.

Pure. A field that is missing, or is not what it should be, is shown as `-`. Not here: asking the node (status).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

_MOST_ROWS = 200
_MOST = 1e18
_WIDEST = 48
_BAR = 10
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_Object = Mapping[str, Any]


def page(health: _Object, url: str, node: str | None) -> str:
    """Several lines, without an end of line at the end."""
    lines = [f"{url}   {shown(health.get('status'))}   node {shown(node)}", ""]
    heads = ("MODEL", "STATE", "SLOTS", "WAITING", "TOKENS/S", "CACHE HITS", "MEMORY", "LOADS")
    lines += _table(heads, _models(health), 2)
    lines += _downloads(health)
    gpus = list(_gpus(health))
    if gpus:
        lines += ["", *_table(("GPU", "USE", "MEMORY", "TEMPERATURE", "POWER"), gpus, 1)]
    lines += ["", *_memory(_object(health, "memory"))]
    registries = [board for board in _list(health, "registries") if isinstance(board, dict)]
    lines += [f"registry  {shown(board.get('state')):<11} {shown(board.get('url'), 200)}" for board in registries]
    return "\n".join(line.rstrip() for line in lines).rstrip("\n")


def shown(text: object, most: int = _WIDEST) -> str:
    """What a stranger wrote, fit for a terminal."""
    if not isinstance(text, str) or not text:
        return "-"
    cut = text if len(text) <= most else text[: most - 3] + "..."
    return "".join(each if each.isprintable() else "?" for each in cut)


def _models(health: _Object) -> Iterator[tuple[str, ...]]:
    for name, model in _object(health, "models").items():
        if not isinstance(model, dict):
            continue
        memory = _object(model, "memory")
        yield (
            shown(name),
            _state(model),
            _of(model, "in_flight", "slots"),
            _count(model.get("waiting")),
            _figure(model.get("tokens_per_s"), "{:.1f}"),
            _figure(model.get("cache_hit_ratio"), "{:.0%}"),
            _amount(_object(memory, "taken")) if memory.get("taken") else _amount(_object(memory, "needed"), "about "),
            _count(model.get("loads")),
        )


def _state(model: _Object) -> str:
    """Its phase; the engine's own state where that is why it does not answer."""
    phase, state = shown(model.get("phase", model.get("state"))), shown(model.get("state"))
    return f"{phase} (engine {state})" if phase == "warm" and model.get("warm") is False else phase


def _downloads(health: _Object) -> Iterator[str]:
    models = _object(health, "models").items()
    fetched = [(name, _object(model, "progress")) for name, model in models if isinstance(model, dict)]
    coming = [(name, progress) for name, progress in fetched if progress]
    if coming:
        yield ""
        yield from (f"fetching {shown(name)}: {_download(progress)}" for name, progress in coming[:_MOST_ROWS])


def _download(progress: _Object) -> str:
    done, total, speed = (_number(progress.get(name)) for name in ("done_bytes", "total_bytes", "bytes_per_s"))
    if done is None:
        return "-"
    rate = f", {_size(speed)}/s" if speed else ""
    if not total:
        return f"{_size(done)}{rate}"
    share = min(1.0, done / total)
    left = f", {_time((total - done) / speed)} left" if speed and done < total else ""
    bar = "#" * int(share * _BAR)
    return f"[{bar:.<{_BAR}}] {share:.0%} of {_size(total)}{rate}{left}"


def _gpus(health: _Object) -> Iterator[tuple[str, ...]]:
    for gpu in _list(health, "gpus"):
        if isinstance(gpu, dict):
            yield (
                f"{shown(gpu.get('gpu'))} {shown(gpu.get('name'))}",
                _figure(gpu.get("utilization_ratio"), "{:.0%}"),
                _share(_number(gpu.get("memory_used_bytes")), _number(gpu.get("memory_total_bytes"))),
                _figure(gpu.get("temperature_celsius"), "{:.0f} C"),
                _figure(gpu.get("power_watts"), "{:.0f} W"),
            )


def _memory(memory: _Object) -> Iterator[str]:
    """What models hold of what they may, where there is any."""
    budget, taken, aside = (_object(memory, name) for name in ("budget", "taken", "set_aside"))
    for field, name in (("ram_bytes", "RAM"), ("vram_bytes", "VRAM")):
        most = _number(budget.get(field))
        if most:
            held = f"{name} for models: {_share(_number(taken.get(field)), most)} taken"
            yield f"{held}, {_size(_number(aside.get(field)))} set aside"


def _table(heads: Sequence[str], rows: Iterable[tuple[str, ...]], texts: int) -> Iterator[str]:
    """So many columns to the left, the others to the right."""
    known = list(rows)
    cells = [tuple(heads), *known[:_MOST_ROWS]]
    widths = [max(len(row[at]) for row in cells) for at in range(len(heads))]
    for row in cells:
        yield "  ".join(
            cell.ljust(width) if at < texts else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
    if len(known) > _MOST_ROWS:
        yield f"... and {len(known) - _MOST_ROWS} more"


def _amount(memory: _Object, about: str = "") -> str:
    ram, vram = _number(memory.get("ram_bytes")), _number(memory.get("vram_bytes"))
    parts = [f"{_size(ram)} RAM" if ram else "", f"{_size(vram)} VRAM" if vram else ""]
    said = " + ".join(part for part in parts if part)
    return about + said if said else "-"


def _of(model: _Object, part: str, whole: str) -> str:
    return f"{_count(model.get(part))}/{_count(model.get(whole))}" if whole in model else "-"


def _share(part: float | None, whole: float | None) -> str:
    return f"{_size(part)} of {_size(whole)}"


def _count(value: object) -> str:
    return _figure(value, "{:.0f}")


def _figure(value: object, form: str) -> str:
    number = _number(value)
    return "-" if number is None else form.format(number)


def _size(count: float | None) -> str:
    if count is None:
        return "-"
    unit = min(len(_UNITS) - 1, max(0, (int(count).bit_length() - 1) // 10))
    scaled = count / 1024**unit
    return f"{scaled:.0f} {_UNITS[unit]}" if unit < 3 or scaled >= 100 else f"{scaled:.1f} {_UNITS[unit]}"


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _number(value: object) -> float | None:
    """A number that has a meaning here."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < _MOST else None  # NaN is neither


def _object(of: _Object, name: str) -> _Object:
    value = of.get(name)
    return value if isinstance(value, dict) else {}


def _list(of: _Object, name: str) -> Sequence[Any]:
    value = of.get(name)
    return value[:_MOST_ROWS] if isinstance(value, list) else []
