"""Debian's packages of the image, and the cache that they are installed from: what was fetched once makes every build.

Not here: the Python packages of the agent (agent).
"""

from __future__ import annotations

import email.utils
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.vm.chroot import Chroot
from deploy.vm.sources import Sources
from deploy.vm.steps import StepFailed, run

SYSTEM = (
    "linux-image-cloud-amd64", "initramfs-tools", "zstd", "systemd", "systemd-sysv", "systemd-resolved",
    "systemd-timesyncd", "libpam-systemd", "dbus", "udev", "kmod", "e2fsprogs", "fdisk", "cloud-init",
    "cloud-guest-utils", "openssh-server", "nftables", "unattended-upgrades", "ca-certificates",
    "iproute2", "procps", "less", "python3", "python3-venv", "libgomp1", "libstdc++6",
)  # fmt: skip
GPU = ("nvidia-driver", "nvidia-smi", "nvidia-modprobe", "linux-headers-cloud-amd64", "dkms")
_ARCHIVES, _LISTS = "/var/cache/apt/archives", "/var/lib/apt/lists"
# For the build alone: nothing starts, and nothing waits for the disk. Both are taken away at the end.
POLICY, UNSAFE = "usr/sbin/policy-rc.d", "etc/dpkg/dpkg.cfg.d/waypost-build"


@dataclass(frozen=True)
class PackageCache:
    """A folder: Debian's base as one archive, lists as of one day, packages."""

    folder: Path
    sources: Sources
    log: Path
    non_free: bool = False

    def fetch_base(self, *, refresh: bool) -> None:
        """Debian's smallest tree, as an archive, and the lists. Asks the mirrors for what is missing alone."""
        if refresh:
            self._base.unlink(missing_ok=True)
            self._lists_done.unlink(missing_ok=True)
        if not self._base.exists():
            fresh = self._base.with_suffix(".new")
            work = self.folder / "base-work"
            words = ("--variant=minbase", f"--make-tarball={fresh}", self.sources.suite, str(work), self.sources.mirror)
            run("debootstrap", *words, log=self.log)
            fresh.rename(self._base)
        self._fetch_lists()

    def unpack_base(self, root: Path) -> None:
        words = ("--variant=minbase", f"--unpack-tarball={self._base.resolve()}", self.sources.suite, str(root))
        run("debootstrap", *words, self.sources.mirror, log=self.log)

    def install(self, tree: Chroot, names: Sequence[str]) -> None:
        """Bring the tree up to date and add packages: fetched here, installed there, where no network is asked."""
        (tree.root / "etc/apt/sources.list").write_text(self.sources.text(non_free=self.non_free))
        _hold_back(tree.root)
        for verb in (("dist-upgrade",), ("install", *names)):
            self._apt(tree.root, "--download-only", *verb)
            binds = {self._archives: _ARCHIVES, self._lists: _LISTS}
            tree.run("apt-get", "-y", "--no-install-recommends", "--no-download", *verb, binds=binds)

    @property
    def epoch(self) -> int:
        """When the newest list was made (Unix seconds): the time of all that a build writes."""
        texts = (file.read_text(errors="replace") for file in sorted(self._lists.glob("*InRelease")))
        return newest(texts)

    def _fetch_lists(self) -> None:
        for folder in (self._lists / "partial", self._archives / "partial"):
            folder.mkdir(parents=True, exist_ok=True)
        text = self.sources.text(non_free=self.non_free)
        if self._lists_done.exists() and self._lists_done.read_text() == text:
            return
        self._sources_file.write_text(text)
        self._apt(None, "update")
        self._lists_done.write_text(text)

    def _apt(self, root: Path | None, *words: str) -> None:
        """apt of this machine, with its proxies and certificates, on the cache's lists and the tree's state."""
        status = root / "var/lib/dpkg/status" if root else self.folder / "no-status"
        if root is None:
            status.touch()
        settings = {
            "Dir::Etc::SourceList": self._sources_file, "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null", "Dir::State::Lists": self._lists, "Dir::State::Status": status,
            "Dir::State::extended_states": self.folder / "extended_states", "Dir::Cache": self.folder / "apt",
            "Dir::Cache::Archives": self._archives, "APT::Architecture": "amd64", "APT::Sandbox::User": "root",
            "APT::Keep-Downloaded-Packages": "true", "Acquire::Languages": "none", "Acquire::GzipIndexes": "false",
            "Dir::Cache::pkgcache": "", "Dir::Cache::srcpkgcache": "",
        }  # fmt: skip
        options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        run("apt-get", "-y", "--no-install-recommends", *options, *words, log=self.log)

    @property
    def _base(self) -> Path:
        return self.folder / f"base-{self.sources.suite}.tgz"

    @property
    def _sources_file(self) -> Path:
        return self.folder / "sources.list"

    @property
    def _lists_done(self) -> Path:
        return self.folder / "lists-done"

    @property
    def _lists(self) -> Path:
        return self.folder / "lists"

    @property
    def _archives(self) -> Path:
        return self.folder / "archives"


def newest(releases: Iterable[str]) -> int:
    """The latest `Date:` of Debian's release files (Unix seconds). Raises StepFailed if there is none."""
    dates = [found[1] for text in releases if (found := re.search(r"^Date: (.*)$", text, re.MULTILINE))]
    if not dates:
        raise StepFailed("the cache holds no lists of Debian's; give --refresh")
    return max(int(email.utils.parsedate_to_datetime(date).timestamp()) for date in dates)


def _hold_back(root: Path) -> None:
    policy = root / POLICY
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    (root / UNSAFE).write_text("force-unsafe-io\n")
