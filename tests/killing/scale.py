"""How many nodes die, at which moments, and how large the scene is: set in the environment for `make kill-test`."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping

KILLS = int(os.environ.get("WAYPOST_KILLS", "20"))
SEED = int(os.environ.get("WAYPOST_KILL_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
NODES = 3
MODEL_SETTINGS: Mapping[str, int] = {"context": 1024, "parallel": 9, "threads": 1}  # when one dies, a processor each


def limit_s(rounds: int) -> float:
    """For a whole test, on a machine that has much else to do."""
    return 300.0 + rounds * 60.0
