"""The boards that a command names: read all of them, post to each. Errors become CommandErrors here."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from registry.advert import Advert, Curation, Envelope, Refused, Revocation
from registry.backend import Backend, BackendError, fetch_all, open_backend
from registry.commands.failure import CommandError
from registry.keys import KeyFileError, Wallet
from registry.signing import open_signed

__all__ = ["authentic", "boards", "load_wallet", "post_to", "read_all"]


@asynccontextmanager
async def boards(
    urls: Sequence[str], *, author: Wallet | None = None, payer_key: Path | None = None
) -> AsyncIterator[list[Backend]]:
    """The named boards, closed at the end; raises CommandError for a URL that names none."""
    payer = None if payer_key is None else load_wallet(payer_key)
    try:
        opened = [open_backend(url, author=author, payer=payer) for url in urls]
    except ValueError as error:
        raise CommandError(str(error)) from error
    try:
        yield opened
    finally:
        for board in opened:
            await board.close()


async def read_all(opened: Sequence[Backend]) -> list[str]:
    """Every posting on every board: what is signed next must come after all of them. One host of each must answer."""
    postings: list[str] = []
    away: list[tuple[Backend, BackendError]] = []
    for host in opened:
        try:
            postings += await fetch_all(host)
        except BackendError as error:
            away.append((host, error))
    _tell(away, opened)
    return postings


def authentic(postings: Sequence[str]) -> list[Advert | Revocation | Curation]:
    """The contents of those postings whose signatures hold."""
    contents = []
    for raw in postings:
        try:
            contents.append(open_signed(Envelope.parse(raw)))
        except Refused:
            continue
    return contents


async def post_to(opened: Sequence[Backend], texts: Sequence[str]) -> None:
    """Post to every host; CommandError at the end names the boards of which no host took it."""
    failed: list[tuple[Backend, BackendError]] = []
    for host in opened:
        try:
            for text in texts:
                await host.publish(text)
        except BackendError as error:
            failed.append((host, error))
        else:
            print(f"posted to {host.url}")
    _tell(failed, opened)


def _tell(failed: Sequence[tuple[Backend, BackendError]], opened: Sequence[Backend]) -> None:
    """Print what one host of a board could not do where another could; else raise CommandError."""
    able = {host.board for host in opened if all(host is not other for other, _ in failed)}
    fatal = []
    for host, error in failed:
        if host.board in able:
            print(f"waypost: {error}; another host did it", file=sys.stderr)
        else:
            fatal.append(str(error))
    if fatal:
        raise CommandError("\nwaypost: ".join(fatal))


def load_wallet(path: Path) -> Wallet:
    """The wallet in a key file; raises CommandError."""
    try:
        return Wallet.load(path)
    except KeyFileError as error:
        raise CommandError(str(error)) from error
