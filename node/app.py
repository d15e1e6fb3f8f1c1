"""`waypost node serve`: what must be there before a node can run: keys, folders, hardware, who publishes it.

Not here: the running node (agent).
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack

import uvloop

from node.access import Access, AccessError
from node.agent import Agent, StartFailed
from node.certificate import Certificate
from node.config import NodeConfig
from node.engines.engine import EngineError
from node.gpus import Gpus
from node.hardware import Hardware, detect
from node.lock import AlreadyRuns, sole_holder
from node.publishing.advertiser import Advertiser, Identity
from node.publishing.delegation import DelegationFile
from node.runtime import runtime_folder
from node.tls_key import TlsKey
from node.vm import whereabouts
from registry.advert import Refused
from registry.backend import open_backend
from registry.keys import KeyFileError, NodeKey, Wallet
from registry.urls import check_site, parse_url

log = logging.getLogger("waypost.node")


def run(config: NodeConfig, reread: Callable[[], NodeConfig]) -> int:
    """Serve until SIGTERM or SIGINT; at SIGHUP go on as `reread` says. Returns the exit status."""
    logging.basicConfig(
        level=config.log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to be read anew; else it ends a process
    try:
        uvloop.run(_serve(_placed(config), lambda: _placed(reread())))
    except (StartFailed, AlreadyRuns, KeyFileError, AccessError, EngineError, Refused, ValueError) as error:
        print(f"waypost: {error}", file=sys.stderr)
        return 1
    return 0


def _placed(config: NodeConfig) -> NodeConfig:
    """With what is known of where it runs, beside what it is told. Raises ValueError where that is too little."""
    host_name = socket.gethostname()
    url, vm_hash = whereabouts(config.public_url, config.vm_hash, host_name)
    if config.registry and url is None:
        raise ValueError(
            "--registry needs --public-url: an advert says where gateways reach this node; only on an Aleph instance "
            f"is that known from the host name, and here it is {host_name!r}"
        )
    return config.model_copy(update={"public_url": url, "vm_hash": vm_hash})


async def _serve(config: NodeConfig, reread: Callable[[], NodeConfig]) -> None:
    _check(config)
    key = NodeKey.load_or_create(config.node_key or config.state / "node.key")
    access = Access(config.access, key.public, time.time)
    async with AsyncExitStack() as stack:
        stack.enter_context(sole_holder(config.state, key.public))
        try:
            runtime = stack.enter_context(runtime_folder(os.environ.get("XDG_RUNTIME_DIR")))
        except OSError as error:
            raise StartFailed(str(error)) from error
        gpus = await Gpus.opened()
        stack.callback(gpus.close)
        hardware = await detect(gpus)
        certificate = _certificate(config)
        advertiser = await _advertiser(config, key, certificate, hardware, stack)
        await Agent(config, key, access, runtime, gpus, hardware, certificate, advertiser).run(reread)


def _check(config: NodeConfig) -> None:
    """What can be known to be wrong before anything starts."""
    if config.public_url is not None:
        _check_url(config.public_url)
    try:
        config.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StartFailed(f"--state {config.state} cannot be made ({error.strerror})") from error


def _check_url(url: str) -> None:
    """Refuse what no reader takes, and warn of what few do."""
    site = parse_url(url)
    check_site(site, allow_private=True)
    try:
        check_site(site, allow_private=False)
    except Refused as refused:
        log.warning("--public-url %s: only gateways with --allow-private will come here (%s)", url, refused.detail)


def _certificate(config: NodeConfig) -> Certificate | None:
    """What this node shows where it serves TLS itself."""
    if config.tls_key is None:
        return None
    key = TlsKey.load_or_create(config.tls_key)
    own = config.state / f"tls-{key.spki_sha256[:16]}.crt"  # nodes with other keys may share the folder
    try:
        return Certificate(key, config.public_url, config.tls_certificate, own, time.time)
    except OSError as error:
        raise StartFailed(f"--state {config.state}: {own.name} cannot be kept there ({error.strerror})") from error


async def _advertiser(
    config: NodeConfig, key: NodeKey, certificate: Certificate | None, hardware: Hardware, stack: AsyncExitStack
) -> Advertiser | None:
    if not config.registry or config.public_url is None:
        return None
    delegate = Wallet.load_or_create(config.delegate_key or config.state / "delegate.key")
    path = config.delegation or config.state / "delegation.json"
    payer = None if config.payer_key is None else Wallet.load(config.payer_key)
    backends = [open_backend(url, author=delegate, payer=payer) for url in config.registry]
    for backend in backends:
        stack.push_async_callback(backend.close)
    spki = certificate.key.spki_sha256 if certificate else None
    url, region, vm_hash = config.public_url, config.region, config.vm_hash
    who = Identity(key, delegate, url, spki, hardware, region, vm_hash, config.advert_life_s)
    mandate = DelegationFile(path, delegate.address, key.public, url, time.time, config.registry)
    return Advertiser(who, mandate, backends, config.state, time.time)
