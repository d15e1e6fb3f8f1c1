"""`waypost registry revoke`: delegates may sign no more, and what they signed is void. It is never undone."""

from __future__ import annotations

import time
from pathlib import Path

from pydantic import Field

from registry.advert import Revocation
from registry.commands.boards import authentic, boards, load_wallet, post_to, read_all
from registry.commands.failure import CommandError
from registry.commands.options import AddressOption, Options
from registry.signing import next_seq, sign_revocation

__all__ = ["Revoke", "run_revoke"]


class Revoke(Options):
    """Options of `waypost registry revoke`."""

    delegate: tuple[AddressOption, ...] = Field(
        min_length=1, description="addresses of the delegates to revoke", json_schema_extra={"positional": True}
    )
    registry: tuple[str, ...] = Field(
        min_length=1, description="where to post the revocation", json_schema_extra={"metavar": "URL"}
    )
    operator_key: Path = Field(description="the operator's wallet key", json_schema_extra={"metavar": "FILE"})
    payer_key: Path | None = Field(
        default=None,
        description="wallet that pays for the posting, where one must",
        json_schema_extra={"metavar": "FILE"},
    )


async def run_revoke(config: Revoke) -> int:
    """Post one revocation that holds all the earlier ones too, so that a reader needs only the newest."""
    operator = load_wallet(config.operator_key)
    async with boards(config.registry) as opened:
        contents = authentic(await read_all(opened))
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
        await post_to(opened, [envelope.to_json()])
    return 0
