"""A certificate for loopback that lives as long as one run of bench.relay.

Not here: who serves with it (relay_upstream, relay_peers), and who is told to believe it.
"""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from gateway.tls import spki_sha256

NAME = "engine.bench"  # what it is for beside 127.0.0.1: nginx takes no address for a name


@dataclass(frozen=True)
class Certificate:
    """`file` holds certificate and key (PEM); `spki` is the SHA-256 of the public key, in hex."""

    file: Path
    spki: str


def make(folder: Path) -> Certificate:
    """ECDSA P-256, self-signed, for 127.0.0.1, a day long."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName(NAME)]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "bench.pem"
    file.touch(mode=0o600)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(certificate.public_bytes(Encoding.PEM) + pem)
    return Certificate(file, spki_sha256(certificate.public_bytes(Encoding.DER)).hex())
