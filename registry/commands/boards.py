"""The boards that a command names: read all of them, post to each. Errors become CommandErrors here."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from registry.advert import Advert, Curation, Envelope, Refused, Revocation
from registry.backend import Backend, BackendError, fetch_all, open_backend
from registry.commands.failure import CommandError
from registry.keys import KeyFileError, Wallet
from registry.signing import open_signed

__all__ = ["authentic", "boards", "load_wallet", "on_each", "post_to", "read_all"]


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


async def read_all(opened: Sequence[Backend], *, lenient: bool = False) -> list[str]:
    """Every posting on every board: what is signed next must come after all of them.

    One host of each must answer, or CommandError; `lenient`: a board that is away is told of, and left out.
    """
    postings: list[str] = []

    async def read(host: Backend) -> None:
        postings.extend(await fetch_all(host))

    try:
        await on_each(opened, read)
    except CommandError as error:
        if not lenient:
            raise CommandError(f"{error}; try again, or leave that registry out") from error
        print(f"waypost: {error}; going on without it", file=sys.stderr)
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

    async def post(host: Backend) -> None:
        for text in texts:
            await host.publish(text)
        print(f"posted to {host.url}")

    await on_each(opened, post)


async def on_each(opened: Sequence[Backend], act: Callable[[Backend], Awaitable[None]]) -> None:
    """Do it on every host. What one host of a board could not do where another could is told; else CommandError."""
    failures: list[tuple[str, str]] = []  # the board, and what went wrong
    able: set[str] = set()
    for host in opened:
        try:
            await act(host)
        except BackendError as error:
            failures.append((host.board, str(error)))
        else:
            able.add(host.board)
    for board, failure in failures:
        if board in able:
            print(f"waypost: {failure}; another host did it", file=sys.stderr)
    if fatal := [failure for board, failure in failures if board not in able]:
        raise CommandError("\nwaypost: ".join(fatal))


def load_wallet(path: Path) -> Wallet:
    """The wallet in a key file; raises CommandError."""
    try:
        return Wallet.load(path)
    except KeyFileError as error:
        raise CommandError(str(error)) from error
