"""How often a thing is tried, and how long to wait in between: longer and longer while nothing comes of it.

Not here: what is tried (download, aleph, hub).
"""

from __future__ import annotations

import asyncio
import logging
import random

from node.store.limits import Limits
from node.weights import WeightsError

log = logging.getLogger("waypost.node")


class Broken(Exception):
    """A try that failed and may go better the next time; one line. `after_s` is what the host asked to wait."""

    def __init__(self, why: str, after_s: float | None = None) -> None:
        super().__init__(why)
        self.after_s = after_s


class Patience:
    """Counts the tries in a row that brought nothing."""

    def __init__(self, what: str, limits: Limits) -> None:
        self._what = what
        self._limits = limits
        self._fruitless = 0

    def rewarded(self) -> None:
        """A try has brought something new."""
        self._fruitless = 0

    async def wait(self, broken: Broken) -> None:
        """Until the next try. Raises WeightsError if there were enough."""
        self._fruitless += 1
        if self._fruitless >= self._limits.fruitless:
            raise WeightsError(
                f"{self._what}: {broken}; given up after {self._fruitless} tries in a row that brought nothing; "
                "what has come so far is kept"
            )
        pause_s = self._pause_s(broken)
        log.warning("%s: %s; again in %.1f s", self._what, broken, pause_s)
        await asyncio.sleep(pause_s)

    def _pause_s(self, broken: Broken) -> float:
        """Scattered, so that many nodes do not come back at once."""
        if broken.after_s is not None:
            return min(broken.after_s, self._limits.retry_after_s)
        longest: float = min(self._limits.longest_s, self._limits.backoff_s * 2.0 ** (self._fruitless - 1))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - nothing depends on who can guess it
