"""docker-compose.yml as far as it is used here: services with their command, volumes and order. What this does not know
it refuses, so that nothing in the file can be passed over in silence. Not here: running them (engine)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_KNOWN = {
    "image", "build", "entrypoint", "command", "volumes", "tmpfs", "read_only", "cap_drop", "security_opt",
    "depends_on", "ports", "restart", "stop_grace_period",
}  # fmt: skip
_HARDENED = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}
CONDITIONS = {"service_healthy", "service_completed_successfully"}


@dataclass(frozen=True)
class Service:
    """One container. `mounts` are (volume, path) pairs, `ports` (host, port there, port here)."""

    name: str
    image: str
    target: str
    entrypoint: tuple[str, ...] | None
    command: tuple[str, ...] | None
    mounts: tuple[tuple[str, str], ...]
    tmpfs: tuple[str, ...]
    after: tuple[tuple[str, str], ...]
    ports: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Project:
    """The services, each behind those that it waits for."""

    name: str
    services: tuple[Service, ...]

    def __getitem__(self, name: str) -> Service:
        return next(service for service in self.services if service.name == name)


def read(file: Path) -> Project:
    """Raises ValueError for what is not known here."""
    content = yaml.safe_load(file.read_text())
    services = {name: _service(name, said) for name, said in content["services"].items()}
    declared = set(content["volumes"])
    for service in services.values():
        if unknown := {volume for volume, _ in service.mounts} - declared:
            raise ValueError(f"{service.name}: volumes does not declare {unknown}")
    return Project(content["name"], tuple(_in_order(services)))


def _service(name: str, said: dict[str, Any]) -> Service:
    if unknown := said.keys() - _KNOWN:
        raise ValueError(f"{name}: {sorted(unknown)} is not known here; teach tests/container/compose.py")
    for key, value in _HARDENED.items():
        if said.get(key) != value:
            raise ValueError(f"{name}: {key} is not {value}")
    after = tuple((other, how["condition"]) for other, how in said.get("depends_on", {}).items())
    if unknown := {condition for _, condition in after} - CONDITIONS:
        raise ValueError(f"{name}: depends_on: {unknown} is not known here")
    return Service(
        name=name,
        image=said["image"],
        target=said["build"]["target"],
        entrypoint=_words(said.get("entrypoint")),
        command=_words(said.get("command")),
        mounts=tuple(_pair(text) for text in said.get("volumes", ())),
        tmpfs=tuple(text.partition(":")[0] for text in said.get("tmpfs", ())),
        after=after,
        ports=tuple(_port(text) for text in said.get("ports", ())),
    )


def _words(said: list[str] | None) -> tuple[str, ...] | None:
    if said is not None and not isinstance(said, list):
        raise ValueError(f"{said!r}: write a list; a shell would have to split it")
    return None if said is None else tuple(said)


def _pair(text: str) -> tuple[str, str]:
    volume, path = text.split(":")
    return volume, path


def _port(text: str) -> tuple[str, int, int]:
    host, there, here = text.split(":")
    return host, int(there), int(here)


def _in_order(services: dict[str, Service]) -> list[Service]:
    ordered: list[Service] = []
    while len(ordered) < len(services):
        done = {service.name for service in ordered}
        ready = [each for each in services.values() if each.name not in done and {on for on, _ in each.after} <= done]
        if not ready:
            raise ValueError(f"{sorted(services.keys() - done)} wait for each other")
        ordered += ready
    return ordered
