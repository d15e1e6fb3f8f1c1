"""Which virtual machine this is: on Aleph Cloud, a machine's host name is the hash of the message that made it.

Not here: proving whose machine it is (that is for readers, by the message itself).
"""

from __future__ import annotations

import base64

_HOST_NAME_CHARS = 52  # base32 of 32 bytes, without padding


def aleph_item_hash(host_name: str) -> str | None:
    """The item hash (64 hex digits) that an Aleph host name is base32 of; None for any other name."""
    first = host_name.partition(".")[0]
    if len(first) != _HOST_NAME_CHARS:
        return None
    try:
        return base64.b32decode(first.upper() + "====").hex()
    except ValueError:
        return None
