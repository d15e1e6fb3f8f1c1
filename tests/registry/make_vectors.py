"""Writes vectors.json and the worked vectors in docs/advert.md, from fixed keys. Run it after a change of format:

python tests/registry/make_vectors.py
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "registry")]

import jwt  # noqa: E402
import postings as p  # noqa: E402
from Crypto.Hash import keccak  # noqa: E402

from registry import signing  # noqa: E402
from registry.advert import Envelope  # noqa: E402

VECTORS = ROOT / "tests" / "registry" / "vectors.json"
DOCUMENT = ROOT / "docs" / "advert.md"
MARK = "<!-- Everything below is written by tests/registry/make_vectors.py. -->\n"

FULL = {
    "seq": 1795226868123,
    "vm": {"platform": "aleph", "item_hash": "ef" * 32},
    "hardware": {"gpu": "NVIDIA RTX 4090", "vram_mib": 24564},
    "region": "eu-west",
    "note": 'an unknown field: "quoted", back\\slash, tab\t, é, 你好, \U0001f600, \x7f, \x01',
}


def vectors() -> dict[str, Any]:
    given = p.delegation(node=p.NODE.public, url_suffixes=["2n6.me"])
    return {
        "keys": _keys(),
        "delegation": _signed("waypost delegation v1", given["text"], given["signature"], p.OPERATOR.address),
        "advert by the operator": _envelope("waypost advert v1", p.own(**FULL), p.OPERATOR.address),
        "advert by a delegate": _envelope("waypost advert v1", p.delegated(given), p.DELEGATE.address),
        "tombstone": _envelope("waypost advert v1", p.tombstone(seq=1795226869000), p.OPERATOR.address),
        "revocation": _envelope("waypost revocation v1", p.revocation(p.DELEGATE.address), p.OPERATOR.address),
        "curation": _envelope("waypost curation v1", _curation(), p.CURATOR.address),
        "challenge": _challenge(),
        "gateway token": _token(),
    }


def _keys() -> dict[str, Any]:
    wallets = {"operator": p.OPERATOR, "delegate": p.DELEGATE, "curator": p.CURATOR}
    nodes = {"node": p.NODE, "gateway": p.GATEWAY}
    secrets = {"operator": "11", "delegate": "22", "curator": "55", "node": "33", "gateway": "44"}
    keys: dict[str, Any] = {
        name: {"secret": secrets[name] * 32, "address": wallet.address} for name, wallet in wallets.items()
    }
    return keys | {name: {"secret": secrets[name] * 32, "public": key.public} for name, key in nodes.items()}


def _curation() -> Envelope:
    return p.curation(
        operators=[p.OPERATOR.address],
        nodes=[p.NODE.public],
        models={"smollm2-135m-instruct": "ab" * 32},
        slugs={"first": p.NODE.public},
    )


def _signed(tag: str, text: str, signature: str, signer: str) -> dict[str, Any]:
    digest = hashlib.sha256(text.encode()).hexdigest()
    message = f"{tag}\n{digest}"
    personal = b"\x19Ethereum Signed Message:\n" + str(len(message)).encode() + message.encode()
    return {
        "text": text,
        "sha256": digest,
        "signed string": message,
        "keccak256 of the EIP-191 message": keccak.new(digest_bits=256, data=personal).hexdigest(),
        "signer": signer,
        "signature": signature,
    }


def _envelope(tag: str, envelope: Envelope, signer: str) -> dict[str, Any]:
    fields = _signed(tag, envelope.text, envelope.signature, signer)
    if envelope.node_signature:
        fields["node_signature"] = envelope.node_signature
    return {**fields, "envelope": envelope.to_json()}


def _challenge() -> dict[str, Any]:
    nonce = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    url, tls = "https://w1-w2-w3-w4.2n6.me", "cd" * 32
    message = signing.challenge_message(nonce, url, tls, p.GATEWAY.public)
    without = signing.challenge_message(nonce, url, None, p.GATEWAY.public)
    return {
        "request": json.dumps({"nonce": nonce, "url": url, "gateway": p.GATEWAY.public}),
        "signed string": message.decode(),
        "signature": p.NODE.sign(message),
        "signed string with a null tls_spki_sha256": without.decode(),
        "signature with a null tls_spki_sha256": p.NODE.sign(without),
    }


def _token() -> dict[str, Any]:
    claims = {"iss": p.GATEWAY.public, "aud": p.NODE.public, "iat": p.NOW, "exp": p.NOW + 60}
    return {
        "claims": json.dumps(claims),
        "token": jwt.encode(claims, p.GATEWAY.private, algorithm="EdDSA"),
    }


def document(found: dict[str, Any]) -> str:
    """The worked vectors as they stand in docs/advert.md."""
    lines = ["| key | secret (hex) | address or public key |", "|---|---|---|"]
    lines += [
        f"| {name} | `{key['secret']}` | `{key.get('address') or key['public']}` |"
        for name, key in found["keys"].items()
    ]
    for name, fields in found.items():
        if name != "keys":
            lines += ["", f"### {name[0].upper()}{name[1:]}"]
            for field, value in fields.items():
                lines += ["", f"{field}:", "", "```text", value, "```"]
    return "\n".join(lines) + "\n"


def main() -> None:
    found = vectors()
    VECTORS.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    head = DOCUMENT.read_text(encoding="utf-8").partition(MARK)[0]
    DOCUMENT.write_text(f"{head}{MARK}\n{document(found)}", encoding="utf-8")


if __name__ == "__main__":
    main()
