"""Print what Waypost asks for from others, a requirement a line: `requirements.py [EXTRA ...]`, beside pyproject.toml.

For the builder, which fetches these before the code is there, so that a change of the code fetches nothing again.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def main() -> int:
    """Print them."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    print(*project["dependencies"], *(line for extra in sys.argv[1:] for line in extras[extra]), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
