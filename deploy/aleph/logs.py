"""`waypost deploy logs`: what the node writes, over SSH; or the machine's console, as its host keeps it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from deploy.aleph.config import LogsConfig
from deploy.aleph.host import Host
from deploy.aleph.machine import Machine
from deploy.aleph.state import Record, Store
from deploy.aleph.web import Away, Web
from registry.commands.boards import load_wallet
from registry.commands.failure import CommandError

__all__ = ["run"]


async def run(config: LogsConfig) -> int:
    """Print them. Returns what journalctl returns."""
    store = Store.at(config.state_dir, config.name)
    record = store.record
    if record is None or record.instance is None:
        raise CommandError(f"{config.name} has no machine yet")
    if config.operator_key is not None:
        return await _console(config, record, config.operator_key)
    words = ["journalctl", "--unit", "waypost", "--no-pager", "--lines", str(config.lines)]
    command = Machine(store, config, Path(record.ssh_key)).command([*words, *(["--follow"] if config.follow else [])])
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL)
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def _console(config: LogsConfig, record: Record, operator_key: Path) -> int:
    if record.plan is None or record.instance is None:
        raise CommandError(f"{config.name} has no host yet")
    web = Web(config.request_s)
    try:
        host = Host(web, record.plan.host_url, record.plan.host_name, record.api)
        lines = await host.console(load_wallet(operator_key), record.instance.item_hash)
    except Away as error:
        raise CommandError(str(error)) from error
    finally:
        await web.close()
    print("\n".join(lines[-config.lines :]))
    return 0
