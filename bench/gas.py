"""What an advert costs on a chain, by the form of its payload: `python -m bench.gas`.

Runs anvil on loopback (scripts/node_packages.sh chain installs it). Prints bytes and gas of the first and of a later
posting by one wallet, and the gas relative to the envelope as it stands.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "registry"))

import postings as p

from registry.evm import deploy
from registry.evm.abi import post_call
from registry.evm.dictionary import DICTIONARY
from registry.evm.payload import pack
from tests.chain.anvil import Chain, anvil

MODELS = ("smollm2-135m-instruct", "qwen3-8b", "mistral-7b-instruct", "bge-m3", "whisper-large-v3")


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def envelope(models: int) -> str:
    """A delegate's advert; its digests are as random as real ones."""
    offers = [
        {**p.OFFER, "model": name, "aliases": [name[:6]], "weights_sha256": digest(name)} for name in MODELS[:models]
    ]
    return p.delegated(
        offers=offers, tls_spki_sha256=digest("key"), vm={"platform": "aleph", "item_hash": digest("vm")}
    ).to_json()


def deflated(text: str) -> bytes:
    compress = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
    return compress.compress(text.encode()) + compress.flush()


FORMS: dict[str, Callable[[str], bytes]] = {
    "the envelope as it stands": str.encode,
    "zlib": lambda text: zlib.compress(text.encode(), 9),
    "deflate, preset dictionary": deflated,
    "compact (what is posted)": pack,
    "digest and URL, fetched from the node": lambda text: (
        bytes.fromhex(digest(text)) + b"https://w1-w2-w3-w4.2n6.me/.well-known/waypost/advert"
    ),
}


async def measure(chain: Chain, contract: str, payload: bytes) -> list[int]:
    """Gas of two postings by a wallet that is new to the chain."""
    sender = "0x" + hashlib.sha256(payload).hexdigest()[:40]
    await chain.call("anvil_setBalance", sender, hex(10**20))
    await chain.call("anvil_impersonateAccount", sender)
    data = "0x" + post_call(1, bytes.fromhex(digest("id")), payload).hex()
    used = []
    for _ in range(2):
        sent = await chain.call("eth_sendTransaction", {"from": sender, "to": contract, "data": data})
        receipt: dict[str, Any] | None = None
        while receipt is None:  # anvil answers just before it mines
            receipt = await chain.call("eth_getTransactionReceipt", sent)
        assert receipt["status"] == "0x1"
        used.append(int(receipt["gasUsed"], 16))
    return used


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with anvil(Path(folder)) as chain:
            contract = (await deploy(f"evm+{chain.rpc}", chain.payer)).rpartition("/")[2].partition("?")[0]
            print(f"{'form':40} {'bytes':>6} {'first post':>11} {'later post':>11} {'ratio':>6}")
            for models in (1, len(MODELS)):
                text = envelope(models)
                print(f"an advert of {models} model{'s' * (models > 1)}")
                whole = (await measure(chain, contract, text.encode()))[1]
                for name, form in FORMS.items():
                    payload = form(text)
                    first, later = await measure(chain, contract, payload)
                    print(f"  {name:38} {len(payload):6,} {first:11,} {later:11,} {later / whole:6.2f}")


asyncio.run(main())
