"""`waypost deploy image`: builds the disk image of a node's VM. As root, with Debian's own tools.

What goes where stands below deploy/vm: sources, packages, agent, settings, tidy, audit, disk.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

from deploy.image_config import ImageConfig
from deploy.vm import agent, audit, disk, settings, sources, tidy
from deploy.vm.chroot import Chroot
from deploy.vm.packages import GPU, SYSTEM, PackageCache
from deploy.vm.steps import StepFailed, step


def run(config: ImageConfig) -> int:
    """Build, and print each file with its size and digest. Returns the exit status."""
    if os.geteuid() != 0:
        print("waypost: a root file system is made by root; run this as root", file=sys.stderr)
        return 1
    config.cache.mkdir(parents=True, exist_ok=True)
    config.out.mkdir(parents=True, exist_ok=True)
    with (config.cache / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        work = Path(tempfile.mkdtemp(prefix="building-", dir=config.cache))
        try:
            made = _build(config, work)
        except StepFailed as error:
            print(f"waypost: {error}", file=sys.stderr)
            return 1
        finally:
            shutil.rmtree(work, ignore_errors=True)
    for file in made:
        print(f"{_digest(file)}  {file}  {file.stat().st_size // 2**20} MiB", flush=True)
    return 0


def _build(config: ImageConfig, work: Path) -> list[Path]:
    log = config.out / "build.log"
    log.write_bytes(b"")
    cache = PackageCache(config.cache, _sources(config), log, non_free=config.gpu == "build")
    with step("the agent's wheel"):
        wheels = agent.own_wheels(config.agent, config.llama, work, log)
    with step("fetching Debian's base and lists"):
        cache.fetch_base(refresh=config.refresh)
    with step("fetching the agent's wheels"):
        folder = agent.fetch(wheels, config.cache, log)
    tree = Chroot(work / "root", log, cache.epoch)
    with step("unpacking Debian's base"):
        cache.unpack_base(tree.root)
    with step("installing Debian's packages"):
        cache.install(tree, (*SYSTEM, *(GPU if config.gpu == "build" else ())))
    with step("installing the agent"):
        agent.install(tree, wheels, folder)
    with step("settings, weights"):
        settings.apply(tree, gpu=config.gpu != "none")
        settings.bake(tree.root, config.bake)
        if config.node_config is not None:
            settings.configure(tree, config.node_config)
    with step("tidying"):
        tidy.tidy(tree)
    with step("looking for secrets"):
        _check(tree.root)
    return _write(config, tree, wheels.version, work)


def _sources(config: ImageConfig) -> sources.Sources:
    if config.mirror is None:
        return sources.of_this_machine(config.suite)
    return sources.of_mirrors(config.suite, config.mirror, config.security_mirror)


def _check(root: Path) -> None:
    if found := list(audit.findings(root)):
        raise StepFailed("this must not be in an image:\n  " + "\n  ".join(found))


def _write(config: ImageConfig, tree: Chroot, version: str, work: Path) -> list[Path]:
    name = f"waypost-{version}-amd64"
    raw, qcow2 = config.out / f"{name}.raw", config.out / f"{name}.qcow2"
    (config.out / f"{name}.packages").write_text(_packages(tree))
    with step("the disk"):
        size_mib = config.size_mib or disk.needed_mib(tree.root)
        disk.Disk(tree.root, size_mib, name, tree.epoch).make(raw, work, tree.log)
    made = [raw] if config.format != "qcow2" else []
    if config.format != "raw":
        with step("the compressed disk"):
            disk.to_qcow2(raw, qcow2, tree.log)
        made.append(qcow2)
    if raw not in made:
        raw.unlink()
    return made


def _packages(tree: Chroot) -> str:
    """What is in the image: Debian's packages, then the agent's."""
    own = tree.output(f"/{agent.CURRENT}/bin/python", "-m", "pip", "list", "--format=freeze")
    return tree.output("dpkg-query", "-W", "-f", "${Package}=${Version}\\n") + own


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
