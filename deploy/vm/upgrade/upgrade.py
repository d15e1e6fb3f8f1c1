"""`waypost-upgrade`: another release of the agent is put beside the one that runs, tried, and taken or taken back.

The old one drains before the new one starts. A new one that cannot be used within its time is taken back by itself.
Not here: what a release is made of (package), and the system beneath it, which Debian keeps up.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deploy.vm.upgrade.package import Package
from deploy.vm.upgrade.places import Places, UpgradeError
from deploy.vm.upgrade.releases import Release, Releases
from deploy.vm.upgrade.unit import Pace, Unit


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 done, 1 not done, 2 wrongly called."""
    given = _parser().parse_args(argv)
    places = Places.of(os.environ)
    unit = Unit(places, Pace(given.healthy_s))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # of an SSH connection that broke: half an upgrade helps nobody
    try:
        if given.list:
            return _list(Releases(places))
        with _alone(places):
            if given.back:
                return _back(places, unit)
            return _upgrade(Package(given.file, given.sha256), places, unit, proven=not given.unproven)
    except UpgradeError as error:
        print(f"waypost-upgrade: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="waypost-upgrade", description="Bring this node to another release, or back to the one before."
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("file", nargs="?", type=Path, metavar="WHEEL_OR_TAR", help="the release")
    what.add_argument("--back", action="store_true", help="go back to the release before")
    what.add_argument("--list", action="store_true", help="print the releases that are installed")
    parser.add_argument("--sha256", metavar="HEX", help="digest that the file must have")
    parser.add_argument(
        "--healthy-s", type=float, default=900.0, metavar="S", help="seconds to be usable in [%(default)g]"
    )
    parser.add_argument(
        "--unproven", action="store_true", help="take the release even if the node cannot be used with it, nor before"
    )
    return parser


@contextmanager
def _alone(places: Places) -> Iterator[None]:
    """Raises UpgradeError where another upgrade goes on."""
    try:
        file = (places.releases / ".lock").open("w")
    except OSError as error:
        raise UpgradeError(f"{places.releases}: {error.strerror}; this is for root, on a node's VM") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UpgradeError("another upgrade goes on; wait for its end") from error
        yield


def _list(releases: Releases) -> int:
    current, before = releases.current(), releases.before()
    for release in releases.all():
        at = (
            time.strftime("%Y-%m-%d %H:%M", time.gmtime(release.installed_at))
            if release.installed_at
            else "with the image"
        )
        note = "runs" if release == current else "before" if release == before else ""
        print(f"{release.name:12}  {at:16}  {release.sha256[:16]:16}  {note}".rstrip())
    if (trying := releases.trying()) is not None:
        print(f"an upgrade was broken off: {current.name} is unproven; --back goes back to {trying.name}")
    return 0


def _upgrade(package: Package, places: Places, unit: Unit, *, proven: bool) -> int:
    releases = Releases(places)
    if (trying := releases.trying()) is not None:
        raise UpgradeError(f"an upgrade was broken off: go back to {trying.name} first, with --back")
    old = releases.current()
    if proven and unit.wanted and (fault := unit.fault(old)) is not None:
        raise UpgradeError(
            f"the node cannot be used as it is ({fault}), so that nothing would tell whether {package.version} is any "
            "better; mend it first, or say --unproven"
        )
    print(f"installing {package.version} ({package.sha256})", flush=True)
    new = package.install(releases, places)
    if not unit.wanted:
        releases.attempt(new)
        releases.keep(old)
        print(f"{new.name} is installed; there is no {places.config} to serve by yet")
        return 0
    return _try(old, new, releases, unit, proven=proven)


def _try(old: Release, new: Release, releases: Releases, unit: Unit, *, proven: bool) -> int:
    releases.attempt(new)
    print(f"restarting: {old.name} drains, then {new.name} starts", flush=True)
    fault = _restarted(new, unit)
    if fault is None or not proven:
        releases.keep(old)
        gone = releases.tidy()
        print(
            f"{new.name} runs{f', unproven: {fault}' if fault else ''}",
            *(f"; {name} is removed" for name in gone),
            sep="",
        )
        return 0
    print(f"{new.name} cannot be used: {fault}; going back to {old.name}", file=sys.stderr, flush=True)
    releases.leave(old)
    still = _restarted(old, unit)
    if still is not None:
        raise UpgradeError(f"{old.name} cannot be used either: {still}; look at journalctl --unit waypost")
    raise UpgradeError(f"{old.name} runs again; {new.name} stays beside it, for you to look at")


def _restarted(release: Release, unit: Unit) -> str | None:
    """Why the node cannot be used with the release; None where it can."""
    try:
        unit.restart()
    except UpgradeError as error:
        return str(error)
    return unit.becomes_usable(release)


def _back(places: Places, unit: Unit) -> int:
    releases = Releases(places)
    leaves, broken_off = releases.current(), releases.trying()
    target = broken_off or releases.before()
    if target is None or (target == leaves and not broken_off):
        raise UpgradeError(f"there is no release before {leaves.name}")
    if broken_off:
        releases.leave(target)
    else:
        releases.attempt(target)
        releases.keep(leaves)
    print(f"restarting: {leaves.name} drains, then {target.name} starts", flush=True)
    if unit.wanted and (fault := _restarted(target, unit)) is not None:
        raise UpgradeError(f"{target.name} cannot be used: {fault}; look at journalctl --unit waypost")
    print(f"{target.name} runs")
    return 0
