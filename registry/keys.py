"""Private keys in files, and the two signature schemes: Ethereum wallets (EIP-191) and nodes (Ed25519).

A key file has mode 0600 and holds one 32-byte key in hex. Not here: what is signed (signing).
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path
from typing import Self

from coincurve import PrivateKey, PublicKey
from Crypto.Hash import keccak
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from registry.fields import NODE_KEY, NODE_SIGNATURE, WALLET_SIGNATURE, decode_base64url, encode_base64url, matches
from registry.reasons import Reason, Refused

__all__ = [
    "CURVE_ORDER",
    "KeyFileError",
    "NodeKey",
    "Wallet",
    "keccak256",
    "recover",
    "recover_message",
    "signed_bytes",
    "verify_node",
]

CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_HEX_KEY = re.compile(rb"(?:0x)?([0-9a-fA-F]{64})\s*")


class KeyFileError(Exception):
    """A key file that cannot be used; one line that says why and what to do, never what is in it."""


class _KeyFile:
    """A 32-byte secret and its file."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @classmethod
    def new(cls) -> Self:
        return cls(os.urandom(32))  # a wallet key outside the curve's order has a chance of 2^-128

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a key file; raises KeyFileError (missing, readable by others, not one hex key)."""
        secret = _read_key(path)
        try:
            return cls(secret)
        except ValueError as error:
            raise KeyFileError(f"{path}: not a usable key; make a new one") from error

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """The key in `path`, made there first if the file is missing; two processes end up with the same key."""
        if path.exists():
            return cls.load(path)
        key = cls.new()
        try:
            key.save(path)
        except KeyFileError:
            if not path.exists():
                raise
            return cls.load(path)
        return key

    def save(self, path: Path) -> None:
        """Write a new file of mode 0600, never over an old one; raises KeyFileError."""
        draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(self._secret.hex() + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path)  # fails if it exists, and nobody ever reads half a key
        except FileExistsError as error:
            raise KeyFileError(f"{path}: exists already; choose another file, keys are never overwritten") from error
        except OSError as error:
            raise KeyFileError(f"{path}: cannot be written ({error.strerror}); check the folder") from error
        finally:
            draft.unlink(missing_ok=True)


class Wallet(_KeyFile):
    """An Ethereum key: operators, delegates, payers, curators."""

    def __init__(self, secret: bytes) -> None:
        super().__init__(secret)
        self._key = PrivateKey(secret)
        self.address = _address(self._key.public_key)

    def sign(self, tag: str, text: str) -> str:
        """EIP-191 over the tagged hash of `text`: "0x" and 130 hex digits, low s, v 27 or 28."""
        return self.sign_message(signed_bytes(tag, text))

    def sign_message(self, message: bytes) -> str:
        """EIP-191 `personal_sign` over any bytes, in the same form."""
        raw = self.sign_digest(_personal_hash(message))
        return "0x" + raw[:64].hex() + f"{raw[64] + 27:02x}"

    def sign_digest(self, digest: bytes) -> bytes:
        """r, s (low) and the recovery bit, 65 bytes, over a 32-byte digest such as that of a transaction."""
        raw: bytes = self._key.sign_recoverable(digest, hasher=None)
        return raw

    def __repr__(self) -> str:
        return f"Wallet({self.address})"


class NodeKey(_KeyFile):
    """An Ed25519 key: nodes and gateways."""

    def __init__(self, secret: bytes) -> None:
        super().__init__(secret)
        self.private = Ed25519PrivateKey.from_private_bytes(secret)
        self.public = encode_base64url(self.private.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> str:
        """The signature over `message` in unpadded base64url."""
        return encode_base64url(self.private.sign(message))

    def __repr__(self) -> str:
        return f"NodeKey({self.public})"


def signed_bytes(tag: str, text: str) -> bytes:
    """What every signature is over: the tag, a line break, the text's SHA-256 in hex."""
    return f"{tag}\n{hashlib.sha256(text.encode()).hexdigest()}".encode()


def recover(tag: str, text: str, signature: str) -> str:
    """The address that signed `text`; raises Refused (bad signature) for anything but the one valid encoding."""
    return recover_message(signed_bytes(tag, text), signature)


def recover_message(message: bytes, signature: str) -> str:
    """The address whose EIP-191 signature over any bytes this is; raises as `recover` does."""
    if not matches(WALLET_SIGNATURE, signature):
        raise _bad("must be 0x and 130 lower-case hex digits")
    raw = bytes.fromhex(signature[2:])
    if raw[64] not in (27, 28):
        raise _bad("v must be 27 or 28")
    if int.from_bytes(raw[32:64]) > CURVE_ORDER // 2:
        raise _bad("s must be in the lower half")
    recoverable = raw[:64] + bytes([raw[64] - 27])
    digest = _personal_hash(message)
    try:
        key = PublicKey.from_signature_and_message(recoverable, digest, hasher=None)
    except Exception as error:  # coincurve raises bare Exception where no key recovers
        raise _bad("recovers to no key") from error
    return _address(key)


def verify_node(public: str, message: bytes, signature: str) -> bool:
    """Is `signature` the Ed25519 signature by `public` over `message`? False too for texts of the wrong form."""
    if not matches(NODE_KEY, public) or not matches(NODE_SIGNATURE, signature):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(decode_base64url(public)).verify(decode_base64url(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _read_key(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(200)
    except FileNotFoundError as error:
        raise KeyFileError(f"{path}: no such key file; make one with `waypost key new {path}`") from error
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read ({error.strerror})") from error
    if stat.S_IMODE(mode) & 0o077:
        raise KeyFileError(f"{path}: others can read this key; run `chmod 600 {path}`")
    match = _HEX_KEY.fullmatch(content)
    if match is None:
        raise KeyFileError(f"{path}: must hold one key of 64 hex digits and nothing else")
    return bytes.fromhex(match[1].decode())


def keccak256(data: bytes) -> bytes:
    """Ethereum's hash, 32 bytes."""
    return keccak.new(digest_bits=256, data=data).digest()


def _personal_hash(message: bytes) -> bytes:
    return keccak256(b"\x19Ethereum Signed Message:\n%d%s" % (len(message), message))


def _address(key: PublicKey) -> str:
    return "0x" + keccak256(key.format(compressed=False)[1:])[-20:].hex()


def _bad(detail: str) -> Refused:
    return Refused(Reason.BAD_SIGNATURE, f"signature: {detail}")
