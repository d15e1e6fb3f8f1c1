"""`make image-test`: builds the image, boots it twice in QEMU, and has a chat answered by it through a gateway here.

The first boot is by BIOS, the second by UEFI, from the same disk. Prints the seconds of each stage.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from deploy.demo import CHAT
from deploy.plan import toml
from deploy.vm.settings import MODELS
from node.vm import aleph_url
from tests.fakes.aleph import aleph_node
from tests.programs import ROOT
from tests.vm import inside, machine, scene, stored
from tests.vm.machine import HOST_FROM_GUEST, Machine
from tests.vm.operator import Operator
from tests.vm.scene import MODEL, Stages

ITEM_HASH = hashlib.sha256(b"a test of the image").hexdigest()


def main() -> int:
    options = _options()
    folder = options.folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    asyncio.run(_test(options, folder))
    return 0


async def _test(options: argparse.Namespace, folder: Path) -> None:
    stages = Stages()
    image = options.image or _built(folder)
    stages.done(f"the image: {image.name}, {image.stat().st_size // 2**20} MiB")
    for line in stored.check(image, folder):
        stages.say(line)
    stages.done("looked through its file system")
    operator = Operator(folder)
    address = await operator.make_keys()
    accelerator = machine.ACCELERATORS[options.accel]
    stages.say(f"QEMU: {' '.join(accelerator)}, 2 processors, 2 GiB")
    host_name = machine.aleph_host_name(ITEM_HASH)
    vm = machine.make(folder, image, host_name, operator.public_ssh_key, accelerator)
    operator = Operator(folder, vm.ssh_port)
    async with (
        aleph_node(folder) as board,
        scene.gateway(folder, board.registry, address) as (gateway, _),
    ):
        first = await _first_boot(vm, operator, address, board.registry, gateway, stages, options)
        await _second_boot(vm, operator, address, board.registry, gateway, stages, options, first)
    print(f"{stages.total():8.1f} s  in all", flush=True)


async def _first_boot(
    vm: Machine, operator: Operator, address: str, registry: str, gateway: str, stages: Stages, options: Any
) -> dict[str, Any]:
    """From an image without keys to an answered chat. Returns the advert."""
    async with vm.booted() as process:
        await scene.comes(operator.reaches, f"SSH; see {vm.console}", options.limit_s)
        stages.done("first boot (BIOS): SSH takes the operator's key")
        keys = await operator.keys()
        assert keys["vm_hash"] == ITEM_HASH and keys["public_url"] == aleph_url(ITEM_HASH), keys
        stages.say(f"it knows its item hash and its name, {keys['public_url']}")
        stages.done("waypost-setup keys")
        await operator.delegate(keys, registry)
        port = registry.partition("?")[0].rpartition(":")[2]
        said = await operator.set_up(_config(vm, registry.replace("127.0.0.1", HOST_FROM_GUEST)))
        assert said == {"changed": ["waypost.toml", "delegation.json"], "active": True}, said
        stages.done(f"delegated, configuration sent by waypost-setup (registry on port {port} of this machine)")
        shown = await _published(operator, address, registry, stages, options, above=0)
        assert shown["text"]["node"] == keys["node"] and shown["text"]["url"] == _url(vm)
        assert shown["text"]["tls_spki_sha256"] == keys["tls_spki_sha256"] and keys["tls_spki_sha256"]
        assert shown["text"]["vm"] == {"platform": "aleph", "item_hash": ITEM_HASH}
        await _chat(gateway, keys["node"], stages, options)
        for line in await inside.check(operator):
            stages.say(line)
        stages.done("looked at from within")
        await _power_off(operator, process, stages)
    return shown


async def _second_boot(
    vm: Machine, operator: Operator, address: str, registry: str, gateway: str, stages: Stages, options: Any,
    before: dict[str, Any],
) -> None:  # fmt: skip
    """Nothing is sent: the machine publishes itself again."""
    async with vm.booted(uefi=True) as process:
        shown = await _published(operator, address, registry, stages, options, above=before["seq"])
        for same in ("node", "tls_spki_sha256", "url"):
            assert shown["text"][same] == before["text"][same], same
        stages.say("same node key, same TLS key, higher seq")
        await _chat(gateway, before["text"]["node"], stages, options)
        await _power_off(operator, process, stages)


async def _published(
    operator: Operator, address: str, registry: str, stages: Stages, options: Any, *, above: int
) -> dict[str, Any]:
    async def newer() -> dict[str, Any] | None:
        shown = await scene.advert(registry, address, operator.folder)
        return shown if shown and shown["seq"] > above and shown["text"]["offers"] else None

    try:
        shown: dict[str, Any] = await scene.comes(newer, "an advert", options.limit_s)
    except AssertionError:
        print(await operator.ssh("journalctl -u waypost --no-pager | tail -50", check=False), file=sys.stderr)
        raise
    boot = "second boot (UEFI): " if above else ""
    stages.done(f"{boot}its advert is on the registry, seq {shown['seq']}")
    return shown


async def _chat(gateway: str, node: str, stages: Stages, options: Any) -> None:
    await scene.comes(lambda: scene.proven(gateway), "the gateway to prove the node", options.limit_s)
    stages.done("the gateway has challenged it over the pinned TLS key")
    said, by = await scene.chat(gateway, options.limit_s)
    assert by == node and said.strip(), (by, said)
    stages.done(f"a streamed chat through the gateway: {said.strip()!r}")


async def _power_off(operator: Operator, process: asyncio.subprocess.Process, stages: Stages) -> None:
    await operator.ssh("systemctl", "poweroff", check=False)
    assert await process.wait() == 0
    stages.done("powered off")


def _built(folder: Path) -> Path:
    """The image with the demo model in it."""
    words = ("deploy", "image", "--out", str(folder / "image"), "--bake", str(CHAT.options()["uri"]))
    env = {key: value for key, value in os.environ.items() if not key.startswith("WAYPOST_")}
    subprocess.run((sys.executable, "-m", "waypost", *words), check=True, env=env, cwd=ROOT)
    return next((folder / "image").glob("*.qcow2"))


def _config(vm: Machine, registry: str) -> str:
    options = {"public_url": _url(vm), "registry": [registry], "access": ["open"]}
    model = {"uri": f"/{MODELS}/{Path(str(CHAT.options()['uri'])).name}", "context": 1024, "parallel": 1, "threads": 1}
    return toml("node", options) + toml(f'node.models."{MODEL}"', model)


def _url(vm: Machine) -> str:
    """As the gateway reaches it; on Aleph it is the machine's own name."""
    return f"https://127.0.0.1:{vm.https_port}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.vm.image_test", description="boots the VM image")
    parser.add_argument("--image", type=Path, help="an image that is there, with the demo model (default: build one)")
    parser.add_argument("--folder", type=Path, default=Path("image/test"), help="emptied, then used")
    parser.add_argument("--accel", choices=sorted(machine.ACCELERATORS), default="tcg")
    parser.add_argument("--limit-s", type=float, default=3600.0, help="the longest of any wait")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
