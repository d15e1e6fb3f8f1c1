"""What makes Debian's tree a node's: our files over it, the agent's user, the units that start, weights.

Not here: packages (packages), the agent's environment (agent).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from deploy.vm.chroot import Chroot
from deploy.vm.steps import StepFailed

FILES = Path(__file__).parent / "files"
UPGRADE = Path(__file__).parent / "upgrade"
UPGRADE_CODE = "usr/local/lib/waypost/deploy/vm/upgrade"  # beside the releases, since it replaces them
MODELS, CONFIG = "usr/share/waypost/models", "etc/waypost/waypost.toml"
UNITS = (
    "waypost.service", "waypost-gpu.service", "nftables.service", "ssh.service", "systemd-networkd.service",
    "systemd-resolved.service", "systemd-timesyncd.service",
)  # fmt: skip
_USER_ID = 990


def apply(tree: Chroot, *, gpu: bool) -> None:
    """Users, folders, our files, units."""
    user = ("--system", "--user-group", "--uid", str(_USER_ID), "--shell", "/usr/sbin/nologin", "--no-create-home")
    tree.run("useradd", *user, "--home-dir", "/var/lib/waypost", "waypost")
    _copy_files(tree.root, gpu=gpu)
    for folder in ("srv/waypost", MODELS):
        (tree.root / folder).mkdir(parents=True, exist_ok=True)
    tree.run("install", "-d", "-o", "waypost", "-g", "waypost", "-m", "0700", "/var/lib/waypost")
    tree.run("install", "-d", "-o", "root", "-g", "waypost", "-m", "0750", "/etc/waypost")
    tree.run("chown", "root:waypost", "/etc/waypost/environment")
    tree.run("systemctl", "enable", *(unit for unit in UNITS if gpu or unit != "waypost-gpu.service"))
    tree.run("systemctl", "mask", "getty@tty1.service", "e2scrub_reap.service")
    tree.run("passwd", "--lock", "root")


def bake(root: Path, weights: Iterable[Path]) -> None:
    """Weights into the image, readable by all. Raises StepFailed."""
    for file in weights:
        if not file.is_file():
            raise StepFailed(f"--bake {file}: no such file")
        copy = Path(shutil.copyfile(file, root / MODELS / file.name))
        copy.chmod(0o644)


def configure(tree: Chroot, config: Path) -> None:
    """A configuration that every VM of this image starts with; the agent there says whether it can take it."""
    target = tree.root / CONFIG
    shutil.copyfile(config, target)
    target.chmod(0o640)
    tree.run("chown", "root:waypost", f"/{CONFIG}")


def _copy_files(root: Path, *, gpu: bool) -> None:
    for file in sorted(file for file in FILES.rglob("*") if file.is_file()):
        name = file.relative_to(FILES)
        if not gpu and name.name.startswith("waypost-gpu"):
            continue
        _place(file, root / name)
    for tool in sorted(UPGRADE.glob("waypost-*")):
        _place(tool, root / "usr/local/sbin" / tool.name)
    for module in sorted(UPGRADE.glob("*.py")):
        _place(module, root / UPGRADE_CODE / module.name)


def _place(file: Path, target: Path) -> None:
    """Programs are those in an sbin folder: a wheel keeps no modes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, target)
    target.chmod(0o755 if target.parent.name == "sbin" else 0o644)
