"""--write: refused before anything is measured, and sections that are put where they were."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from bench import results


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    results.add_option(made)
    return made


@pytest.mark.parametrize(("name", "why"), [("none/here.md", "make it first"), (".", "name a file in it")])
def test_a_file_that_cannot_be_written_is_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, why: str
) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--write", str(tmp_path / name)])
    assert why in capsys.readouterr().err


def test_a_section_is_put_where_it_was(tmp_path: Path) -> None:
    file = parser().parse_args(["--write", str(tmp_path / "results.md")]).write
    for section in ("## A\n\none\n", "## B\n\ntwo\n", "## A\n\nthree\n"):
        results.put(file, section)
    assert file.read_text() == "# Results\n\n## A\n\nthree\n\n## B\n\ntwo\n"
