"""What a node may expect of a gateway, by the protocol: its token, the model, nothing of the client's.

Written from the protocol alone, with nothing of the code under test. Not here: what the node answers (faults, engine).
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Collection, Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_LIFETIME_S = 60
_LEEWAY_S = 120
_NEVER = (
    "authorization", "cookie", "proxy-authorization", "proxy-connection", "keep-alive", "te", "trailer", "upgrade",
    "forwarded", "x-forwarded-for", "x-stainless-lang", "origin", "referer",
)  # fmt: skip


class Breach(Exception):
    """What the gateway did wrong."""


def check_request(node: str, gateways: Collection[str], head: Mapping[str, list[str]], models: Collection[str]) -> str:
    """`node` is this node's key, `gateways` are those that have challenged it. Returns the model. Raises Breach."""
    for name in _NEVER:
        if name in head:
            raise Breach(f"{name} reached a node")
    if doubled := [name for name, values in head.items() if len(values) > 1]:
        raise Breach(f"{doubled} came more than once")
    if head.get("connection", ["keep-alive"])[0].lower() not in ("keep-alive", "close"):
        raise Breach(f"Connection: {head['connection'][0]}")
    if head.get("content-type", [""])[0].partition(";")[0] != "application/json":
        raise Breach("the content type is not application/json")
    if "x-request-id" not in head:
        raise Breach("no X-Request-Id")
    _check_token(head.get("x-waypost-token", [""])[0], node, gateways)
    model = head.get("x-waypost-model", [""])[0]
    if model not in models:
        raise Breach(f"X-Waypost-Model is {model!r}, which this node does not offer")
    return model


def _check_token(token: str, node: str, gateways: Collection[str]) -> None:
    try:
        if jwt.get_unverified_header(token)["alg"] != "EdDSA":
            raise Breach("the token's alg is not EdDSA")
        gateway = jwt.decode(token, options={"verify_signature": False})["iss"]
        if gateway not in gateways:
            raise Breach("the token is of a gateway that has asked for no proof")
        key = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(gateway + "="))
        claims = jwt.decode(token, key, algorithms=["EdDSA"], audience=node, leeway=_LEEWAY_S)
    except jwt.PyJWTError as error:
        raise Breach(f"the token is not valid: {error}") from error
    if claims["exp"] - claims["iat"] != _LIFETIME_S or abs(claims["iat"] - time.time()) > _LEEWAY_S + _LIFETIME_S:
        raise Breach("the token does not live for 60 s from now")


def parse_body(raw: bytes) -> dict[str, Any]:
    """Strictly: UTF-8, an object, and no key twice. Raises Breach."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            raise Breach(f"a key stands twice among {[key for key, _ in pairs]}")
        return made

    try:
        body = json.loads(raw.decode(), object_pairs_hook=once)
    except ValueError as error:
        raise Breach(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise Breach("the body is no object")
    return body


def check_body(path: str, body: Mapping[str, Any]) -> None:
    """What llama-server would refuse, and what no request of these tests asks for. Raises Breach."""
    budget = body.get("max_completion_tokens", body.get("max_tokens"))
    if budget is not None and (not isinstance(budget, int) or budget < 1):
        raise Breach(f"max_tokens is {budget!r}")
    if path == "/v1/completions":
        if not isinstance(body.get("prompt"), str):
            raise Breach("no prompt")
        return
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Breach("no messages")
    for message in messages:
        if not isinstance(message.get("content"), str) or message.get("role") not in ("system", "user", "assistant"):
            raise Breach(f"a message is {message!r}")
    if [message["role"] for message in messages[-2:]] == ["assistant", "assistant"]:
        raise Breach("two assistant messages at the end: the second join has to add to the first one's text")
    if messages[-1]["role"] != "assistant":
        return
    if not messages[-1]["content"]:
        raise Breach("an empty assistant message is to be continued")
    if body.get("chat_template_kwargs", {}).get("enable_thinking") or body.get("tools"):
        raise Breach("a message cannot be continued while the model thinks, or calls tools")
