"""What can go wrong on the way to an upstream that is asked through aiohttp, and for how long it is waited for.

Not here: the hot path's own connections (wire).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import aiohttp

from relay.errors import ConnectFailed, Reset, UpstreamTimeout


@asynccontextmanager
async def patience(limit_s: float) -> AsyncIterator[Callable[[], None]]:
    """A time limit that begins anew when what it gives is called: with each piece of a body whose way may be slow."""
    over = False
    async with asyncio.timeout(limit_s) as limit:

        def begin_anew() -> None:
            if not over and not limit.expired():  # a body may still be on its way when its answer has begun
                limit.reschedule(asyncio.get_running_loop().time() + limit_s)

        try:
            yield begin_anew
        finally:
            over = True


@contextmanager
def reaching() -> Iterator[None]:
    """The errors of the client as errors of ours."""
    try:
        yield
    except TimeoutError as error:
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            raise ConnectFailed("The upstream did not accept a connection in time.", code="connect_timeout") from error
        raise UpstreamTimeout("The upstream did not answer in time.", code="head_timeout") from error
    except (aiohttp.ClientConnectorError, aiohttp.ServerFingerprintMismatch) as error:
        raise ConnectFailed("The upstream could not be reached.", code="connect_failed") from error
    except (aiohttp.ClientError, OSError) as error:
        raise Reset("The upstream closed the connection without an answer.", code="upstream_reset") from error
