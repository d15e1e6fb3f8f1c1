"""`waypost node keys`: the keys of a node, made where they are missing, and what others have to know of them.

An operator asks for it before the node is published, and a program may read it. No secret is printed. Not here: the
operator's own key (`waypost key new`).
"""

from __future__ import annotations

import json
import socket
import sys
from importlib.metadata import PackageNotFoundError, version

from node.keys_config import KeysConfig
from node.tls_key import TlsKey
from node.vm import whereabouts
from registry.keys import KeyFileError, NodeKey, Wallet

__all__ = ["KeysConfig", "run"]


def run(config: KeysConfig) -> int:
    """Print one JSON object, or what one of its names means. Returns the exit status."""
    try:
        found = keys(config, socket.gethostname())
        print(json.dumps(found) if config.only is None else found[config.only] or "")
    except (KeyFileError, ValueError, OSError) as error:
        print(f"waypost: {error}", file=sys.stderr)
        return 1
    return 0


def keys(config: KeysConfig, host_name: str) -> dict[str, str | None]:
    """What is printed. Raises KeyFileError, ValueError, and OSError where the state folder cannot be made."""
    url, vm_hash = whereabouts(config.public_url, config.vm_hash, host_name)
    config.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    tls = TlsKey.load_or_create(config.tls_key) if config.tls_key else None
    return {
        "node": NodeKey.load_or_create(config.node_key or config.state / "node.key").public,
        "delegate": Wallet.load_or_create(config.delegate_key or config.state / "delegate.key").address,
        "tls_spki_sha256": tls.spki_sha256 if tls else None,
        "public_url": url,
        "vm_hash": vm_hash,
        "delegation": str(config.delegation or config.state / "delegation.json"),
        "version": _version(),
    }


def _version() -> str:
    try:
        return version("waypost")
    except PackageNotFoundError:
        return "0"
