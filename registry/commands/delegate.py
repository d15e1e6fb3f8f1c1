"""`waypost registry delegate`: let a VM's key sign adverts for an operator, for some days."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, ValidationError, field_validator

from registry.advert import MAX_DELEGATION_S, Delegation, Revocation
from registry.backend import Backend
from registry.commands.boards import authentic, boards, load_wallet, on_each, read_all
from registry.commands.failure import CommandError
from registry.commands.options import AddressOption, NodeOption, Options
from registry.fields import HOST_NAME, matches
from registry.signing import sign_delegation

__all__ = ["Delegate", "run_delegate"]

DAY_S = 86_400


class Delegate(Options):
    """Options of `waypost registry delegate`."""

    delegate: AddressOption = Field(
        description="the delegate key's address, 0x...", json_schema_extra={"positional": True}
    )
    operator_key: Path = Field(description="the operator's wallet key", json_schema_extra={"metavar": "FILE"})
    node: NodeOption | None = Field(
        default=None, description="only for this node key (default: for any)", json_schema_extra={"metavar": "KEY"}
    )
    days: int = Field(
        default=7, ge=1, le=MAX_DELEGATION_S // DAY_S, description="how long", json_schema_extra={"metavar": "N"}
    )
    url_suffix: tuple[str, ...] = Field(
        default=(),
        description="only for URLs whose host is this or ends in a dot and this (default: for any)",
        json_schema_extra={"metavar": "SUFFIX"},
    )
    out: Path = Field(description="where to write the delegation", json_schema_extra={"metavar": "FILE"})
    registry: tuple[str, ...] = Field(
        default=(),
        description="a network to tell, where posting for another needs leave (Aleph)",
        json_schema_extra={"metavar": "URL"},
    )

    @field_validator("url_suffix")
    @classmethod
    def _host_names(cls, suffixes: tuple[str, ...]) -> tuple[str, ...]:
        for suffix in suffixes:
            if not matches(HOST_NAME, suffix):
                raise ValueError(f"{suffix!r} is not a host name; write it in lower case without a leading dot")
        return suffixes


async def run_delegate(config: Delegate) -> int:
    """Sign a delegation and write it to `config.out`, over an older one too."""
    operator = load_wallet(config.operator_key)
    async with boards(config.registry, author=operator) as opened:
        await _refuse_revoked(opened, operator.address, config.delegate)
        delegation = _delegation(config, operator.address, int(time.time()))
        _write(config.out, json.dumps(sign_delegation(delegation, operator), ensure_ascii=False) + "\n")
        print(f"{operator.address} lets {config.delegate} sign its adverts for {config.days} days.")
        print(f"The delegation is in {config.out}; start the node with --delegation {config.out.name}")
        await _tell_networks(opened, config.delegate)
    return 0


async def _refuse_revoked(opened: Sequence[Backend], operator: str, delegate: str) -> None:
    """A revocation is never undone, so a delegation to a revoked key would be void from the start."""
    for content in authentic(await read_all(opened, lenient=True)):
        if isinstance(content, Revocation) and content.operator == operator and delegate in content.delegates:
            raise CommandError(
                f"{operator} has revoked {delegate}, which is never undone; have the node make another delegate key "
                "(start it with another --delegate-key FILE)"
            )


async def _tell_networks(opened: Sequence[Backend], delegate: str) -> None:
    """Have networks that ask for it let the delegate post in the operator's name."""

    async def allow(host: Backend) -> None:
        asked = await host.allow(delegate)
        print(f"{host.url}: " + ("the delegate may post for you now" if asked else "takes postings from anybody"))

    try:
        await on_each(opened, allow)
    except CommandError as error:
        raise CommandError(f"the delegation is written, but {error}; then run this command again") from error


def _delegation(config: Delegate, operator: str, now: int) -> Delegation:
    try:
        return Delegation(
            operator=operator,
            delegate=config.delegate,
            node=config.node,
            issued_at=now,
            expires_at=now + config.days * DAY_S,
            url_suffixes=config.url_suffix or None,
        )
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise CommandError(f"--{str(fault['loc'][0]).replace('_', '-')}: {fault['msg']}") from error


def _write(path: Path, text: str) -> None:
    """All or nothing: a node that starts meanwhile reads the old file or the new one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise CommandError(f"--out {path}: cannot be written ({error.strerror}); check the folder") from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()
