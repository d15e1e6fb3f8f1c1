"""HTTPS towards clients: what a file of certificate and key must hold, and calls through it."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import openai
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from tests.commands import run
from tests.gateway.scene import becomes, chat, new_scene, rogue
from tests.programs import running

Key = ec.EllipticCurvePrivateKey


@pytest.fixture(scope="module")
def key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def _certificate(key: Key) -> bytes:
    """Self-signed, of 127.0.0.1 (PEM)."""
    now, name = datetime.datetime.now(datetime.UTC), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "here")])
    ends = now + datetime.timedelta(days=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, ends)
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    return builder.add_extension(here, critical=False).sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def _private(key: Key, password: bytes = b"") -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
async def test_calls_over_tls(tmp_path: Path, key: Key, workers: Sequence[str]) -> None:
    file, certificate = tmp_path / "here.pem", _certificate(key)
    file.write_bytes(certificate + _private(key))
    stack, operator = new_scene(tmp_path)
    words = ["--listen", "127.0.0.1:0", "--registry", stack.registry, "--trust", operator.wallet.address, "--open"]
    words += ["--allow-private", "--state", str(tmp_path), "--tls-certificate", str(file), *workers]
    async with (
        rogue(tmp_path, "fine") as node,
        running(("-m", "waypost", "gateway", "serve", *words), tmp_path / "gateway.txt") as program,
    ):
        await operator.offer(node, "m")
        said = await program.saw("/v1")
        stack.gateway_url = said.rpartition(" serves on ")[2].partition("/v1")[0]
        assert stack.gateway_url.startswith("https://127.0.0.1:")
        trusting = ssl.create_default_context(cadata=certificate.decode())
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session:
            await becomes(session, stack, "m", 200)
            assert (await chat(session, stack, "m"))[2]["choices"][0]["message"]["content"] == "rogue"
        await _sdk(stack.base_url, trusting)
        await _refusals(stack.gateway_url)
    assert "Traceback" not in program.output()


async def _sdk(base_url: str, trusting: ssl.SSLContext) -> None:
    messages = [{"role": "user", "content": "Hello"}]
    async with (
        openai.DefaultAsyncHttpxClient(verify=trusting) as http,
        openai.AsyncOpenAI(base_url=base_url, api_key="any", http_client=http) as client,
    ):
        whole = await client.chat.completions.create(model="m", messages=messages)  # type: ignore[call-overload]
        assert whole.choices[0].message.content == "rogue"
        stream = await client.chat.completions.create(model="m", messages=messages, stream=True)  # type: ignore[call-overload]
        assert [chunk async for chunk in stream]


async def _refusals(url: str) -> None:
    """Who does not trust the certificate, speaks no TLS, or an old one, gets nothing."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(f"{url}/health")
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"{url.replace('https', 'http')}/health")
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("DEFAULT@SECLEVEL=0")
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=old)) as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"{url}/health")


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("written", "fix"),
    [
        ("nothing", "No such file or directory; name a PEM file of the certificate chain and its private key"),
        ("folder", "; name a PEM file of the certificate chain and its private key"),
        ("empty", "put both there as PEM"),
        ("text", "put both there as PEM"),
        ("certificate", "put both there as PEM"),
        ("key", "put both there as PEM"),
        ("another", "put both there as PEM"),
        ("encrypted", "the private key is encrypted; write it there in the clear"),
    ],
)
async def test_a_file_that_cannot_be_used_is_told_of_in_a_line(
    tmp_path: Path, key: Key, written: str, fix: str, workers: str
) -> None:
    file = tmp_path / "here.pem"
    texts = {
        "empty": b"",
        "text": b"-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n",
        "certificate": _certificate(key),
        "key": _private(key),
        "another": _certificate(key) + _private(ec.generate_private_key(ec.SECP256R1())),
        "encrypted": _certificate(key) + _private(key, b"secret"),
    }
    if written == "folder":
        file.mkdir()
    elif written != "nothing":
        file.write_bytes(texts[written])
    words = ("--listen", "127.0.0.1:0", "--registry", f"sqlite:///{tmp_path}/r.db", "--trust", "any")
    words += ("--state", str(tmp_path), "--tls-certificate", str(file), "--workers", workers)
    done = await asyncio.to_thread(run, tmp_path, "gateway", "serve", *words)
    assert (done.status, len(done.err.splitlines())) == (1, 1)
    assert done.err.startswith(f"waypost: --tls-certificate {file}") and done.err.rstrip().endswith(fix)
