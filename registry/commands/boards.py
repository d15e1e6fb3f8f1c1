"""The boards that a command names: read all of them, post to each. Errors become CommandErrors here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from registry.advert import Advert, Curation, Envelope, Refused, Revocation
from registry.backend import Backend, BackendError, open_backend
from registry.commands.failure import CommandError
from registry.keys import KeyFileError, Wallet
from registry.signing import open_signed

__all__ = ["authentic", "boards", "load_wallet", "post_to", "read_all"]


@asynccontextmanager
async def boards(urls: Sequence[str]) -> AsyncIterator[list[Backend]]:
    """The named boards, closed at the end; raises CommandError for a URL that names none."""
    try:
        opened = [open_backend(url) for url in urls]
    except ValueError as error:
        raise CommandError(str(error)) from error
    try:
        yield opened
    finally:
        for board in opened:
            await board.close()


async def read_all(opened: Sequence[Backend]) -> list[str]:
    """Every posting on every board: what is signed next must come after all of them."""
    postings: list[str] = []
    for board in opened:
        try:
            postings += await board.fetch()
        except BackendError as error:
            raise CommandError(str(error)) from error
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
    """Post to every board that takes it; CommandError at the end names those that did not."""
    failures = []
    for board in opened:
        try:
            for text in texts:
                await board.publish(text)
        except BackendError as error:
            failures.append(str(error))
        else:
            print(f"posted to {board.url}")
    if failures:
        raise CommandError("; ".join(failures))


def load_wallet(path: Path) -> Wallet:
    """The wallet in a key file; raises CommandError."""
    try:
        return Wallet.load(path)
    except KeyFileError as error:
        raise CommandError(str(error)) from error
