"""Nodes that serve TLS themselves, and the certificates that an authority of the test's own gives them."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import re
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from tests.node.agent import Agent, options
from tests.programs import running

_SERVES = re.compile(r"waypost node (\S+) serves (.*) on (https://\S+)/v1")


@contextlib.asynccontextmanager
async def tls_agent(
    folder: Path, program: Path, weights: Path, log: str = "log.txt", **changed: Any
) -> AsyncIterator[Agent]:
    """A node over the stand-in that has said that it serves, with a TLS key of its own."""
    table = {"tls_key": str(folder / "tls.key"), "llama_server": str(program), **changed}
    since = len((folder / log).read_text()) if (folder / log).exists() else 0
    async with running(options(folder, {"small": {"uri": str(weights)}}, **table), folder / log) as made:
        said = _SERVES.search(await made.saw(" serves ", since=since))
        assert said is not None
        yield Agent(made, said[1], said[3])


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def spki_of(file: Path) -> str:
    """What an advert has to say of a private key in PEM."""
    key = load_pem_private_key(file.read_bytes(), None).public_key()
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def shown(port: int, name: str = "node.example") -> x509.Certificate:
    """The certificate that a handshake on 127.0.0.1 shows; its key is proven by the handshake."""
    anybody = ssl.create_default_context()
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), 30) as plain,
        anybody.wrap_socket(plain, server_hostname=name) as tls,
    ):
        der = tls.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der)


def only(certificate: Path) -> aiohttp.TCPConnector:
    """What trusts that file as a client trusts its authorities, names and dates included."""
    return aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(certificate)))


@dataclass
class Authority:
    """Signs what it is asked to, as a public one does that was shown a proof."""

    private: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    name: x509.Name = field(default_factory=lambda: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority")]))

    def root(self) -> bytes:
        made = self._builder(self.name, self.private.public_key(), 30)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        return made.sign(self.private, hashes.SHA256()).public_bytes(Encoding.PEM)

    def chain(self, key: Path, names: Sequence[str], days: int = 9) -> bytes:
        """The certificate for the key in that file, then the authority's own."""
        public: Any = load_pem_private_key(key.read_bytes(), None).public_key()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        made = self._builder(subject, public, days).add_extension(alternatives, critical=False)
        return made.sign(self.private, hashes.SHA256()).public_bytes(Encoding.PEM) + self.root()

    def _builder(self, subject: x509.Name, public: Any, days: int) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        begins, ends = now - datetime.timedelta(hours=1), now + datetime.timedelta(days=days)
        return x509.CertificateBuilder(self.name, subject, public, x509.random_serial_number(), begins, ends)
