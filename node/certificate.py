"""The certificate that a node's TLS shows: a self-signed one of its own, or a chain from an authority once it is there.

A chain's file is looked at again while the node runs, so that its renewal needs no restart. Not here: the key
(tls_key), and getting a certificate from an authority.
"""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import logging
import os
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from node.tls_key import TlsKey
from relay.tls import server_context, spki_of

log = logging.getLogger("waypost.node")

_LOOK_EVERY_S = 2.0
_LIFE = datetime.timedelta(days=3650)
_LEFT = datetime.timedelta(days=365)  # with less than that before it, ours is made anew
_EARLIER = datetime.timedelta(days=1)  # clocks differ
_LONGEST_NAME = 64  # of a common name
_NOBODY = ("localhost", "127.0.0.1", "::1")  # a node without a public URL


class CertificateError(ValueError):
    """A chain that cannot be used; the text names the option and the fix."""


class Certificate:
    """What handshakes show: `context` is for the server, and changes when the chain does.

    `chain` is the file of an authority's certificate, `own` that of ours; `now` gives Unix seconds.
    """

    def __init__(self, key: TlsKey, public_url: str | None, chain: Path | None, own: Path, now: Callable[[], float]):
        """Raises CertificateError for a chain that is there and cannot be used, OSError where ours cannot be kept."""
        self.key = key
        self._chain = chain
        self._seen: tuple[int, int] | None = None
        self.context = server_context()
        names = (str(urlsplit(public_url).hostname),) if public_url else _NOBODY
        if chain is not None:
            self._seen = _identity(chain)
        if chain is not None and self._seen is not None:
            self._take(chain)
            return
        _keep(own, key, names, datetime.datetime.fromtimestamp(now(), datetime.UTC))
        self.context.load_cert_chain(own, key.path)
        if chain is not None:
            log.warning("--tls-certificate %s is not there yet; a self-signed one is shown until it is", chain)

    def __repr__(self) -> str:
        return f"<Certificate {'of an authority' if self._seen else 'self-signed'} {self.key!r}>"

    async def run(self) -> None:
        """Look at the chain again and again until cancelled."""
        while self._chain is not None:
            await asyncio.sleep(_LOOK_EVERY_S)
            self.look(self._chain)

    def look(self, chain: Path) -> None:
        """Show the chain's newest content, if it can be used; else go on with what was shown before, and say why."""
        try:
            identity = _identity(chain)
            if identity is not None and identity != self._seen:
                self._seen = identity  # before: what cannot be used is told of once
                self._take(chain)
        except CertificateError as error:
            log.error("the certificate is not changed: %s", error)

    def _take(self, chain: Path) -> None:
        first = _usable(chain, self.key)
        self.context.load_cert_chain(chain, self.key.path)
        log.info("the certificate of %s counts until %s", chain, f"{first.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        stat = file.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CertificateError(f"--tls-certificate {file}: {error.strerror}") from error
    return stat.st_mtime_ns, stat.st_ino


def _usable(chain: Path, key: TlsKey) -> x509.Certificate:
    """Its first certificate. Raises CertificateError unless it is for the key, and OpenSSL takes all of it."""
    named = f"--tls-certificate {chain}"
    try:
        first = x509.load_pem_x509_certificates(chain.read_bytes())[0]
        known = spki_of(first.public_key()).hex()
    except OSError as error:
        raise CertificateError(f"{named}: {error.strerror}; name a PEM file of the certificate chain") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"{named} holds no certificate; put the chain there as PEM, the node's first") from error
    if known != key.spki_sha256:
        raise CertificateError(
            f"{named} is for another key than --tls-key {key.path}; have one issued for that key, or name its own"
        )
    try:
        server_context().load_cert_chain(chain, key.path)  # one that fails leaves a context in parts
    except (ssl.SSLError, OSError) as error:
        raise CertificateError(f"{named} cannot be used ({error}); put the whole chain there as PEM") from error
    return first


def _keep(own: Path, key: TlsKey, names: Sequence[str], now: datetime.datetime) -> None:
    """Our certificate in its file: the one that is there, if it still serves."""
    try:
        kept = x509.load_pem_x509_certificate(own.read_bytes())
        there = spki_of(kept.public_key()).hex() == key.spki_sha256 and _names(kept) == list(names)
        if there and kept.not_valid_before_utc <= now <= kept.not_valid_after_utc - _LEFT:
            return
    except (FileNotFoundError, ValueError, x509.ExtensionNotFound):
        pass
    draft = own.with_name(f".{own.name}.{os.getpid()}")
    draft.write_bytes(self_signed(key, names, now))
    draft.replace(own)


def _names(certificate: x509.Certificate) -> list[str]:
    named = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return [str(name.value) for name in named.value]


def self_signed(key: TlsKey, names: Sequence[str], now: datetime.datetime) -> bytes:
    """A certificate (PEM) for those host names and addresses, whoever takes it for good by itself or by its key."""
    common = names[0] if len(names[0]) <= _LONGEST_NAME else "waypost node"
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    public = key.private.public_key()
    made = (
        x509.CertificateBuilder(who, who, public, x509.random_serial_number(), now - _EARLIER, now + _LIFE)
        .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
    )
    return made.sign(key.private, hashes.SHA256()).public_bytes(Encoding.PEM)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
