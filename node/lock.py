"""One node key serves once at a time: a lock in the state folder, held for as long as the node runs.

Several nodes may share the folder, each with a key of its own. Not here: what is kept there (advertiser, weights).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


class AlreadyRuns(Exception):
    """Another node holds the key; one line with the fix."""


@contextlib.contextmanager
def sole_holder(state: Path, key: str) -> Iterator[None]:
    """Hold the lock of node key `key`. Raises AlreadyRuns while another process does; ends with the process."""
    try:
        descriptor = os.open(state / f"lock-{key}", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise AlreadyRuns(f"--state {state} cannot be written ({error.strerror}); choose another folder") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise AlreadyRuns(
                f"--state {state}: a node with the key {key} runs on it already; "
                "give this one another --state, or a --node-key of its own"
            ) from error
        yield
    finally:
        os.close(descriptor)
