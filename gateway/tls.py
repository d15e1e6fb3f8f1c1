"""Holding a node to the TLS key that its advert names, so that a self-signed certificate is enough."""

from __future__ import annotations

import asyncio
import hashlib
from functools import lru_cache

import aiohttp
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


class SpkiPin(aiohttp.Fingerprint):
    """Accepts a connection only if the SHA-256 of the peer's SubjectPublicKeyInfo is the digest given (32 bytes)."""

    def check(self, transport: asyncio.Transport) -> None:
        """Raises aiohttp.ServerFingerprintMismatch before a byte of the request is sent."""
        tls = transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        try:
            found = spki_sha256(certificate) if certificate else b""
        except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm):
            found = b""  # a certificate that OpenSSL takes and we cannot read: not the one we look for
        if found != self.fingerprint:
            host, port, *_ = transport.get_extra_info("peername")
            raise aiohttp.ServerFingerprintMismatch(self.fingerprint, found, host, port)


def spki_sha256(certificate: bytes) -> bytes:
    """Digest of the public key of a DER certificate."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


@lru_cache(maxsize=4096)  # one object a key: pooled connections are told apart by it
def verification(spki: str | None) -> SpkiPin | bool:
    """How to check the TLS key of a node whose advert names `spki` (hex), or names none: by the web's authorities."""
    return SpkiPin(bytes.fromhex(spki)) if spki else True
