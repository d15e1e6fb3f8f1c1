"""The virtual machine over SSH: its keys, and its configuration with the operator's delegation.

What runs there is the image's own `waypost-setup`. Not here: how SSH is spoken (deploy.ssh).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import orjson
from pydantic import ValidationError

from deploy.aleph.config import SshOptions, UpConfig
from deploy.aleph.plan import say
from deploy.aleph.state import Keys, Store
from deploy.ssh import Fault, Ssh, SshFailed, private_half
from deploy.vm.parcel import write_parcel
from registry.answers import one_line
from registry.commands.failure import CommandError

__all__ = ["Machine", "digest_of", "node_config"]

_AGAIN_S = 3.0
_COMMAND_S = 300.0


class Machine:
    """One machine, at whichever of its addresses answers."""

    def __init__(self, store: Store, options: SshOptions, ssh_key: Path) -> None:
        record = store.record
        if record is None or record.instance is None or not record.addresses:
            raise CommandError("the machine has no address yet; run waypost deploy aleph again")
        identity = private_half(ssh_key)
        self._store = store
        self._ways = [
            Ssh(address, port, options.ssh_user, identity, store.known_hosts, record.instance.item_hash)
            for address, port in record.addresses
            if options.reach == "auto" or (":" in address) == (options.reach == "ipv6")
        ]
        if not self._ways:
            told = ", ".join(f"{address} port {port}" for address, port in record.addresses)
            raise CommandError(f"--reach {options.reach}: the host tells no such address, only {told}")
        self._item_hash = record.instance.item_hash

    def __repr__(self) -> str:
        return f"Machine({self._item_hash[:12]}, {', '.join(f'{way.address}:{way.port}' for way in self._ways)})"

    async def keys(self, limit_s: float) -> Keys:
        """Wait until the machine lets SSH in, and ask for its node's keys. CommandError where that is not to be."""
        said = await self._wait_for(lambda way: way.run(["waypost-setup", "keys"], limit_s=_COMMAND_S), limit_s)
        try:
            told = orjson.loads(said)
            keys = Keys.model_validate({name: told.get(name) for name in Keys.model_fields})
        except (ValueError, AttributeError, ValidationError) as error:
            raise CommandError(
                f"waypost-setup keys on the machine printed no keys: {one_line(said.decode('utf-8', 'replace'))}"
            ) from error
        if keys.vm_hash not in (None, self._item_hash):
            raise CommandError(
                f"the machine takes itself for {keys.vm_hash}, not {self._item_hash}: SSH reached another one; "
                "nothing was signed for it"
            )
        return keys

    async def set_up(self, files: Mapping[str, bytes], limit_s: float) -> bool:
        """Hand over configuration and delegation; whether the node runs with them. CommandError where it refuses."""
        packed = write_parcel(files)
        said = await self._wait_for(lambda way: way.run(["waypost-setup"], packed, limit_s=_COMMAND_S), limit_s)
        try:
            told = orjson.loads(said)
            return told["active"] is True
        except (ValueError, KeyError, TypeError) as error:
            raise CommandError(
                f"waypost-setup on the machine said: {one_line(said.decode('utf-8', 'replace'))}"
            ) from error

    def command(self, words: Sequence[str]) -> list[str]:
        """A command line that shows what `words` print there, for a program that takes this one's place."""
        return self._ways[0].words(words)

    async def _wait_for(self, ask: Callable[[Ssh], Awaitable[bytes]], limit_s: float) -> bytes:
        """Each address in turn, again and again, until one answers. A machine that boots refuses keys for a while."""
        deadline = time.monotonic() + limit_s
        told = Fault.AWAY
        while True:
            for way in self._ways:
                try:
                    return await ask(way)
                except SshFailed as failed:
                    last = failed
                if last.fault is Fault.COMMAND and last.out:
                    return last.out  # it says itself what is wrong
                if last.fault in (Fault.CHANGED, Fault.COMMAND, Fault.MISSING):
                    raise CommandError(_explained(last, way)) from last
            if last.fault is not told:
                say(f"not yet: {last}")
                told = last.fault
            if time.monotonic() >= deadline:
                raise CommandError(f"waited {limit_s:g} s (--ssh-s) for SSH: {_explained(last, way)}") from last
            await asyncio.sleep(_AGAIN_S)


def node_config(config: UpConfig) -> bytes:
    """The node's waypost.toml: the operator's own file, else what the options say. The image adds where it listens."""
    if config.node_config is not None:
        try:
            return config.node_config.read_bytes()
        except OSError as error:
            raise CommandError(f"--node-config {config.node_config}: {error.strerror}") from error
    lines = ["[node]", f"registry = {_listed(config.registries())}", f"access = {_listed(config.access)}"]
    lines.append(f"model = {_listed(config.model)}")
    return ("\n".join(lines) + "\n").encode()


def digest_of(files: Mapping[str, bytes]) -> str:
    """The same for the same files."""
    return hashlib.sha256(write_parcel(dict(sorted(files.items())))).hexdigest()


def _listed(values: Sequence[str]) -> str:
    """JSON's strings are TOML's, where nothing but ASCII is in them."""
    return json.dumps(list(values))


def _explained(failed: SshFailed, way: Ssh) -> str:
    where = f"{way.user}@{way.address} port {way.port}"
    if failed.fault is Fault.CHANGED:
        return (
            f"{where} shows another SSH host key than at first contact: its disk was made anew, or somebody stands "
            f"between. If you know that it was made anew, remove {way.known_hosts} and run it again"
        )
    if failed.fault is Fault.REFUSED:
        return (
            f"{where} does not let your key in ({failed}); the private half of --ssh-key must stand beside it without "
            f"a passphrase, or be in your agent (ssh-add)"
        )
    if failed.fault is Fault.MISSING:
        return f"{failed}" if "on this machine" in str(failed) else (
            f"{where} has no waypost-setup ({failed}): this is no image of waypost deploy image; destroy it, "
            "and name another --image"
        )  # fmt: skip
    if failed.fault is Fault.COMMAND:
        return f"{where}: {failed}"
    return f"{where}: {failed}; is your own network's IPv6 up? --reach ipv4 goes by the host's IPv4"
