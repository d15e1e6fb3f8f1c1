"""The script that writes the embedding model: the same file each time, and made once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from node.gguf import Pooling, read_metadata
from tests.programs import ROOT
from tests.stack import EMBEDDING_WEIGHTS

SCRIPT = ROOT / "scripts" / "embedding_weights.py"


def test_the_file_in_this_environment_is_whole() -> None:
    metadata = read_metadata(EMBEDDING_WEIGHTS)
    assert (metadata.architecture, metadata.pooling, metadata.quantization) == ("bert", Pooling.MEAN, "F16")


def test_it_is_found_by_what_it_is_made_of_and_not_made_again() -> None:
    cache = EMBEDDING_WEIGHTS.resolve().parent.parent.parent
    before = EMBEDDING_WEIGHTS.stat().st_mtime_ns
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    done = subprocess.run([sys.executable, SCRIPT], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, str(EMBEDDING_WEIGHTS)), done.stderr
    assert EMBEDDING_WEIGHTS.stat().st_mtime_ns == before


def test_a_missing_package_is_one_line(tmp_path: Path) -> None:
    """-S leaves no site-packages but what is linked here: all that the script imports, and not the weights."""
    for name in ("gguf", "numpy", "numpy.libs", "tqdm", "yaml", "requests"):
        found = Path(sys.prefix, "lib", f"python3.{sys.version_info.minor}", "site-packages", name)
        if found.exists():
            (tmp_path / name).symlink_to(found)
    environment = {"PYTHONPATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-S", str(SCRIPT)], env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "make environment" in done.stderr
