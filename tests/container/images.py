"""Images, built and looked into by buildah without a container engine: chroots in place of containers.

Not here: the base image (base), running what is in an image (engine).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.container.outside import Secrets
from tests.programs import ROOT

_BUILD_LIMIT_S = 3 * 3600  # compiling llama.cpp on a small machine


@dataclass(frozen=True)
class Image:
    """What an image says of itself. `size` is that of its layers, as engines show it; `healthcheck` needs no shell."""

    name: str
    size: str
    user: str
    env: Mapping[str, str]
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    folder: str
    volumes: tuple[str, ...]
    healthcheck: tuple[str, ...]
    stop_signal: str
    labels: Mapping[str, str]


class Images:
    """Everything that buildah keeps is below `folder`."""

    def __init__(self, folder: Path, driver: str, log: Path) -> None:
        self.log = log
        self._buildah = (
            "buildah", "--root", str(folder / "storage"), "--runroot", str(folder / "run"), "--storage-driver", driver,
        )  # fmt: skip

    def there(self, name: str) -> bool:
        return subprocess.run((*self._buildah, "inspect", "--type", "image", name), capture_output=True).returncode == 0

    def import_tree(self, name: str, tree: Path) -> None:
        """An image of one layer."""
        container = self._run("from", "scratch").strip()
        self._run("add", "--quiet", container, str(tree), "/")
        self._run("commit", "--quiet", "--rm", container, name)

    def build(self, target: str, base: str, wheels: Path, secrets: Secrets, *, kept: bool) -> str:
        """Build one target of the Dockerfile; returns the image's name."""
        name = f"localhost/waypost-{target}"
        words = [
            "build", "--isolation", "chroot", "--format", "docker", "--layers", "--build-arg", f"BASE={base}",
            "--build-context", f"wheels={wheels}", "--target", target, "--tag", name,
        ]  # fmt: skip
        words += [] if kept else ["--no-cache"]
        words += [word for key, file in secrets.files.items() for word in ("--secret", f"id={key},src={file}")]
        self._run(*words, str(ROOT))
        return name

    def image(self, name: str) -> Image:
        said = json.loads(self._run("inspect", "--type", "image", name))
        config = said["Docker"]["config"]
        check = (config.get("Healthcheck") or {}).get("Test") or [""]
        assert check[0] in ("CMD", ""), f"{name}: HEALTHCHECK {check} asks for a shell"
        return Image(
            name=name,
            size=self._size(name),
            user=config["User"],
            env=dict(text.split("=", 1) for text in config["Env"] or ()),
            entrypoint=tuple(config["Entrypoint"] or ()),
            command=tuple(config["Cmd"] or ()),
            folder=config["WorkingDir"] or "/",
            volumes=tuple(config["Volumes"] or ()),
            healthcheck=tuple(check[1:]),
            stop_signal=config.get("StopSignal", "SIGTERM"),
            labels=config["Labels"] or {},
        )

    @contextlib.contextmanager
    def mounted(self, name: str) -> Iterator[Path]:
        """The image's files, for as long as the context lasts. What is written there is lost with it."""
        container = self._run("from", "--pull-never", name).strip()
        try:
            yield Path(self._run("mount", container).strip())
        finally:
            self._run("rm", container)

    def _size(self, name: str) -> str:
        return str(json.loads(self._run("images", "--json", name))[0]["size"])

    def _run(self, *words: str) -> str:
        """What buildah printed; how it came to that is in the log. A failure ends the test with the log's end."""
        with self.log.open("ab") as log:
            done = subprocess.run(
                (*self._buildah, *words), stdout=subprocess.PIPE, stderr=log, text=True, timeout=_BUILD_LIMIT_S
            )
        with self.log.open("a") as log:
            log.write(done.stdout)
        if done.returncode:
            print(*self.log.read_text(errors="replace").splitlines()[-40:], sep="\n", file=sys.stderr)
            raise SystemExit(f"waypost: buildah {_shown(words)} failed with status {done.returncode}; see {self.log}")
        return done.stdout


def _shown(words: Sequence[str]) -> str:
    return " ".join(words[:1]) + (f" --target {words[words.index('--target') + 1]}" if "--target" in words else "")
