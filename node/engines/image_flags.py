"""What sd-server is told: by the node, and by an operator as far as that is allowed; and why it does not start with it.

Not here: asking it (images).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# sd-server looks for patterns in a prompt by a recursion a byte: 8 MiB of stack end at some 10,000 bytes, and without
# any limit its threads have but 2 MiB.
LIMITED = ("prlimit", f"--stack={64 * 1024 * 1024}:", "--")
# The files beside the weights that a model may come in, and the flag for each.
COMPANIONS = {
    "vae": "--vae",
    "taesd": "--taesd",
    "clip_l": "--clip_l",
    "clip_g": "--clip_g",
    "t5xxl": "--t5xxl",
    "llm": "--llm",
    "llm_vision": "--llm_vision",
}
_ENCODERS = ("clip_l", "clip_g", "t5xxl", "llm")

_ADDRESS = "the node gives sd-server a private socket"
_FILES = "the model's uri and files say which weights are served"
_ASKED = "a request says it"
_EXITS = "sd-server would print something and exit"
_REFUSED: tuple[tuple[str, tuple[str, ...]], ...] = (
    (_ADDRESS, ("--listen-ip", "-l", "--listen-port", "--serve-html-path")),
    (_FILES, ("--model", "-m", "--diffusion-model", *COMPANIONS.values(), "--tae")),
    (_ASKED, ("--prompt", "-p", "--seed", "-s", "--batch-count", "-b", "--init-img", "-i", "--mask", "--end-img")),
    ("set threads = N", ("--threads", "-t")),
    ("set width and height", ("--width", "-W", "--height", "-H")),
    ("requests could name files of that folder", ("--lora-model-dir", "--hires-upscalers-dir")),
    (_EXITS, ("--help", "-h", "--version")),
)


_FAULTS = (
    (re.compile(r"error: (unknown argument|invalid [^\r\n]*)[^\r\n]*"), "change flags in [node.models.{model}]"),
    (re.compile(r"get sd version from file failed"), "its file is no image model that sd-server knows; change its uri"),
    (re.compile(r"tensor '[^']*' not in model file"), "name the file that has it in [node.models.{model}] files"),
    (re.compile(r"tensor '[^']*' has wrong shape[^\r\n]*"), "its files do not belong together; change uri or files"),
    (re.compile(r"read tensor data failed"), "its file is cut short; fetch it again"),
)


@dataclass(frozen=True)
class ImageSizing:
    """How large an image engine is made. `size` is (width, height) where a request says none.

    `most_pixels` of one picture: what a model cannot hold would end its engine.
    """

    threads: int
    size: tuple[int, int] = (512, 512)
    most_pixels: int = 1024 * 1024


def arguments(weights: Path, companions: Mapping[str, Path], sizing: ImageSizing, socket: Path) -> list[str]:
    """`companions` by the names above. Weights that come without their text encoders are a diffusion model alone."""
    parts = any(name in companions for name in _ENCODERS)
    given = ["--diffusion-model" if parts else "--model", str(weights)]
    for name, path in companions.items():
        given += [COMPANIONS[name], str(path)]
    given += ["--listen-ip", str(socket), "--threads", str(sizing.threads), "--diffusion-fa"]
    given += ["--width", str(sizing.size[0]), "--height", str(sizing.size[1])]
    # By default it searches its working folder, with all below, at each request.
    return [*given, "--lora-model-dir", ""]


def check_flags(flags: Sequence[str]) -> None:
    """Raises ValueError that names the first flag which cannot be passed on, and what to do instead."""
    why = {flag: reason for reason, refused in _REFUSED for flag in refused}
    for flag in flags:
        if flag in why:
            raise ValueError(f"{flag} cannot be passed to sd-server: {why[flag]}")


def hopeless(lines: Sequence[str], model: str) -> str | None:
    """Why sd-server would never start, if that is what it wrote: one line that names the fix."""
    said = "\n".join(lines)
    for pattern, fix in _FAULTS:
        if found := pattern.search(said):
            return f"sd-server says '{found[0]}'; {fix.format(model=model)}"
    return None
