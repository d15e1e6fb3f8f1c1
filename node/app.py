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
from node.config import NodeConfig
from node.engines.engine import EngineError
from node.gpus import Gpus
from node.hardware import Hardware, detect
from node.lock import AlreadyRuns, sole_holder
from node.publishing.advertiser import Advertiser, Identity
from node.publishing.delegation import DelegationFile
from node.runtime import runtime_folder
from node.vm import aleph_item_hash
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
        uvloop.run(_serve(config, reread))
    except (StartFailed, AlreadyRuns, KeyFileError, AccessError, EngineError, Refused, ValueError) as error:
        print(f"waypost: {error}", file=sys.stderr)
        return 1
    return 0


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
        advertiser = await _advertiser(config, key, hardware, stack)
        await Agent(config, key, access, runtime, gpus, hardware, advertiser).run(reread)


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


async def _advertiser(config: NodeConfig, key: NodeKey, hardware: Hardware, stack: AsyncExitStack) -> Advertiser | None:
    if not config.registry or config.public_url is None:
        return None
    delegate = Wallet.load_or_create(config.delegate_key or config.state / "delegate.key")
    path = config.delegation or config.state / "delegation.json"
    payer = None if config.payer_key is None else Wallet.load(config.payer_key)
    backends = [open_backend(url, author=delegate, payer=payer) for url in config.registry]
    for backend in backends:
        stack.push_async_callback(backend.close)
    vm_hash = config.vm_hash or aleph_item_hash(socket.gethostname())
    who = Identity(key, delegate, config.public_url, hardware, config.region, vm_hash, config.advert_life_s)
    mandate = DelegationFile(path, delegate.address, key.public, config.public_url, time.time, config.registry)
    return Advertiser(who, mandate, backends, config.state, time.time)
