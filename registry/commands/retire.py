"""`waypost registry retire`: take nodes away by tombstones that the operator's own wallet signs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from registry.advert import MAX_AHEAD_S, MAX_LIFETIME_S, Advert, Curation, Revocation
from registry.backend import Backend, BackendError
from registry.commands.boards import authentic, boards, load_wallet, post_to, read_all
from registry.commands.failure import CommandError
from registry.commands.options import NodeOption, PostingOptions
from registry.keys import Wallet
from registry.signing import next_seq, sign_advert

__all__ = ["Retire", "run_retire"]

_NOWHERE = "https://retired.invalid"


class Retire(PostingOptions):
    """Options of `waypost registry retire`."""

    node: tuple[NodeOption, ...] = Field(
        default=(),
        description="node keys to retire (default: all of the operator's on the registry)",
        json_schema_extra={"positional": True},
    )
    operator_key: Path = Field(description="the operator's wallet key", json_schema_extra={"metavar": "FILE"})


async def run_retire(config: Retire) -> int:
    """Post a tombstone for each node, then tidy its older adverts away."""
    operator = load_wallet(config.operator_key)
    now = time.time()
    async with boards(config.registry, author=operator, payer_key=config.payer_key) as opened:
        newest = _newest(authentic(await read_all(opened, lenient=bool(config.node))), operator.address, now)
        nodes = config.node or tuple(node for node, advert in newest.items() if not advert.is_tombstone)
        if not nodes:
            raise CommandError(f"no node of {operator.address} is on {', '.join(config.registry)}; name its node key")
        tombstones = [_tombstone(operator.address, node, newest.get(node), now) for node in nodes]
        await post_to(opened, [_signed(tombstone, operator) for tombstone in tombstones])
        await _tidy(opened, tombstones)
    for node in nodes:
        print(f"retired {node}")
    print("Stop these nodes too, or revoke their delegates: a node that still runs advertises itself again.")
    return 0


def _newest(contents: Sequence[Advert | Revocation | Curation], operator: str, now: float) -> dict[str, Advert]:
    """The operator's adverts with the highest seq, by node; those that every reader refuses as future do not count."""
    newest: dict[str, Advert] = {}
    for content in contents:
        if not isinstance(content, Advert) or content.operator != operator:
            continue
        if content.seq > (now + MAX_AHEAD_S) * 1000:
            continue
        if content.node not in newest or content.seq > newest[content.node].seq:
            newest[content.node] = content
    return newest


def _tombstone(operator: str, node: str, last: Advert | None, now: float) -> Advert:
    return Advert(
        operator=operator,
        node=node,
        seq=next_seq(now, last.seq if last else 0),
        issued_at=int(now),
        expires_at=int(now) + MAX_LIFETIME_S,
        url=last.url if last else _NOWHERE,
        tls_spki_sha256=last.tls_spki_sha256 if last else None,
        offers=(),
    )


def _signed(tombstone: Advert, operator: Wallet) -> str:
    return sign_advert(tombstone, operator, None, None).to_json()


async def _tidy(opened: Sequence[Backend], tombstones: Sequence[Advert]) -> None:
    """Deleting is only tidying, so a board that does not do it is told of and no failure."""
    for board in opened:
        try:
            for tombstone in tombstones:
                await board.retire(tombstone.operator, tombstone.node, tombstone.seq)
        except BackendError as error:
            print(f"older adverts are left where they are: {error}")
