"""What a gateway asks a node about itself: its advert, and the proof that it holds its key at its URL.

Not here: making adverts (advertiser).
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from registry.envelope import Envelope
from registry.fields import NODE_KEY, NONCE, matches
from registry.keys import NodeKey
from registry.signing import challenge_message
from relay.call import parse_object
from relay.errors import BadRequest, NotFound
from relay.incoming import Taken, read_body

ADVERT_PATH = "/.well-known/waypost/advert"
CHALLENGE_PATH = "/.well-known/waypost/challenge"
_BODY_LIMIT_BYTES = 4096


class WellKnown:
    """`url` is where this node is reached, `tls_spki_sha256` the key of the TLS that it serves itself, if it does;
    `advert` gives the current envelope, if there is one."""

    def __init__(
        self, key: NodeKey, url: str | None, tls_spki_sha256: str | None, advert: Callable[[], Envelope | None]
    ) -> None:
        self._key = key
        self._url = url
        self._tls_spki_sha256 = tls_spki_sha256
        self._advert = advert

    def routes(self) -> list[web.RouteDef]:
        return [web.get(ADVERT_PATH, self._give_advert), web.post(CHALLENGE_PATH, self._answer)]

    async def _give_advert(self, _: web.Request) -> web.Response:
        envelope = self._advert()
        if envelope is None:
            raise NotFound("This node has no advert.", code="no_advert")
        fresh = {"Cache-Control": "no-cache"}
        return web.Response(text=envelope.to_json(), content_type="application/json", headers=fresh)

    async def _answer(self, request: web.Request) -> web.Response:
        """Sign for our own URL only: a node that signed for any would let others pass for it."""
        body = parse_object(await read_body(Taken(request), _BODY_LIMIT_BYTES))
        nonce, url, gateway = body.get("nonce"), body.get("url"), body.get("gateway")
        if not isinstance(nonce, str) or not matches(NONCE, nonce):
            raise BadRequest("'nonce' must be 32 bytes in unpadded base64url.", param="nonce", code="invalid_nonce")
        if not isinstance(gateway, str) or not matches(NODE_KEY, gateway):
            raise BadRequest("'gateway' must be a gateway's key.", param="gateway", code="invalid_gateway")
        if self._url is None or url != self._url:
            raise BadRequest("'url' is not this node's URL.", param="url", code="not_this_node")
        message = challenge_message(nonce, self._url, self._tls_spki_sha256, gateway)
        return web.json_response({"signature": self._key.sign(message)})
