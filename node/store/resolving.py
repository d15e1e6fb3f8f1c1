"""From a URI to the files that are to be fetched. A further scheme is one row of `Resolver.resolve`.

Not here: fetching them (download).
"""

from __future__ import annotations

import logging

from node.store.aleph import resolve_aleph
from node.store.hub import resolve_hub
from node.store.limits import Limits
from node.store.patience import Broken
from node.store.ranges import Held, Refused, read_answer
from node.store.site import Site
from node.store.source import Source
from node.uri import RemoteUri
from node.weights import WeightsError, digest_of_all

log = logging.getLogger("waypost.node")


class Resolver:
    """Asks the hub, the network or the host itself."""

    def __init__(self, site: Site, aleph_api: str, limits: Limits) -> None:
        self._site = site
        self._aleph_api = aleph_api
        self._limits = limits

    async def resolve(self, uri: RemoteUri) -> tuple[Source, ...]:
        """All files of the model, the first one first. Raises WeightsError."""
        if uri.scheme == "hf":
            return tuple(_pinned(uri, source) for source in _wanted(uri, await resolve_hub(uri, self._limits)))
        if uri.scheme == "aleph":
            return await resolve_aleph(uri, self._aleph_api, self._site, self._limits)
        if uri.scheme == "http" and uri.sha256 is None:
            log.warning(
                "%s: over http nothing tells these weights from others that somebody on the way sends; "
                "use https, or add #sha256= and their digest",
                uri.shown,
            )
        return await self._web(uri)

    async def _web(self, uri: RemoteUri) -> tuple[Source, ...]:
        place, mark, query = uri.source.partition("?")
        own = place.rpartition("/")[2]
        if len(uri.names) == 1:
            return (Source(uri.names[0], uri.source, None, uri.sha256),)
        sources = []
        for name, tail in zip(uri.names, _tails(uri), strict=True):
            url = place.removesuffix(own) + tail + mark + query
            sources.append(Source(name, url, await self._size(url)))
        return tuple(sources)

    async def _size(self, url: str) -> int | None:
        """As far as the host says without sending it: only for the disk's sake, and for the sum."""
        try:
            async with self._site.open("HEAD", url, {"Accept-Encoding": "identity"}) as response:
                return read_answer(response.status, response.headers, Held(), vouched=True).total
        except (Broken, Refused):
            return None


def _tails(uri: RemoteUri) -> list[str]:
    """The last part of each file's URL, as the first one's is written."""
    written = uri.source.partition("?")[0].rpartition("/")[2]
    first = uri.names[0]
    if written.endswith(".onnx"):
        return [written, f"{written}.json"]
    shared = len(f"-00001-of-{len(uri.names):05}.gguf")
    return [written[:-shared] + name[len(first) - shared :] for name in uri.names]


def _wanted(uri: RemoteUri, sources: tuple[Source, ...]) -> tuple[Source, ...]:
    """Raises WeightsError where the hub says at once that the files are not what was asked for."""
    known = [(source.sha256, source.name) for source in sources if source.sha256 is not None]
    if uri.sha256 is None or len(known) < len(sources):
        return sources
    if (said := digest_of_all(known)) != uri.sha256:
        whose = "its sha256" if len(sources) == 1 else f"the sha256 of its {len(sources)} files together"
        raise WeightsError(
            f"{uri.shown}: {whose} is {said} at the hub, not {uri.sha256} as asked for; "
            "pin the revision that had it (@REVISION after the repository), or correct #sha256="
        )
    return sources


def _pinned(uri: RemoteUri, source: Source) -> Source:
    """With the operator's digest where the hub had none."""
    if source.sha256 is not None or uri.sha256 is None or len(uri.names) > 1:
        return source
    return Source(source.name, source.url, source.size, uri.sha256, source.authorization)
