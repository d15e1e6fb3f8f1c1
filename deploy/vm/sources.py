"""Where Debian's packages come from: as apt is set up on this machine, or as the user says. No host is named here."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deploy.vm.steps import StepFailed

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"  # the same on this machine and in the image
_FORMAT = "$(REPO_URI) $(RELEASE)"


@dataclass(frozen=True)
class Source:
    """One line of a sources.list: a mirror and a release of it."""

    uri: str
    release: str

    def line(self, components: Sequence[str]) -> str:
        return f"deb [signed-by={_KEYRING}] {self.uri} {self.release} {' '.join(components)}\n"


@dataclass(frozen=True)
class Sources:
    """The release itself first, then its updates and its security updates."""

    suite: str
    lines: tuple[Source, ...]

    @property
    def mirror(self) -> str:
        return self.lines[0].uri

    def text(self, *, non_free: bool) -> str:
        """A whole sources.list."""
        extra = ("contrib", "non-free", "non-free-firmware") if non_free else ()
        return "".join(line.line(("main", *extra)) for line in self.lines)


def of_this_machine(suite: str) -> Sources:
    """Raises StepFailed where apt here knows nothing of that release, or of its security updates."""
    try:
        words = ("apt-get", "indextargets", "--format", _FORMAT, "Created-By: Packages")
        printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise StepFailed("apt-get tells no mirror here; give --mirror and --security-mirror") from error
    return chosen(suite, printed.splitlines())


def chosen(suite: str, lines: Iterable[str]) -> Sources:
    """From lines of `MIRROR RELEASE`. Raises StepFailed."""
    found: dict[str, str] = {}
    for line in lines:
        uri, _, release = line.partition(" ")
        found.setdefault(release.strip(), uri)
    for needed in (suite, f"{suite}-security"):
        if needed not in found:
            raise StepFailed(f"apt on this machine has no mirror of {needed}; give --mirror and --security-mirror")
    order = (suite, f"{suite}-updates", f"{suite}-security")
    return Sources(suite, tuple(Source(found[release], release) for release in order if release in found))


def of_mirrors(suite: str, mirror: str, security: str | None) -> Sources:
    """Raises StepFailed without a mirror for security updates."""
    if security is None:
        raise StepFailed("--mirror needs --security-mirror: the image gets its security updates from there")
    lines = (Source(mirror, suite), Source(mirror, f"{suite}-updates"), Source(security, f"{suite}-security"))
    return Sources(suite, lines)
