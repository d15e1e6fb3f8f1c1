"""The token that shows a node which gateway calls: a short-lived JWT, made once a node and used until near its end."""

from __future__ import annotations

import jwt

from registry.keys import NodeKey

LIFETIME_S = 60
_RENEW_S = 15


class Tokens:
    """Tokens of one gateway key, kept by node."""

    def __init__(self, key: NodeKey) -> None:
        self._key = key
        self._kept: dict[str, tuple[str, float]] = {}

    def token(self, node: str, now: float) -> str:
        """A token for the node with that key (base64url), good for at least 15 s."""
        kept = self._kept.get(node)
        if kept is not None and now < kept[1] - _RENEW_S:
            return kept[0]
        issued = int(now)
        claims = {"iss": self._key.public, "aud": node, "iat": issued, "exp": issued + LIFETIME_S}
        token = jwt.encode(claims, self._key.private, algorithm="EdDSA")
        self._kept[node] = (token, issued + LIFETIME_S)
        return token

    def forget(self, node: str) -> None:
        """That node is gone."""
        self._kept.pop(node, None)
