"""Signed adverts in any number, as messages on Aleph: every node has a key, a delegate's signature and a delegation.

`python -m bench.adverts COUNT FILE` writes them, one JSON object a line. Keys are made of numbers and protect nothing.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from multiprocessing import Pool
from pathlib import Path
from typing import Any

from registry.advert import Advert, Delegation, Offer, Price
from registry.aleph.messages import checksum
from registry.keys import NodeKey, Wallet
from registry.signing import sign_advert, sign_delegation

CHANNEL = "BENCH"
NODES_EACH = 20  # of one operator, with a delegate and a delegation of its own each
MODELS = 50
POSTED_AGO_S = 7200.0
_DAY_S = 86_400
_CHUNK = 500


def message(number: int, now: float, seq: int | None = None) -> dict[str, Any]:
    """The message that publishes node `number`."""
    operator, delegate, node = _wallet("operator", number // NODES_EACH), _wallet("delegate", number), _node(number)
    issued = int(now)
    delegation = Delegation(
        operator=operator.address, delegate=delegate.address, node=node.public, issued_at=issued - 60,
        expires_at=issued + 7 * _DAY_S, url_suffixes=None,
    )  # fmt: skip
    advert = Advert(
        operator=operator.address, node=node.public, seq=seq or int(now * 1000), issued_at=issued,
        expires_at=issued + _DAY_S, url=f"https://w{number}-bench-able-zoo.2n6.me",
        tls_spki_sha256=_digest("tls", number), offers=(_offer(number % MODELS),), region="eu-west",
    )  # fmt: skip
    envelope = sign_advert(advert, delegate, node, sign_delegation(delegation, operator))
    return _signed(envelope.to_dict(), delegate, now)


def write(count: int, file: Path, now: float) -> None:
    """Messages for `count` nodes, posted one millisecond after the other."""
    with Pool() as pool, file.open("w") as out:
        jobs = ((number, now - (count - number) / 1000) for number in range(count))
        for line in pool.imap(_line, jobs, chunksize=_CHUNK):
            out.write(line)


def _line(job: tuple[int, float]) -> str:
    return json.dumps(message(*job)) + "\n"


def _offer(number: int) -> Offer:
    return Offer(
        model=f"model-{number}-8b-instruct", aliases=(f"model-{number}",),
        endpoints=("chat.completions", "completions"),
        weights_sha256=_digest("weights", number), template_sha256=_digest("template", number), quantization="Q4_K_M",
        context_length=32_768, parallel=8, modalities=("text",), engine="llama.cpp/0.3.36", resume=True, warm=True,
        prices=(Price(unit="usd/1M prompt tokens", amount="0.05"),),
    )  # fmt: skip


def _signed(content: dict[str, Any], sender: Wallet, now: float) -> dict[str, Any]:
    who = checksum(sender.address)
    inner = {"address": who, "time": now, "type": "waypost", "content": content}
    text = json.dumps(inner, separators=(",", ":"))
    item_hash = hashlib.sha256(text.encode()).hexdigest()
    return {
        "chain": "ETH", "sender": who, "type": "POST", "channel": CHANNEL, "time": now, "item_type": "inline",
        "item_content": text, "item_hash": item_hash, "content": inner,
        "signature": sender.sign_message(f"ETH\n{who}\nPOST\n{item_hash}".encode()),
    }  # fmt: skip


def _wallet(kind: str, number: int) -> Wallet:
    return Wallet(hashlib.sha256(f"{kind} {number}".encode()).digest())


def _node(number: int) -> NodeKey:
    return NodeKey(hashlib.sha256(f"node {number}".encode()).digest())


def _digest(kind: str, number: int) -> str:
    return hashlib.sha256(f"{kind} {number}".encode()).hexdigest()


if __name__ == "__main__":
    write(int(sys.argv[1]), Path(sys.argv[2]), time.time() - POSTED_AGO_S)
