"""`waypost registry curate`: edit and publish a curator's list, starting from its newest one on the registry."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import Field, ValidationError

from registry.advert import MAX_AHEAD_S, MAX_CURATION_S, Advert, Curation, Revocation
from registry.commands.boards import authentic, boards, load_wallet, post_to, read_all
from registry.commands.failure import CommandError
from registry.commands.options import AddressOption, NodeOption, PinOption, PostingOptions, SlugOption
from registry.signing import next_seq, sign_curation

__all__ = ["Curate", "run_curate"]

DAY_S = 86_400
_FIRST = (
    "no earlier list of this curator is shown, so this is its first; if it is not, a registry withholds the last one: "
    "name another host, and publish again"
)


class Curate(PostingOptions):
    """Options of `waypost registry curate`. With no edit at all, the list is published anew for some more days."""

    operator_key: Path = Field(description="the curator's wallet key", json_schema_extra={"metavar": "FILE"})
    add_operator: tuple[AddressOption, ...] = Field(
        default=(), description="vouch for an operator", json_schema_extra={"metavar": "0xADDRESS"}
    )
    remove_operator: tuple[AddressOption, ...] = Field(
        default=(), description="vouch for an operator no more", json_schema_extra={"metavar": "0xADDRESS"}
    )
    add_node: tuple[NodeOption, ...] = Field(
        default=(), description="vouch for one node", json_schema_extra={"metavar": "KEY"}
    )
    remove_node: tuple[NodeOption, ...] = Field(
        default=(), description="vouch for a node no more", json_schema_extra={"metavar": "KEY"}
    )
    pin: tuple[PinOption, ...] = Field(
        default=(), description="say which weights a model's name means", json_schema_extra={"metavar": "NAME=DIGEST"}
    )
    unpin: tuple[str, ...] = Field(
        default=(), description="say nothing of a model's name any more", json_schema_extra={"metavar": "NAME"}
    )
    slug: tuple[SlugOption, ...] = Field(
        default=(), description="give a node a short name for /vm/SLUG", json_schema_extra={"metavar": "SLUG=NODE"}
    )
    remove_slug: tuple[str, ...] = Field(
        default=(), description="take a short name away", json_schema_extra={"metavar": "SLUG"}
    )
    days: int = Field(
        default=30, ge=1, le=MAX_CURATION_S // DAY_S, description="how long", json_schema_extra={"metavar": "N"}
    )


async def run_curate(config: Curate) -> int:
    """Publish the edited list and print what it says now."""
    curator = load_wallet(config.operator_key)
    now = time.time()
    async with boards(config.registry, author=curator, payer_key=config.payer_key) as opened:
        last = _newest(authentic(await read_all(opened)), curator.address, now)
        if last is None:
            print(f"waypost: {_FIRST}", file=sys.stderr)
        try:
            curation = _edited(config, curator.address, last, now)
            envelope = sign_curation(curation, curator)
        except ValidationError as error:
            raise CommandError(f"{error.errors(include_url=False)[0]['msg']}") from error
        except ValueError as error:
            raise CommandError(f"the list is too long: {error}") from error
        await post_to(opened, [envelope.to_json()])
    _show(curation)
    return 0


def _newest(contents: Sequence[Advert | Revocation | Curation], curator: str, now: float) -> Curation | None:
    mine = [c for c in contents if isinstance(c, Curation) and c.curator == curator]
    known = [curation for curation in mine if curation.seq <= (now + MAX_AHEAD_S) * 1000]
    return max(known, key=lambda curation: curation.seq, default=None)


def _edited(config: Curate, curator: str, last: Curation | None, now: float) -> Curation:
    return Curation(
        curator=curator,
        seq=next_seq(now, last.seq if last else 0),
        issued_at=int(now),
        expires_at=int(now) + config.days * DAY_S,
        operators=_list(last.operators if last else (), config.add_operator, config.remove_operator),
        nodes=_list(last.nodes if last else (), config.add_node, config.remove_node),
        models=_map(last.models if last else {}, config.pin, config.unpin),
        slugs=_map(last.slugs if last else {}, config.slug, config.remove_slug),
    )


def _list(before: Iterable[str], add: Iterable[str], remove: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({*before, *add}.difference(remove)))


def _map(before: Mapping[str, str], add: Iterable[str], remove: Iterable[str]) -> dict[str, str]:
    added = dict(entry.split("=", 1) for entry in add)
    gone = set(remove)
    return {name: value for name, value in {**before, **added}.items() if name not in gone}


def _show(curation: Curation) -> None:
    print(f"curator {curation.curator}, for {(curation.expires_at - curation.issued_at) // DAY_S} days")
    for operator in curation.operators:
        print(f"  operator {operator}")
    for node in curation.nodes:
        print(f"  node     {node}")
    for name, digest in curation.models.items():
        print(f"  model    {name} = {digest}")
    for slug, target in curation.slugs.items():
        print(f"  slug     {slug} = {target}")
