"""`waypost registry create`: put the registry's contract on a chain, and say by which URL it is used from then on."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from registry.backend import BackendError, scheme_and_host
from registry.commands.boards import load_wallet
from registry.commands.failure import CommandError
from registry.commands.options import Options

__all__ = ["Create", "run_create"]

_FORM = "only a chain needs this; write evm+https://RPC_HOST"


class Create(Options):
    """Options of `waypost registry create`."""

    registry: str = Field(
        description="the chain: evm+https://RPC_HOST (evm+http for a local one)", json_schema_extra={"metavar": "URL"}
    )
    payer_key: Path = Field(description="wallet that pays for it", json_schema_extra={"metavar": "FILE"})


async def run_create(config: Create) -> int:
    """Deploy the contract and print its registry URL, alone on the last line."""
    payer = load_wallet(config.payer_key)
    if config.registry.partition(":")[0] not in ("evm+https", "evm+http"):
        raise CommandError(f"--registry {scheme_and_host(config.registry)}: {_FORM}")
    try:
        from registry.evm import deploy

        url = await deploy(config.registry, payer)
    except (ValueError, BackendError) as error:
        raise CommandError(str(error)) from error
    print("The contract is on the chain. Nobody owns it, and anybody may post to it. Use it as")
    print(url)
    return 0
