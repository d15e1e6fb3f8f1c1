"""Aleph's SDK for what a deployment signs: contents of messages, their envelopes, requests to a compute host.

Importing this takes a second and 80 MiB, so only commands that need it do. Not here: sending (network, host).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
from aleph.sdk.client.vm_client import VmClient
from aleph.sdk.utils import (
    create_control_payload,
    extended_json_encoder,
    make_instance_content,
    sign_vm_control_payload,
)
from aleph_message.models import Chain, ForgetContent, ItemHash, ItemType, MessageType, StoreContent
from aleph_message.models.execution.base import Payment, PaymentType
from aleph_message.models.execution.environment import (
    GpuDeviceClass,
    GpuProperties,
    HostRequirements,
    HypervisorType,
    NodeRequirements,
)

from deploy.aleph.plan_model import Gpu, Plan
from registry.aleph.messages import checksum
from registry.aleph.sdk import connect
from registry.keys import Wallet

__all__ = ["content_id", "control_headers", "forget_content", "instance_content", "sign", "store_content"]

_CREDITS = Payment(chain=Chain.ETH, type=PaymentType.credit)


def instance_content(
    plan: Plan, *, owner: str, name: str, image: str, ssh_keys: Sequence[str], now: float
) -> dict[str, Any]:
    """A machine on one named host, paid by credits. The image is the one that was stored, never a later one."""
    node = NodeRequirements(
        node_hash=ItemHash(plan.host_hash), terms_and_conditions=ItemHash(plan.terms) if plan.terms else None
    )
    content = make_instance_content(
        rootfs=image,
        rootfs_size=plan.disk_mib,
        payment=_CREDITS,
        address=checksum(owner),
        memory=plan.memory_mib,
        vcpus=plan.vcpus,
        hypervisor=HypervisorType.qemu,
        ssh_keys=list(ssh_keys),
        metadata={"name": name, "waypost": "node"},
        requirements=HostRequirements(node=node, gpu=[_gpu(plan.gpu)] if plan.gpu else None),
    )
    plain = _plain(content.model_dump(exclude_none=True))
    plain["rootfs"]["parent"]["use_latest"] = False
    return {**plain, "time": now}


def store_content(digest: str, *, owner: str, ipfs: bool, now: float) -> dict[str, Any]:
    """A file that is kept for as long as it is paid for."""
    kind = ItemType.ipfs if ipfs else ItemType.storage
    stored = StoreContent(
        address=checksum(owner), time=now, item_type=kind, item_hash=ItemHash(digest), payment=_CREDITS
    )
    return _plain(stored.model_dump(exclude_none=True))


def forget_content(hashes: Sequence[str], *, owner: str, reason: str, now: float) -> dict[str, Any]:
    named = [ItemHash(one) for one in hashes]
    stored = ForgetContent(address=checksum(owner), time=now, hashes=named, reason=reason)
    return _plain(stored.model_dump(exclude_none=True))


async def sign(origin: str, wallet: Wallet, kind: str, content: Mapping[str, Any], channel: str) -> dict[str, Any]:
    """The whole message, which nothing has been told of yet. Made of equal contents it has an equal hash."""
    client = connect(origin, wallet)
    message = await client.generate_signed_message(MessageType(kind), dict(content), channel)
    shown = _plain(message.model_dump(include=client.BROADCAST_MESSAGE_FIELDS))
    return {name: shown[name] for name in sorted(shown)}


def content_id(path: Path) -> str:
    """What IPFS calls this file."""
    import aleph_cid

    return str(aleph_cid.compute_cid(path.read_bytes()))


async def control_headers(
    origin: str, wallet: Wallet, host: str, method: str, path: str, session: aiohttp.ClientSession
) -> dict[str, str]:
    """By which a compute host knows the owner: a passing key that the wallet signs, and that key's signature."""
    client = VmClient(connect(origin, wallet).account, host, session=session)  # ours: it must not be closed with it
    payload = create_control_payload(path=path, domain=client.node_domain, method=method)
    return {
        "X-SignedPubKey": await client._generate_pubkey_signature_header(),
        "X-SignedOperation": sign_vm_control_payload(payload, client.ephemeral_key),
    }


def _gpu(gpu: Gpu) -> GpuProperties:
    return GpuProperties(
        vendor=gpu.vendor,
        device_name=gpu.device_name,
        device_class=GpuDeviceClass(gpu.device_class),
        device_id=gpu.device_id,
    )


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """As the SDK writes it."""
    plain: dict[str, Any] = json.loads(json.dumps(fields, default=extended_json_encoder))
    return plain
