"""One request to a host that has weights: redirects followed by hand, credentials kept to their origin, silence ended.

Whatever goes wrong on the way is Broken, in one line without queries or keys. Not here: what an answer means (ranges).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import yarl

from node.store.limits import Limits
from node.store.patience import Broken
from node.weights import WeightsError
from relay.http import make_connector, make_session

_WHO = {"User-Agent": "waypost"}
_REDIRECTS = (301, 302, 303, 307, 308)


class Site:
    """Owns the connections. An environment's http_proxy, https_proxy and no_proxy are heeded."""

    def __init__(self, limits: Limits) -> None:
        self._session = make_session(make_connector(), connect_s=limits.connect_s)
        self._limits = limits
        self._proxies = getproxies()

    @asynccontextmanager
    async def open(
        self, method: str, url: str, headers: Mapping[str, str], authorization: str | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer behind all redirects. `authorization` goes to the URL's own origin alone.

        Raises Broken, or WeightsError for a redirect that is not followed.
        """
        origin = _origin(url)
        for _ in range(self._limits.redirects + 1):
            own = {"Authorization": authorization} if authorization and _origin(url) == origin else {}
            response = await self._ask(method, url, {**_WHO, **headers, **own})
            try:
                if response.status not in _REDIRECTS:
                    yield response
                    return
                url = onward(url, response.headers.get("Location", ""))
            finally:
                response.close()
        raise WeightsError(f"{shown(url)}: more than {self._limits.redirects} redirects; check the URI")

    async def read(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """The body as it comes. Raises Broken."""
        body = response.content.iter_any()
        while True:
            try:
                piece = await anext(body, b"")
            except (aiohttp.ClientError, OSError) as error:
                raise self._broken(error) from error
            if not piece:
                return
            yield piece

    async def close(self) -> None:
        await self._session.close()

    async def _ask(self, method: str, url: str, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        limits = self._limits
        silence = aiohttp.ClientTimeout(
            total=None, connect=limits.connect_s, sock_connect=limits.connect_s, sock_read=limits.gap_s
        )
        try:
            async with asyncio.timeout(limits.connect_s + limits.gap_s):  # a head may come byte by byte too
                return await self._session.request(
                    method, yarl.URL(url, encoded=True), headers=headers, timeout=silence, allow_redirects=False,
                    proxy=self._proxy(url),
                )  # fmt: skip
        except (aiohttp.InvalidURL, ValueError) as error:
            raise WeightsError(f"{shown(url)}: this is no URL that can be asked; check the URI") from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> Broken | WeightsError:
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return WeightsError(
                f"{error.host}: its certificate is not accepted; SSL_CERT_FILE names authorities of yours"
            )
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return Broken(f"no connection within {self._limits.connect_s:g} s")
        if isinstance(error, aiohttp.ServerTimeoutError):
            return Broken(f"not a byte within {self._limits.gap_s:g} s")
        if isinstance(error, TimeoutError):
            return Broken(f"no answer within {self._limits.connect_s + self._limits.gap_s:g} s")
        if isinstance(error, aiohttp.ClientConnectorError):
            return Broken(f"cannot be reached ({error.os_error.strerror or 'no connection'})")
        if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError | ConnectionError):
            return Broken("the connection broke off")
        return Broken(f"the connection failed ({type(error).__name__})")

    def _proxy(self, url: str) -> str | None:
        parts = urlsplit(url)
        if not self._proxies or proxy_bypass(parts.hostname or ""):
            return None
        return self._proxies.get(parts.scheme)


def shown(url: str) -> str:
    """A URL without what may be secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def onward(url: str, location: str) -> str:
    """Where a redirect leads. Raises WeightsError if nobody should go there."""
    try:
        there = urljoin(url, location).partition("#")[0]
        scheme, host, _ = _origin(there)
    except ValueError as error:
        raise WeightsError(f"{shown(url)}: it redirects to what is no URL; check the URI") from error
    if scheme not in ("http", "https") or not host or "@" in urlsplit(there).netloc:
        raise WeightsError(f"{shown(url)}: it redirects to what is no http(s) URL without a user; check the URI")
    if scheme == "http" and url.startswith("https:"):
        raise WeightsError(f"{shown(url)}: it redirects from https to http; give a host that stays with https")
    return there
