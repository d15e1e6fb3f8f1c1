"""`waypost registry revoke`: delegates may sign no more, and what they signed is void. It is never undone."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from registry.advert import Revocation
from registry.backend import Backend
from registry.commands.boards import authentic, boards, load_wallet, on_each, post_to, read_all
from registry.commands.failure import CommandError
from registry.commands.options import AddressOption, PostingOptions
from registry.signing import next_seq, sign_revocation

__all__ = ["Revoke", "run_revoke"]


class Revoke(PostingOptions):
    """Options of `waypost registry revoke`."""

    delegate: tuple[AddressOption, ...] = Field(
        min_length=1, description="addresses of the delegates to revoke", json_schema_extra={"positional": True}
    )
    operator_key: Path = Field(description="the operator's wallet key", json_schema_extra={"metavar": "FILE"})


async def run_revoke(config: Revoke) -> int:
    """Post one revocation that holds all the earlier ones too, so that a reader needs only the newest."""
    operator = load_wallet(config.operator_key)
    async with boards(config.registry, author=operator, payer_key=config.payer_key) as opened:
        contents = authentic(await read_all(opened, lenient=True))
        known = [c for c in contents if isinstance(c, Revocation) and c.operator == operator.address]
        earlier = {delegate for revocation in known for delegate in revocation.delegates}
        revocation = Revocation(
            operator=operator.address,
            seq=next_seq(time.time(), max((r.seq for r in known), default=0)),
            delegates=tuple(sorted(earlier.union(config.delegate))),
        )
        try:
            envelope = sign_revocation(revocation, operator)
        except ValueError as error:
            raise CommandError(f"too many revoked delegates for one text: {error}") from error
        for delegate in config.delegate:
            print(f"{operator.address} revokes {delegate}" + (" (again)" if delegate in earlier else ""))
        try:
            await post_to(opened, [envelope.to_json()])
        finally:
            await _tell_networks(opened, config.delegate)
    return 0


async def _tell_networks(opened: Sequence[Backend], delegates: Sequence[str]) -> None:
    """Take a network's leave back too. Readers go by the revocation, so a failure here is told and is none."""

    async def disallow(host: Backend) -> None:
        if await host.disallow(delegates):
            print(f"{host.url}: may post in the operator's name no more")

    try:
        await on_each(opened, disallow)
    except CommandError as error:
        print(f"waypost: the network still lets the delegate post: {error}; run this command again", file=sys.stderr)
