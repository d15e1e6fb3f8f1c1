"""TLS at both ends: what a server here speaks, and holding a peer to one key, so that any certificate will do.

A key is named by the SHA-256 of its SubjectPublicKeyInfo (SPKI). Not here: whose certificates are served
(gateway.certificate, node.certificate), and which key a node has (its advert).
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl

import aiohttp
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

__all__ = ["SpkiPin", "server_context", "spki_of", "spki_sha256"]


def server_context() -> ssl.SSLContext:
    """TLS 1.2 or later, without a certificate yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


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
    return spki_of(x509.load_der_x509_certificate(certificate).public_key())


def spki_of(key: PublicKeyTypes) -> bytes:
    """Digest of a public key."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
