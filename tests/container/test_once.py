"""Libraries that lie in a wheel several times: once afterwards, under all their names."""

from __future__ import annotations

from pathlib import Path

from deploy.container.once import link_twins


def test_twins_become_links_that_survive_a_move(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    for name in ("lib/liba.so.1", "lib/liba.so.1.2", "pkg/lib/liba.so", "pkg/lib/libb.so"):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"b" if "libb" in name else b"a" * 1000)
    assert link_twins(folder) == 2000
    moved = folder.rename(tmp_path / "there")
    files = {str(file.relative_to(moved)): file for file in moved.rglob("lib*.so*")}
    assert [name for name, file in sorted(files.items()) if not file.is_symlink()] == [
        "lib/liba.so.1",
        "pkg/lib/libb.so",
    ]
    assert {len(file.read_bytes()) for name, file in files.items() if "liba" in name} == {1000}
    assert link_twins(moved) == 0


def test_what_is_no_library_is_left_alone(tmp_path: Path) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("same")
    assert link_twins(tmp_path) == 0
    assert not (tmp_path / "b.py").is_symlink()
