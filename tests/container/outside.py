"""What building takes from this machine: apt's mirrors, and how pip and npm reach their indices.

It is read from their own settings, and given to the builder as files that are in no layer. No host is named here.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_THERE = "/run/secrets/ca.pem"  # where the Dockerfile mounts them
_PIP_KEPT = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout", "retries")
_NPM_KEPT = ("registry", "proxy", "https-proxy", "noproxy", "strict-ssl")
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


@dataclass(frozen=True)
class Secrets:
    """Files by the name that the Dockerfile has for them."""

    files: Mapping[str, Path]


def secrets(folder: Path) -> Secrets:
    """Write them into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"pip": folder / "pip.conf", "npm": folder / "npmrc"}
    files["pip"].write_text(_pip())
    files["npm"].write_text(_npm())
    if _CERTIFICATES.is_file():
        files["ca"] = folder / "ca.pem"
        shutil.copy(_CERTIFICATES, files["ca"])
    return Secrets(files)


def apt_sources(suite: str) -> list[tuple[str, str]]:
    """(mirror, release) pairs that apt here knows of a suite, the suite itself first."""
    words = ("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages")
    printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    found = {release: uri for uri, _, release in (line.partition(" ") for line in printed.splitlines())}
    order = (suite, f"{suite}-updates", f"{suite}-security")
    if suite not in found:
        raise SystemExit(f"waypost: apt on this machine has no mirror of {suite}")
    return [(found[release], release) for release in order if release in found]


def sources_list(suite: str) -> str:
    """The same as a sources.list."""
    return "".join(f"deb [signed-by={_KEYRING}] {uri} {release} main\n" for uri, release in apt_sources(suite))


def _pip() -> str:
    """Folders of this machine are left out: the builder does not see them."""
    listed = subprocess.run((sys.executable, "-m", "pip", "config", "list"), capture_output=True, text=True).stdout
    lines = ["[global]"] + [f"cert = {_THERE}"] * _CERTIFICATES.is_file()
    for line in listed.splitlines():
        key, _, quoted = line.partition("=")
        name, values = key.rpartition(".")[2], quoted.strip("'").split()
        usable = [value for value in values if not value.startswith(("file:", "/"))]
        if name in _PIP_KEPT and usable:
            lines.append(f"{name} = {' '.join(usable)}")
    return "\n".join(lines) + "\n"


def _npm() -> str:
    lines = [f"cafile={_THERE}"] * _CERTIFICATES.is_file()
    if shutil.which("npm") is None:
        return "\n".join(lines) + "\n"
    for key in _NPM_KEPT:
        said = subprocess.run(("npm", "config", "get", key), capture_output=True, text=True).stdout.strip()
        if said not in ("", "null", "undefined"):
            lines.append(f"{key}={said}")
    return "\n".join(lines) + "\n"
