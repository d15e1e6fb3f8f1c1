"""The board on the Aleph network: read from its nodes with aiohttp, written through its SDK.

The only place that knows Aleph's messages. Nothing that a node says counts without the sender's signature, and what a
message carries is judged elsewhere (trust). Not here: virtual machines (deploy).
"""

from registry.aleph.backend import AlephBackend
from registry.aleph.limits import Limits

__all__ = ["AlephBackend", "Limits"]
