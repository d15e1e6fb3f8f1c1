"""A machine that the network knows and this folder does not: found by its name, and taken over rather than made again.

Only what the operator's own wallet has signed counts. Not here: its keys and configuration, which are asked for and
sent as for any other.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from deploy.aleph.network import Network
from deploy.aleph.plan_model import Gpu, Plan
from deploy.aleph.state import Sent
from registry.commands.failure import CommandError

__all__ = ["taken_over"]

_FIELDS = ("sender", "chain", "type", "channel", "time", "item_type", "item_content", "item_hash", "signature")


async def taken_over(network: Network, owner: str, name: str, given_up: Sequence[Sent]) -> tuple[Sent, Plan] | None:
    """The operator's machine of this name; None if there is none. CommandError where there are several."""
    left_out = {sent.item_hash for sent in given_up}
    found = [
        (raw, message.content or {})
        for raw, message in await network.instances(owner)
        if message.item_hash not in left_out and _is_ours(message.content or {}, name)
    ]
    if not found:
        return None
    if len(found) > 1:
        hashes = ", ".join(str(raw["item_hash"]) for raw, _ in found)
        raise CommandError(
            f"several machines are called {name} on the network: {hashes}; forget those not wanted first"
        )
    raw, content = found[0]
    envelope = {field: raw.get(field) for field in _FIELDS}
    sent = Sent(envelope=envelope, signed_at=float(content.get("time", time.time())), settled=True)
    return sent, await _plan(network, content, str(raw["item_hash"]))


def _is_ours(content: Mapping[str, Any], name: str) -> bool:
    metadata = content.get("metadata")
    return isinstance(metadata, dict) and metadata.get("waypost") == "node" and metadata.get("name") == name


async def _plan(network: Network, content: Mapping[str, Any], item_hash: str) -> Plan:
    """What was bought, as the message says; where its host is, the list says."""
    try:
        requirements = content["requirements"]
        wanted = requirements["node"]["node_hash"]
        gpus = requirements.get("gpu") or [None]
        host = next((host for host in await network.hosts() if host.hash == wanted), None)
        if host is None:
            raise CommandError(
                f"the machine {item_hash} is on host {wanted}, which the network does not list now; wait, or destroy it"
            )
        return Plan(
            host_hash=wanted,
            host_name=host.shown,
            host_url=host.url,
            gpu=Gpu.model_validate({"model": "", **gpus[0]}) if gpus[0] else None,
            vcpus=content["resources"]["vcpus"],
            memory_mib=content["resources"]["memory"],
            disk_mib=content["rootfs"]["size_mib"],
        )
    except (KeyError, TypeError, ValidationError) as error:
        raise CommandError(f"the machine {item_hash} was made by something else; choose another NAME") from error
