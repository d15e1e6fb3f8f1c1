"""A process that fetches, as a node does: `python -m tests.node.fetcher FOLDER URI [TIMES]`.

Prints `at PATH SHA256` for each fetch or `failed: WHY`. LIMITS in the environment holds limits as JSON.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import sys
from pathlib import Path

from node.store.limits import Limits
from node.store.progress import Progress
from node.store.store import Store
from node.uri import RemoteUri
from node.weights import WeightsError

QUICK = Limits(backoff_s=0.01, longest_s=0.05, look_s=0.02, reserve_bytes=0)


async def _main(folder: Path, uri: RemoteUri, times: int) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    given = json.loads(os.environ.get("LIMITS", "{}"))
    store = Store(folder, os.environ.get("ALEPH_API", "http://127.0.0.1:1"), limits=Limits(**{**vars(QUICK), **given}))
    try:
        await asyncio.gather(*(_fetch(store, uri) for _ in range(times)))
    finally:
        await store.close()


async def _fetch(store: Store, uri: RemoteUri) -> None:
    progress = Progress("model")
    try:
        path = await store.fetch(uri, progress)
    except WeightsError as error:
        print(f"failed: {error}", flush=True)
        return
    assert progress.done == progress.total == sum((path.parent / name).stat().st_size for name in uri.names), progress
    print(f"at {path} {hashlib.sha256(path.read_bytes()).hexdigest()}", flush=True)


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), RemoteUri.parse(sys.argv[2]), int((sys.argv[3:] or ["1"])[0])))
