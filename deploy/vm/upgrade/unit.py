"""The agent's unit: restarted as it drains, and watched until the agent says that it can be used.

Not here: which release it runs (releases).
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

from deploy.vm.upgrade.places import UNIT, Places, UpgradeError
from deploy.vm.upgrade.releases import Release

_USABLE = 0  # `waypost node status`: 200 or 202
_OVER = ("failed", "inactive")  # systemd does not start it again by itself


@dataclass(frozen=True)
class Pace:
    """For how long a node may take to be usable, and how often it is asked."""

    healthy_s: float = 900.0
    every_s: float = 2.0


class Unit:
    """`clock` and `sleep` are a test's, where it has no time."""

    def __init__(
        self,
        places: Places,
        pace: Pace,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._places = places
        self._pace = pace
        self._clock = clock
        self._sleep = sleep

    @property
    def wanted(self) -> bool:
        """Whether there is a configuration to serve by."""
        return self._places.config.exists()

    def restart(self) -> None:
        """Drain and start anew. Returns once the old agent has ended. Raises UpgradeError."""
        self._systemctl("restart")

    def stop(self) -> None:
        self._systemctl("stop")

    def start(self) -> None:
        self._systemctl("start")

    @property
    def state(self) -> str:
        """As systemd names it: active, activating, failed, inactive ..."""
        done = subprocess.run(("systemctl", "is-active", UNIT), capture_output=True, text=True)
        return done.stdout.strip() or "unknown"

    def fault(self, release: Release) -> str | None:
        """Why the agent cannot be used at this moment; None where it can."""
        done = self._places.as_agent(release.waypost, "node", "status", "--config", str(self._places.config), "--json")
        if done.returncode == _USABLE:
            return None
        try:
            return f"it says {json.loads(done.stdout)['status']}"
        except (ValueError, KeyError, TypeError):
            return (done.stderr.strip().splitlines() or ["it does not answer"])[-1].removeprefix("waypost: ")

    def becomes_usable(self, release: Release) -> str | None:
        """Wait for it. Why it did not come to that; None where it did."""
        ends = self._clock() + self._pace.healthy_s
        while (fault := self.fault(release)) is not None:
            if (state := self.state) in _OVER:
                return f"the unit is {state}; {fault}"
            if self._clock() >= ends:
                return f"after {self._pace.healthy_s:.0f} s {fault}"
            self._sleep(self._pace.every_s)
        return None

    def _systemctl(self, verb: str) -> None:
        done = subprocess.run(("systemctl", verb, UNIT), capture_output=True, text=True)
        if done.returncode:
            raise UpgradeError(f"systemctl {verb} {UNIT}: {done.stderr.strip() or f'exit status {done.returncode}'}")
