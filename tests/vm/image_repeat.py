"""`make image-repeat`: the image built twice from one package cache, in folders of their own, has one digest."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.programs import ROOT


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.vm.image_repeat", description="builds the VM image twice")
    parser.add_argument("--folder", type=Path, default=Path("image/repeat"), help="emptied, then used")
    parser.add_argument("words", nargs="*", help="options of `waypost deploy image`, after --")
    options = parser.parse_args()
    shutil.rmtree(options.folder, ignore_errors=True)
    first, second = (_digests(options.folder / name, options.words) for name in ("first", "second"))
    print(*first, *second, sep="\n")
    equal = [line.split()[0] for line in first] == [line.split()[0] for line in second]
    print("two builds, one digest" if equal else "the two builds differ")
    return 0 if equal else 1


def _digests(out: Path, words: list[str]) -> list[str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith("WAYPOST_")}
    command = (sys.executable, "-m", "waypost", "deploy", "image", "--out", str(out.absolute()), *words)
    return subprocess.check_output(command, env=env, cwd=ROOT, text=True).splitlines()


if __name__ == "__main__":
    sys.exit(main())
