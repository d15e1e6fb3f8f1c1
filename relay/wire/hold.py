"""Why nothing is read from a client for now. Not here: the reading (connection)."""

from __future__ import annotations

from enum import IntFlag


class Hold(IntFlag):
    """Each ends by itself; reading goes on when none is left."""

    QUEUE = 1  # enough requests have been read ahead
    BODY = 2  # enough of a body has been read ahead
    APPLICATION = 4  # the application asks for it
