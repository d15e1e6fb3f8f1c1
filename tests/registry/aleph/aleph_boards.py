"""How the tests open a node's board: by a fixture that closes it, where it matters with shorter waits."""

from __future__ import annotations

from collections.abc import Callable

from registry.aleph import AlephBackend, Limits

Opener = Callable[..., AlephBackend]
SHORT = Limits(
    connect_s=1.0,
    request_s=1.0,
    heartbeat_s=1.0,
    first_look_s=0.1,
    look_every_s=0.2,
    submit_s=2.0,
    settle_s=0.2,
    ask_every_s=0.05,
)
