"""A request that its engine's death cost an answer is tried once more, on the engine's next life.

Not so where the engine has seen the request and crashed: the request may be what crashes it. Not here: keeping the
engine up (process), and trying other nodes (the gateway).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from node.life import State
from node.models import Served
from relay.errors import ApiError, ConnectFailed, Reset

_NOTICE_S = 1.0  # an engine that could not be reached is seen to have died within this
_Answer = TypeVar("_Answer")


async def outliving(
    model: Served, forward: Callable[[], Awaitable[_Answer]], may_try_again: Callable[[ApiError], bool]
) -> _Answer:
    """What `forward` gives, asked a second time if the engine has ended meanwhile. Raises ApiError as that does."""
    try:
        return await forward()
    except (ConnectFailed, Reset) as error:
        if not may_try_again(error) or not await _ended(model, error):
            raise
        return await forward()


async def _ended(model: Served, error: ApiError) -> bool:
    life = model.engine.life
    await life.unready(_NOTICE_S)
    return life.state is not State.READY and (life.killed or isinstance(error, ConnectFailed))
