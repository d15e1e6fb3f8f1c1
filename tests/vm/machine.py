"""A virtual machine: QEMU with a disk of its own over an image, a seed for cloud-init, two ports on 127.0.0.1."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.programs import free_port

HOST_FROM_GUEST = "10.0.2.2"  # QEMU's own network: this machine's loopback, as the guest sees it
# TCG runs anywhere; /dev/kvm may be there and hang, or start firmware and no kernel. TCG is given an old processor: an
# image for any must run there, and 256-bit instructions are slower to emulate than 128-bit ones.
ACCELERATORS = {
    "tcg": ("-accel", "tcg,thread=multi", "-cpu", "Nehalem"),
    "kvm": ("-accel", "kvm", "-cpu", "host"),
}
_UEFI = Path("/usr/share/OVMF")


@dataclass
class Machine:
    """One machine's files and ports; booted as often as one likes."""

    folder: Path
    disk: Path
    seed: Path
    accelerator: tuple[str, ...]
    https_port: int = field(default_factory=free_port)
    ssh_port: int = field(default_factory=free_port)
    boots: int = 0

    @property
    def console(self) -> Path:
        return self.folder / f"console-{self.boots}.txt"

    @contextlib.asynccontextmanager
    async def booted(self, *, uefi: bool = False) -> AsyncIterator[asyncio.subprocess.Process]:
        """Runs until it is powered off from within; killed at the end of the context if it still runs."""
        self.boots += 1
        forward = f"hostfwd=tcp:127.0.0.1:{self.https_port}-:443,hostfwd=tcp:127.0.0.1:{self.ssh_port}-:22"
        words = [
            "qemu-system-x86_64", *self.accelerator, "-smp", "2", "-m", "2048", "-display", "none", "-no-reboot",
            "-drive", f"file={self.disk},if=virtio", "-drive", f"file={self.seed},if=virtio,format=raw,readonly=on",
            "-netdev", f"user,id=net,{forward}", "-device", "virtio-net-pci,netdev=net", "-device", "virtio-rng-pci",
            "-serial", f"file:{self.console}", "-monitor", "none", *(self._firmware() if uefi else ()),
        ]  # fmt: skip
        with (self.folder / "qemu.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(*words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def _firmware(self) -> tuple[str, ...]:
        variables = self.folder / "uefi-variables.fd"
        variables.write_bytes((_UEFI / "OVMF_VARS.fd").read_bytes())
        code = _UEFI / "OVMF_CODE.fd"
        return (
            "-drive", f"if=pflash,format=raw,readonly=on,file={code}",
            "-drive", f"if=pflash,format=raw,file={variables}",
        )  # fmt: skip


def make(folder: Path, image: Path, host_name: str, ssh_key: str, accelerator: tuple[str, ...]) -> Machine:
    """A machine of the image, which itself is never written to. Its disk is 2 GiB larger than the image."""
    disk, seed = folder / "disk.qcow2", folder / "seed.iso"
    kind = image.suffix.lstrip(".")
    words = ("qemu-img", "create", "-q", "-f", "qcow2", "-b", str(image.resolve()), "-F", kind, str(disk))
    subprocess.run(words, check=True)
    subprocess.run(("qemu-img", "resize", "-q", str(disk), "+2G"), check=True)
    (folder / "meta-data").write_text(json.dumps({"instance-id": "iid-test", "local-hostname": host_name}))
    told = {"hostname": host_name, "disable_root": False, "ssh_pwauth": False, "ssh_authorized_keys": [ssh_key]}
    (folder / "user-data").write_text(f"#cloud-config\n{json.dumps(told)}\n")
    words = ("genisoimage", "-quiet", "-output", str(seed), "-volid", "cidata", "-joliet", "-rock")
    subprocess.run((*words, str(folder / "user-data"), str(folder / "meta-data")), check=True)
    return Machine(folder, disk, seed, accelerator)


def aleph_host_name(item_hash: str) -> str:
    """What Aleph's hosts call an instance."""
    return base64.b32encode(bytes.fromhex(item_hash)).decode().rstrip("=").lower()
