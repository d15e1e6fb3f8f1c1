"""`make container-test`: builds every target of the Dockerfile with buildah on a base of debootstrap's, and runs the
services of docker-compose.yml, each in a chroot of its own, to a chat that both nodes have answered.

Prints what was built, its size, and how long each step took. Options: --kept uses the layers of the run before;
--folder DIR keeps everything there (default: the cache); --driver is buildah's storage. Not here: what CI runs
(test_*.py).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.container import base, compose, confined, outside
from tests.container.engine import Engine
from tests.container.images import Image, Images
from tests.container.inside import look_into
from tests.network.hosts import network, why_not
from tests.programs import ROOT

TARGETS = ("gateway", "node", "demo", "chain")
MODEL = "smollm2"


def main() -> int:
    """Ends with 0 where all went well; what did not raises."""
    options = _options()
    if os.geteuid() != 0 or (missing := why_not()):
        print(f"waypost: {'run it as root' if os.geteuid() else missing}", file=sys.stderr)
        return 1
    options.folder.mkdir(parents=True, exist_ok=True)
    images = Images(options.folder, options.driver or _driver(options.folder), options.folder / "build.log")
    built = _build(images, options.folder, kept=options.kept)
    with contextlib.ExitStack() as stack:
        trees = {target: stack.enter_context(images.mounted(image.name)) for target, image in built.items()}
        for target, image in built.items():
            look_into(target, image, trees[target])
        work = options.folder / "last-run"  # logs and volumes stay there to be looked at
        shutil.rmtree(work, ignore_errors=True)
        asyncio.run(_run(built, trees, work))
    print("container-test: all is well")
    return 0


def _options() -> argparse.Namespace:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "waypost" / "containers"
    parser = argparse.ArgumentParser(description="build the container images, and run them to a chat")
    parser.add_argument("--kept", action="store_true", help="use the layers of the run before")
    parser.add_argument("--folder", type=Path, default=cache, help=f"where all is kept (default: {cache})")
    parser.add_argument("--driver", choices=["overlay", "vfs"], help="buildah's storage (default: what works here)")
    return parser.parse_args()


def _driver(folder: Path) -> str:
    """overlay where this kernel can have one there, which is quicker and smaller."""
    with tempfile.TemporaryDirectory(dir=folder) as tried:
        for name in ("lower", "upper", "work", "all"):
            (Path(tried) / name).mkdir()
        where = f"lowerdir={tried}/lower,upperdir={tried}/upper,workdir={tried}/work"
        if subprocess.run(
            ("mount", "-t", "overlay", "-o", where, "overlay", f"{tried}/all"), capture_output=True
        ).returncode:
            return "vfs"
        subprocess.run(("umount", f"{tried}/all"), check=True)
        return "overlay"


def _build(images: Images, folder: Path, *, kept: bool) -> dict[str, Image]:
    with _timed("base (debootstrap)"):
        base.ensure(images, folder)
    secrets = outside.secrets(folder / "secrets")
    wheels = _wheels(folder)
    built = {}
    for target in TARGETS:
        with _timed(f"build {target}"):
            # The stages that targets share are built once a run.
            name = images.build(target, base.NAME, wheels, secrets, kept=kept or target != TARGETS[0])
        built[target] = images.image(name)
        print(f"  {target:<10} {built[target].size}", flush=True)
    return built


def _wheels(folder: Path) -> Path:
    """A folder with the portable llama-server of the cache, if it is there: else the builder compiles it."""
    place = folder / "wheels"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    words = (sys.executable, str(ROOT / "scripts" / "wheels.py"), "find", "llama")
    found = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "WAYPOST_PORTABLE": "1"})
    if found.returncode == 0:
        wheel = Path(found.stdout.strip())
        (place / wheel.parent.name).mkdir()
        shutil.copy(wheel, place / wheel.parent.name)
    return place


async def _run(built: dict[str, Image], trees: dict[str, Path], work: Path) -> None:
    project = compose.read(ROOT / "docker-compose.yml")
    with network() as wires:
        engine = Engine(project, built, trees, work)
        with engine.hosts(wires):
            try:
                first = await _to_a_chat(engine, wires.router, "up")
                keys = _node_keys(engine)
                with _timed("stop all"):
                    ended = await engine.down()
                assert set(ended.values()) == {0}, f"ended with {ended}"
                again = await _to_a_chat(engine, wires.router, "up again, from the volumes")
                assert first.keys() == again.keys(), "the nodes have other keys than before"
                assert keys == _node_keys(engine)
            finally:
                await engine.down()


async def _to_a_chat(engine: Engine, router: str, what: str) -> dict[str, str]:
    """What was said, by node."""
    with _timed(f"compose {what}: all healthy"):
        await engine.up()
    for container in engine.containers.values():
        if container.ended is None:
            confined.check(container)
    (_, _, port), *_ = engine.containers["gateway"].service.ports
    with _timed("  a chat with each node"):
        words = (sys.executable, "-m", "tests.container.chat", f"http://{engine.address('gateway')}:{port}", MODEL, "2")
        done = await asyncio.to_thread(
            subprocess.run, ("ip", "netns", "exec", router, *words), capture_output=True, text=True, cwd=ROOT
        )
    logs = "\n".join(each.program.output()[-1500:] for each in engine.containers.values())
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{logs}"
    answer = json.loads(done.stdout)
    for node, text in answer["said"].items():
        print(f"    {node[:12]}... said {text.strip()[:60]!r}", flush=True)
    said: dict[str, str] = answer["said"]
    return said


def _node_keys(engine: Engine) -> list[str]:
    """Of both nodes, as their containers tell."""
    words = ("/opt/waypost/bin/waypost", "node", "keys", "--config", "/var/lib/waypost/waypost.toml")
    told = [engine.containers[name].run(*words) for name in ("node1", "node2")]
    return [json.loads(each.stdout)["node"] for each in told]


@contextlib.contextmanager
def _timed(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
