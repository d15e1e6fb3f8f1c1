"""The vectors, verified by another implementation: eth_account and cryptography directly, and nothing of ours."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from eth_account import Account
from eth_account.messages import encode_defunct

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors.json").read_text(encoding="utf-8"))
SIGNED = [name for name, fields in VECTORS.items() if "text" in fields]
TAGS = {
    "delegation": "waypost delegation v1",
    "advert by the operator": "waypost advert v1",
    "advert by a delegate": "waypost advert v1",
    "tombstone": "waypost advert v1",
    "revocation": "waypost revocation v1",
    "curation": "waypost curation v1",
}


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_every_kind_of_text_has_a_vector() -> None:
    assert set(SIGNED) == set(TAGS)


@pytest.mark.parametrize("name", SIGNED)
def test_the_text_is_canonical_and_its_signature_recovers(name: str) -> None:
    vector = VECTORS[name]
    text = vector["text"]
    again = json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    assert again.encode() == text.encode()
    assert hashlib.sha256(text.encode()).hexdigest() == vector["sha256"]
    assert vector["signed string"] == f"{TAGS[name]}\n{vector['sha256']}"
    message = encode_defunct(text=vector["signed string"])
    assert (
        Account.recover_message(message, signature=vector["signature"]) == Account.from_key(secret_of(vector)).address
    )
    assert vector["signature"][-2:] in ("1b", "1c")


@pytest.mark.parametrize("name", SIGNED)
def test_eth_account_makes_the_same_signature(name: str) -> None:
    vector = VECTORS[name]
    signed = Account.sign_message(encode_defunct(text=vector["signed string"]), secret_of(vector))
    assert "0x" + signed.signature.hex().removeprefix("0x") == vector["signature"]
    assert signed.message_hash.hex().removeprefix("0x") == vector["keccak256 of the EIP-191 message"]


@pytest.mark.parametrize("name", [name for name in SIGNED if "node_signature" in VECTORS[name]])
def test_the_node_signed_the_same_string(name: str) -> None:
    vector = VECTORS[name]
    key = Ed25519PublicKey.from_public_bytes(unpadded(json.loads(vector["text"])["node"]))
    key.verify(unpadded(vector["node_signature"]), vector["signed string"].encode())


@pytest.mark.parametrize("name", [name for name in SIGNED if "envelope" in VECTORS[name]])
def test_the_envelope_carries_the_text_as_a_string(name: str) -> None:
    vector = VECTORS[name]
    envelope = json.loads(vector["envelope"])
    assert envelope["text"] == vector["text"] and envelope["signature"] == vector["signature"]
    if envelope["kind"] == "advert":
        assert envelope["node_signature"] == vector.get("node_signature")
        expected = VECTORS["delegation"] if name == "advert by a delegate" else None
        assert envelope["delegation"] == (expected and {key: expected[key] for key in ("text", "signature")})


def test_the_challenge_is_answered_by_the_node() -> None:
    vector = VECTORS["challenge"]
    request = json.loads(vector["request"])
    tls = json.loads(VECTORS["advert by the operator"]["text"])["tls_spki_sha256"]
    for digest, suffix in ((tls, ""), ("-", " with a null tls_spki_sha256")):
        message = "\n".join(["waypost challenge v1", request["nonce"], request["url"], digest, request["gateway"]])
        assert vector["signed string" + suffix] == message
        key = Ed25519PublicKey.from_public_bytes(unpadded(VECTORS["keys"]["node"]["public"]))
        key.verify(unpadded(vector["signature" + suffix]), message.encode())


def test_the_gateway_token_is_a_jwt_by_the_gateway() -> None:
    head, body, signature = VECTORS["gateway token"]["token"].split(".")
    assert json.loads(unpadded(head)) == {"alg": "EdDSA", "typ": "JWT"}
    claims = json.loads(unpadded(body))
    assert claims == json.loads(VECTORS["gateway token"]["claims"])
    assert claims["exp"] == claims["iat"] + 60 and claims["aud"] == VECTORS["keys"]["node"]["public"]
    Ed25519PublicKey.from_public_bytes(unpadded(claims["iss"])).verify(unpadded(signature), f"{head}.{body}".encode())


def test_the_keys_belong_to_their_secrets() -> None:
    for key in VECTORS["keys"].values():
        if "address" in key:
            assert Account.from_key(key["secret"]).address.lower() == key["address"]
        else:
            private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(key["secret"]))
            assert private.public_key().public_bytes_raw() == unpadded(key["public"])


def secret_of(vector: dict[str, Any]) -> str:
    secrets = {key["address"]: key["secret"] for key in VECTORS["keys"].values() if "address" in key}
    return str(secrets[vector["signer"]])
