"""How long a node is waited for, and how often it is looked at."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    connect_s: float = 10.0
    request_s: float = 30.0  # a whole answer
    heartbeat_s: float = 20.0  # a socket whose host does not answer a ping within half of this is given up
    first_look_s: float = 5.0  # a node begins to send some time after it accepted the socket
    look_every_s: float = 60.0  # a socket of a real node can lose a message and not tell
    submit_s: float = 45.0  # a node itself waits 30 s for a message to be processed
    settle_s: float = 5.0  # how long a pending message is asked after
    ask_every_s: float = 0.5
