"""A node's keys, and its operator's delegation to it, as files in a folder: what a node needs to publish itself.

Not here: adverts (adverts), and starting nodes (llama_scene, relay_ours).
"""

from __future__ import annotations

import time
from pathlib import Path

import orjson

from registry.advert import Delegation
from registry.keys import NodeKey, Wallet
from registry.signing import sign_delegation

_DAY_S = 86_400


def new_node(folder: Path, operator: Wallet) -> NodeKey:
    """Writes node.key, delegate.key and delegation.json, where a node with this folder as its state looks for them."""
    key, delegate, now = NodeKey.new(), Wallet.new(), int(time.time())
    key.save(folder / "node.key")
    delegate.save(folder / "delegate.key")
    delegation = Delegation(
        operator=operator.address, delegate=delegate.address, node=key.public, issued_at=now,
        expires_at=now + _DAY_S, url_suffixes=None,
    )  # fmt: skip
    (folder / "delegation.json").write_bytes(orjson.dumps(sign_delegation(delegation, operator)))
    return key
