"""The private key of a node's TLS: a PEM file of mode 0600, a P-256 key where it is made here.

An advert names it by its digest, so gateways hold the node to it whatever its certificate says. Not here: certificates
(certificate), and the keys that sign (registry.keys).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from registry.keys import KeyFileError
from relay.tls import spki_of

Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_LIMIT_BYTES = 64 * 1024


class TlsKey:
    """`spki_sha256`: the digest in hex, as an advert has it."""

    def __init__(self, path: Path, private: Private) -> None:
        self.path = path
        self.private = private
        self.spki_sha256 = spki_of(private.public_key()).hex()

    def __repr__(self) -> str:
        return f"TlsKey({self.spki_sha256})"

    @classmethod
    def load(cls, path: Path) -> TlsKey:
        """Read a key file; raises KeyFileError (missing, readable by others, not one private key in PEM)."""
        return cls(path, _parsed(path, _read(path)))

    @classmethod
    def load_or_create(cls, path: Path) -> TlsKey:
        """The key in `path`, made there first if the file is missing; two processes end up with the same key."""
        if not path.exists():
            _make(path)
        return cls.load(path)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_LIMIT_BYTES)
    except FileNotFoundError as error:
        raise KeyFileError(f"{path}: no such key file; `waypost node keys` makes one") from error
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read ({error.strerror})") from error
    if stat.S_IMODE(mode) & 0o077:
        raise KeyFileError(f"{path}: others can read this key; run `chmod 600 {path}`")
    return content


def _parsed(path: Path, content: bytes) -> Private:
    try:
        key = load_pem_private_key(content, password=None)
    except TypeError as error:
        raise KeyFileError(f"{path}: the key is encrypted; write it there in the clear") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{path}: must hold one private key as PEM") from error
    if not isinstance(key, Private):
        raise KeyFileError(f"{path}: a key for TLS is an elliptic curve's or RSA's; make such a one")
    return key


def _make(path: Path) -> None:
    """A new file, never over an old one: whoever comes second keeps what is there. Nobody ever reads half a key."""
    secret = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be written ({error.strerror}); check the folder") from error
    finally:
        draft.unlink(missing_ok=True)
