"""A node is held to the TLS key that its advert names, over real handshakes with self-signed certificates."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gateway.challenge import challenge
from gateway.tls import SpkiPin, spki_sha256, verification
from registry.advert import Reason, Refused
from registry.keys import NodeKey
from tests.gateway.prover import advert_of, answering, client, proof

Key = CertificateIssuerPrivateKeyTypes


def _certificate(key: Key, name: str = "somewhere.example", days: int = 1) -> bytes:
    """A self-signed certificate (DER) for a host that is not ours; of negative days, long expired."""
    now = datetime.datetime.now(datetime.UTC)
    begins, ends = sorted((now, now + datetime.timedelta(days=days)))
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), begins, ends)
    return builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()).public_bytes(
        Encoding.DER
    )


def _spki(key: Key) -> str:
    raw = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(raw).hexdigest()


def _context(folder: Path, key: Key, certificate: bytes) -> ssl.SSLContext:
    file = folder / f"{hashlib.sha256(certificate).hexdigest()[:8]}.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + ssl.DER_cert_to_PEM_cert(certificate).encode())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@pytest.fixture(scope="module")
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


async def _challenge(tls: ssl.SSLContext, spki: str | None, scheme: str = "https") -> int:
    """Challenge a node behind that certificate, whose advert names that key; how often it was asked."""
    node = NodeKey.new()
    async with answering(proof(node, spki), tls) as (port, asked), client() as session:
        try:
            await challenge(session, advert_of(node, f"{scheme}://127.0.0.1:{port}", spki), NodeKey.new())
        except Refused as refused:
            assert asked == [], "refused before the request"
            raise refused from None
        return len(asked)


@pytest.mark.parametrize("days", [1, -1], ids=["in its time", "expired"])
async def test_the_right_key_is_enough_whatever_the_certificate_says(
    tmp_path: Path, key: ec.EllipticCurvePrivateKey, days: int
) -> None:
    assert await _challenge(_context(tmp_path, key, _certificate(key, days=days)), _spki(key)) == 1


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
async def test_other_kinds_of_key_can_be_pinned(tmp_path: Path, kind: str) -> None:
    other = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ed25519.Ed25519PrivateKey.generate()
    assert await _challenge(_context(tmp_path, other, _certificate(other)), _spki(other)) == 1


async def test_another_key_is_refused(tmp_path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    tls = _context(tmp_path, key, _certificate(key))
    with pytest.raises(Refused) as refused:
        await _challenge(tls, "0" * 64)
    assert refused.value.reason is Reason.CHALLENGE_FAILED


async def test_without_a_pin_the_webs_authorities_decide(tmp_path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    with pytest.raises(Refused) as refused:
        await _challenge(_context(tmp_path, key, _certificate(key)), None)
    assert refused.value.reason is Reason.CHALLENGE_FAILED


async def test_an_advert_that_names_a_key_and_no_tls_is_refused(
    tmp_path: Path, key: ec.EllipticCurvePrivateKey
) -> None:
    with pytest.raises(Refused, match="a URL without TLS"):
        await _challenge(_context(tmp_path, key, _certificate(key)), _spki(key), scheme="http")


async def test_a_certificate_that_cannot_be_read_is_a_wrong_one(
    tmp_path: Path, key: ec.EllipticCurvePrivateKey
) -> None:
    odd = _certificate(key).replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07", 1)  # X.509 version 8
    with pytest.raises(x509.InvalidVersion):
        spki_sha256(odd)
    with pytest.raises(Refused) as refused:
        await _challenge(_context(tmp_path, key, odd), _spki(key))
    assert refused.value.reason is Reason.CHALLENGE_FAILED


async def test_no_byte_of_a_request_reaches_a_server_with_another_key(
    tmp_path: Path, key: ec.EllipticCurvePrivateKey
) -> None:
    got = asyncio.get_running_loop().create_future()

    async def record(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            got.set_result(await reader.read())
        except OSError:
            got.set_result(b"")
        finally:
            writer.close()

    tls = _context(tmp_path, key, _certificate(key))
    async with await asyncio.start_server(record, "127.0.0.1", 0, ssl=tls) as server, client() as session:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Refused):
            await challenge(session, advert_of(NodeKey.new(), f"https://127.0.0.1:{port}", "0" * 64), NodeKey.new())
        assert await asyncio.wait_for(got, 90) == b""


async def test_a_pooled_connection_is_not_lent_to_an_advert_with_another_key(
    tmp_path: Path, key: ec.EllipticCurvePrivateKey
) -> None:
    node, gateway = NodeKey.new(), NodeKey.new()
    tls = _context(tmp_path, key, _certificate(key))
    async with answering(proof(node, _spki(key)), tls) as (port, asked), client() as session:
        url = f"https://127.0.0.1:{port}"
        await challenge(session, advert_of(node, url, _spki(key)), gateway)
        for wrong in ("0" * 64, None):
            with pytest.raises(Refused):
                await challenge(session, advert_of(node, url, wrong), gateway)
        assert len(asked) == 1


async def test_a_new_certificate_of_the_same_key_is_accepted(tmp_path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    first, second = _certificate(key), _certificate(key, name="elsewhere.example")
    assert spki_sha256(first) == spki_sha256(second) == bytes.fromhex(_spki(key))
    assert await _challenge(_context(tmp_path, key, first), _spki(key)) == 1
    assert await _challenge(_context(tmp_path, key, second), _spki(key)) == 1


def test_one_object_stands_for_one_key_so_that_connections_are_shared() -> None:
    assert verification("a" * 64) is verification("a" * 64)
    assert verification("a" * 64) is not verification("b" * 64)
    assert isinstance(verification("a" * 64), SpkiPin)
    assert verification(None) is True
