"""What `waypost up` starts, written down before anything runs: folders, keys, delegations, each child's options."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from deploy import demo
from deploy.children import Child
from deploy.config import UpConfig
from registry.advert import Delegation
from registry.backend import open_backend
from registry.keys import NodeKey, Wallet
from registry.signing import sign_delegation

HOST = "127.0.0.1"
_DELEGATION_S = 7 * 86_400


class PlanFailed(Exception):
    """What keeps this machine from starting; the text says what to do."""


@dataclass(frozen=True)
class PlannedNode:
    """One node agent: its key (base64url), its URL, its delegate's address, and the command."""

    key: str
    url: str
    delegate: str
    child: Child


@dataclass(frozen=True)
class Plan:
    """Everything that will run. `models` are the names of what every node serves."""

    config: UpConfig
    registry: str
    shown_registry: str  # without what may be secret in the URL
    operator: Wallet
    models: tuple[str, ...]
    nodes: tuple[PlannedNode, ...]
    gateway: Child

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.config.port}"

    @property
    def children(self) -> tuple[Child, ...]:
        return (*(node.child for node in self.nodes), self.gateway)


def make_plan(config: UpConfig) -> Plan:
    """Make keys and write options. Raises PlanFailed, KeyFileError and OSError."""
    require_free_port(config.port)
    folder = config.state / f"up-{config.port}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    registry = config.registry or f"sqlite:///{(folder / 'registry.db').resolve()}"
    models = _models(config)
    operator = Wallet.load_or_create(folder / "operator.key")
    gateway_key = NodeKey.load_or_create(folder / "gateway.key")
    options: dict[str, Any] = {"registry": [registry], "access": [gateway_key.public]}
    if config.payer_key:
        options["payer_key"] = str(config.payer_key.resolve())
    return Plan(
        config=config,
        registry=registry,
        shown_registry=open_backend(registry).url,
        operator=operator,
        models=tuple(models),
        nodes=tuple(_plan_node(folder, number, operator, options, models) for number in range(1, config.nodes + 1)),
        gateway=_plan_gateway(folder, config, registry, operator),
    )


def _models(config: UpConfig) -> dict[str, dict[str, Any]]:
    """Each model's table: the demo's where they are wanted, then those that were named. Raises PlanFailed."""
    demos = demo.DEMOS if config.all else () if config.model else (demo.CHAT,)
    try:
        tables = {each.name: each.options() for each in demos}
    except demo.NotInstalled as missing:
        raise PlanFailed(f"{missing} is missing; start with make up, or name a model: --model NAME=URI") from missing
    named = (entry.partition("=") for entry in config.model)
    return tables | {name: {"uri": uri} for name, _, uri in named}


def _plan_node(
    folder: Path, number: int, operator: Wallet, shared: dict[str, Any], models: Mapping[str, Mapping[str, Any]]
) -> PlannedNode:
    own = folder / f"node-{number}"
    own.mkdir(exist_ok=True, mode=0o700)
    node = NodeKey.load_or_create(own / "node.key")
    delegate = Wallet.load_or_create(own / "delegate.key")
    _write_delegation(own / "delegation.json", operator, delegate, node)
    listen = f"{HOST}:{_free_port()}"
    options = {
        "listen": listen,
        "public_url": f"http://{listen}",
        "node_key": str(own / "node.key"),
        "delegate_key": str(own / "delegate.key"),
        "delegation": str(own / "delegation.json"),
        "state": str(own),
        **shared,
    }
    file = own / "waypost.toml"
    tables = (toml(f"node.models.{orjson.dumps(name).decode()}", table) for name, table in models.items())
    file.write_text("\n".join([toml("node", options), *tables]))
    child = Child(f"node {number}", ("node", "serve", "--config", str(file)), own / "log.txt")
    return PlannedNode(node.public, f"http://{listen}", delegate.address, child)


def _plan_gateway(folder: Path, config: UpConfig, registry: str, operator: Wallet) -> Child:
    """Its options stand in a file: a registry's URL may hold a key, and everybody can read a command line."""
    options = {
        "listen": f"{HOST}:{config.port}",
        "registry": [registry],
        "trust": [operator.address],
        "allow_private": True,
        "open": True,
        "gateway_key": str(folder / "gateway.key"),
        "state": str(folder),
    }
    file = folder / "gateway.toml"
    file.write_text(toml("gateway", options))
    return Child("gateway", ("gateway", "serve", "--config", str(file)), folder / "gateway-log.txt")


def _write_delegation(file: Path, operator: Wallet, delegate: Wallet, node: NodeKey) -> None:
    now = int(time.time())
    delegation = Delegation(
        v=1,
        operator=operator.address,
        delegate=delegate.address,
        node=node.public,
        issued_at=now,
        expires_at=now + _DELEGATION_S,
        url_suffixes=None,
    )
    file.write_bytes(orjson.dumps(sign_delegation(delegation, operator)))


def require_free_port(port: int) -> None:
    """Raises PlanFailed, which says what to do."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise PlanFailed(
                f"port {port} on {HOST} is busy; stop what listens there, or choose another with --port "
                "(make up ARGS='--port 8900')"
            ) from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def toml(table: str, options: Mapping[str, Any]) -> str:
    """One table; a table within it becomes an inline one."""
    return f"[{table}]\n" + "".join(f"{key} = {_value(value)}\n" for key, value in options.items())


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_value(each)}" for key, each in value.items()) + "}"
    return orjson.dumps(value).decode()  # JSON's strings, numbers, booleans and lists are TOML's too
