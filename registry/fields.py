"""The kinds of value that stand in a signed text: addresses, digests, keys, names, prices, times.

Patterns are those of the protocol; each has one spelling per value. Not here: which fields a text has (advert).
"""

from __future__ import annotations

import base64
import re
from functools import lru_cache
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

from registry.canonical import MAX_INTEGER
from registry.urls import HOST_NAME, parse_url

__all__ = [
    "ADDRESS",
    "DIGEST",
    "HOST_NAME",
    "NAME",
    "NODE_KEY",
    "NODE_SIGNATURE",
    "NONCE",
    "SLUG",
    "WALLET_SIGNATURE",
    "Address",
    "Amount",
    "Digest",
    "Endpoint",
    "Label",
    "Many",
    "ModelName",
    "NodeKeyText",
    "Slug",
    "SlugTarget",
    "Suffix",
    "Time",
    "Url",
    "decode_base64url",
    "encode_base64url",
    "matches",
]

ADDRESS = r"0x[0-9a-f]{40}"
DIGEST = r"[0-9a-f]{64}"
NAME = r"[A-Za-z0-9][A-Za-z0-9._:/+-]{0,127}"
WALLET_SIGNATURE = r"0x[0-9a-f]{130}"
# Unpadded base64url: the last character of 32 (64) bytes carries 4 (2) bits, and the rest of it must be zero.
NODE_KEY = NONCE = r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]"
NODE_SIGNATURE = r"[A-Za-z0-9_-]{85}[AQgw]"
# Nothing of the length and alphabet of a node key, so that one can never be taken for the other.
SLUG = r"(?![A-Za-z0-9_-]{43}\Z)[A-Za-z0-9][A-Za-z0-9._-]{0,63}"

_PRIME = 2**255 - 19
# The y of Ed25519's points of small order: under such a key, anybody's signature is valid.
_ORDER_8 = int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little")
_SMALL_ORDER = frozenset({0, 1, _PRIME - 1, _ORDER_8, _PRIME - _ORDER_8})


def matches(pattern: str, value: str) -> bool:
    return _compiled(pattern).fullmatch(value) is not None


_compiled = lru_cache(maxsize=64)(re.compile)  # the patterns are our own and few


def encode_base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode_base64url(text: str) -> bytes:
    """The bytes of an unpadded text that one of the patterns above has matched."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _usable_key(key: str) -> str:
    if matches(NODE_KEY, key):
        y = int.from_bytes(decode_base64url(key), "little") & (2**255 - 1)
        if y >= _PRIME or y in _SMALL_ORDER:
            raise ValueError("is not a usable Ed25519 key (small order, or not in its one encoding)")
    return key


def _usable_slug(slug: str) -> str:
    if not matches(SLUG, slug):  # here, since pydantic's own patterns cannot look ahead
        raise ValueError("a slug is 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-', and not of the form of a node key")
    return slug


def _usable_url(url: str) -> str:
    parse_url(url)
    return url


_T = TypeVar("_T")
Many = Annotated[tuple[_T, ...], Field(strict=False)]  # a list will do where Python code makes one; items stay strict

Address = Annotated[str, Field(pattern=f"^{ADDRESS}$")]
Digest = Annotated[str, Field(pattern=f"^{DIGEST}$")]
NodeKeyText = Annotated[str, Field(pattern=f"^{NODE_KEY}$"), AfterValidator(_usable_key)]
ModelName = Annotated[str, Field(pattern=f"^{NAME}$")]
Slug = Annotated[str, AfterValidator(_usable_slug)]
SlugTarget = Annotated[str, Field(pattern=f"^(?:{NODE_KEY}|{NAME})$")]
Suffix = Annotated[str, Field(pattern=rf"^(?:{HOST_NAME}|[0-9a-f:]+)$", max_length=253)]
Amount = Annotated[str, Field(pattern=r"^(?:0|[1-9][0-9]*)(?:\.[0-9]+)?$", max_length=40)]
Endpoint = Annotated[str, Field(pattern=r"^[a-z][a-z0-9._-]{0,63}$")]
# Words that people are shown: no control characters, so that they can move no terminal's cursor.
Label = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f]{1,128}$")]
Time = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
Url = Annotated[str, AfterValidator(_usable_url)]
