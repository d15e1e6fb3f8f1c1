"""`hf://`: what the hub says of a file. Its library resolves; the bytes come the way that all bytes come (download).

The library reads HF_ENDPOINT, HF_TOKEN and its other settings from the environment itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from node.store.limits import Limits
from node.store.patience import Broken, Patience
from node.store.source import Source
from node.uri import HubFile, RemoteUri
from node.weights import WeightsError

_SHA256 = re.compile(r"[0-9a-f]{64}")
_HOPS = 4  # the library's time limit is for each step of a request; this many are allowed to take as long
_AGAIN = (408, 429)
T = TypeVar("T")


@dataclass(frozen=True)
class _Found:
    commit: str | None
    size: int | None
    sha256: str | None
    url: str
    authorization: str | None


async def resolve_hub(uri: RemoteUri, limits: Limits) -> tuple[Source, ...]:
    """All files, of one and the same commit. Raises WeightsError."""
    named = uri.hub
    folder, _, _ = named.file.rpartition("/")
    revision, sources = named.revision, []
    for name in uri.names:
        wanted = HubFile(named.repo, revision, f"{folder}/{name}" if folder else name)
        found = await _patiently(uri, wanted, limits)
        revision = found.commit or revision
        sources.append(Source(name, found.url, found.size, found.sha256, found.authorization))
    return tuple(sources)


async def _patiently(uri: RemoteUri, wanted: HubFile, limits: Limits) -> _Found:
    patience = Patience(uri.shown, limits)
    while True:
        try:
            looking = _apart(partial(_look, uri.shown, wanted, limits.connect_s))
            return await asyncio.wait_for(asyncio.wrap_future(looking), _HOPS * limits.connect_s)
        except TimeoutError:
            await patience.wait(Broken(f"no answer from the hub within {_HOPS * limits.connect_s:g} s"))
        except Broken as broken:
            await patience.wait(broken)


def _apart(work: Callable[[], T]) -> Future[T]:
    """In a thread that nobody waits for at the end of the program: a hub that trickles would keep it from ending."""
    result: Future[T] = Future()

    def run() -> None:
        with contextlib.suppress(InvalidStateError):  # nobody wants it any more
            try:
                result.set_result(work())
            except Exception as error:  # whatever it was, who waits is told
                result.set_exception(error)

    threading.Thread(target=run, name="hub", daemon=True).start()
    return result


def _look(shown: str, wanted: HubFile, timeout_s: float) -> _Found:
    """Blocks. Raises Broken or WeightsError."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read at import: the hub is asked for the file, no more
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line a request otherwise
    try:
        from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_url
    except ImportError as error:
        raise WeightsError(
            f"{shown}: hf:// needs the package huggingface_hub; pip install 'waypost[node]', "
            "or download the file and give its path"
        ) from error
    try:
        url = hf_hub_url(wanted.repo, wanted.file, revision=wanted.revision)
        token = get_token()
        found = get_hf_file_metadata(url, token=token or False, timeout=timeout_s, library_name="waypost")
    except Exception as error:  # the library's own, and those of its HTTP library, which it has changed before
        raise _translated(shown, wanted, error) from error
    pinned = hf_hub_url(wanted.repo, wanted.file, revision=found.commit_hash or wanted.revision)
    sha256 = found.etag if found.etag and _SHA256.fullmatch(found.etag) else None  # of a large file; else a git hash
    return _Found(found.commit_hash, found.size, sha256, pinned, f"Bearer {token}" if token else None)


def _translated(shown: str, wanted: HubFile, error: Exception) -> Broken | WeightsError:
    from huggingface_hub import errors

    if isinstance(error, errors.OfflineModeIsEnabled):
        return WeightsError(f"{shown}: HF_HUB_OFFLINE is set; unset it, or give the path of a file that is here")
    if isinstance(error, errors.GatedRepoError):
        return WeightsError(
            f"{shown}: {wanted.repo} is gated; accept its licence on its page at the hub, and set HF_TOKEN "
            "to a token of that account"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return WeightsError(f"{shown}: {wanted.repo} has no revision {wanted.revision}; check what follows the @")
    if isinstance(error, errors.EntryNotFoundError):
        return WeightsError(f"{shown}: {wanted.repo} has no file {wanted.file}; check the URI")
    if isinstance(error, errors.RepositoryNotFoundError):
        return WeightsError(
            f"{shown}: the hub knows no {wanted.repo}, or not for everybody; check the name, "
            "and set HF_TOKEN if the repository is private"
        )
    if isinstance(error, errors.DisabledRepoError):
        return WeightsError(f"{shown}: the hub has disabled {wanted.repo}; give another source")
    if isinstance(error, errors.HfHubHTTPError):
        return _refused(shown, error.response.status_code)
    if isinstance(error, ValueError):
        return WeightsError(f"{shown}: the hub's library takes no such name; write hf://OWNER/REPO/FILE.gguf")
    return Broken(f"the hub cannot be asked ({type(error).__name__}); is HF_ENDPOINT right?")


def _refused(shown: str, status: int) -> Broken | WeightsError:
    if status >= 500 or status in _AGAIN:
        return Broken(f"the hub answered {status}")
    if status in (401, 403):
        return WeightsError(f"{shown}: the hub answered {status}: HF_TOKEN is not accepted for this; set a good one")
    return WeightsError(f"{shown}: the hub answered {status}; check the URI, and HF_ENDPOINT if you set it")
