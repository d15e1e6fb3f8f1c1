"""SIGHUP: the options are read anew, and the node goes on as they say.

Not here: what is another in them (changes), and what is done about it (offering).
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable

from node.changes import in_force
from node.config import NodeConfig
from node.offering import Offering

log = logging.getLogger("waypost.node")


class Reloading:
    """`run` heeds the signal until cancelled. `set_live` is given the options that now count.

    Once the node is `stopping` nothing is changed any more.
    """

    def __init__(
        self,
        offering: Offering,
        reread: Callable[[], NodeConfig],
        set_live: Callable[[NodeConfig], None],
        stopping: Callable[[], bool],
    ) -> None:
        self._offering = offering
        self._reread = reread
        self._set_live = set_live
        self._stopping = stopping
        self._asked = asyncio.Event()

    async def run(self) -> None:
        """One change after the other; many signals at once are one."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._asked.set)
        try:
            while True:
                await self._asked.wait()
                self._asked.clear()
                await self._reload()
        finally:
            loop.remove_signal_handler(signal.SIGHUP)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # by default it ends a process

    async def _reload(self) -> None:
        try:
            config = await asyncio.to_thread(self._reread)
        except ValueError as error:
            log.error("SIGHUP: nothing is changed: %s", error)
            return
        if self._stopping():
            log.warning("SIGHUP: nothing is changed: the node is stopping")
            return
        self._set_live(in_force(self._offering.config, config))  # first: memory for what is added may be among it
        made = await self._offering.apply(config)
        log.info("SIGHUP: %s", made)
        if made.restart:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in made.restart)
            log.warning("SIGHUP: only a restart changes %s", flags)
