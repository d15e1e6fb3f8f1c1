"""Room on the disk: asked for before the first byte, and what the system says when there is none, in words.

Not here: who writes (partial).
"""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from node.store.progress import size_text
from node.weights import WeightsError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ELSEWHERE = "or choose another folder with --weights DIR"


class Room:
    """Of one folder. `reserve` bytes stay free for what else the machine writes."""

    def __init__(self, folder: Path, reserve: int) -> None:
        self._folder = folder
        self._reserve = reserve

    def check(self, need: int) -> None:
        """Raises WeightsError unless `need` bytes fit."""
        free = shutil.disk_usage(self._folder).free
        missing = need + self._reserve - free
        if missing > 0:
            raise WeightsError(
                f"{self._folder}: {size_text(need)} are still to come and {size_text(self._reserve)} must stay free, "
                f"but there are {size_text(free)}: {size_text(missing)} too little; free them, {_ELSEWHERE}"
            )

    def fault(self, error: OSError) -> WeightsError:
        """What went wrong with a file in the folder, with the fix."""
        if error.errno in _FULL:
            return WeightsError(f"{self._folder}: no space is left ({error.strerror}); make some, {_ELSEWHERE}")
        where = error.filename or self._folder
        return WeightsError(
            f"{where}: cannot be written ({error.strerror or error}); let the node write it, {_ELSEWHERE}"
        )
