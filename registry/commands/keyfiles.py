"""`waypost key new` and `waypost key show`: an operator's key on the operator's own machine."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from registry.commands.failure import CommandError
from registry.commands.options import Options
from registry.keys import KeyFileError, NodeKey, Wallet

__all__ = ["KeyNew", "KeyShow", "run_key_new", "run_key_show"]


class KeyNew(Options):
    """Options of `waypost key new`."""

    file: Path = Field(description="where to write the new wallet key", json_schema_extra={"positional": True})


class KeyShow(Options):
    """Options of `waypost key show`."""

    file: Path = Field(description="the key file to read", json_schema_extra={"positional": True})


async def run_key_new(config: KeyNew) -> int:
    """Make a wallet key; never over an existing file."""
    wallet = Wallet.new()
    try:
        wallet.save(config.file)
    except KeyFileError as error:
        raise CommandError(str(error)) from error
    print(f"address: {wallet.address}")
    print(f"The key is in {config.file}. Keep a copy in a safe place, and never put it into a VM.")
    return 0


async def run_key_show(config: KeyShow) -> int:
    """A key file does not say what its key is for, so both public halves are shown."""
    try:
        wallet, node = Wallet.load(config.file), NodeKey.load(config.file)
    except KeyFileError as error:
        raise CommandError(str(error)) from error
    print(f"as a wallet (operator, delegate, curator, payer), address: {wallet.address}")
    print(f"as a node or gateway key, public key: {node.public}")
    return 0
