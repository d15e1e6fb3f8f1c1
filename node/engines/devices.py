"""Which devices a model computes on: a model's settings held against what `llama-server --list-devices` says. Pure.

llama.cpp's names, CUDA0 and CUDA1, or RPC0 for the first device of the first RPC worker. Not here: asking llama-server
(llama), what NVML knows of the GPUs (gpus), how large a model is made (sizing).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from node.engines.engine import EngineError
from node.hardware import Hardware
from node.model_config import ModelConfig

_LINE = re.compile(r"^  (\S+): (.*) \((\d+) MiB, (\d+) MiB free\)\s*$", re.MULTILINE)
_NONE = "none"  # llama.cpp's own word
_WORKER = "RPC"
_SETTINGS = ("devices", "split_mode", "tensor_split", "main_gpu")
_BUILD = "build it with CUDA (WAYPOST_CUDA=1 make environment), see that nvidia-smi -L lists a GPU"


@dataclass(frozen=True)
class Device:
    """What llama.cpp can give layers to: `name` is CUDA0 or the like, memory is in MiB as it was when asked."""

    name: str
    description: str
    total_mib: int
    free_mib: int

    @property
    def is_worker(self) -> bool:
        """It is another machine's, or another program's: its memory is not ours to count."""
        return self.name.startswith(_WORKER)


@dataclass(frozen=True)
class Placement:
    """`devices` are those of this machine that the model computes on, `flags` what tells llama-server so."""

    devices: tuple[Device, ...]
    flags: tuple[str, ...]

    @property
    def on_gpu(self) -> bool:
        return bool(self.devices)

    def hardware(self, machine: Hardware) -> Hardware:
        """The machine as the model may use it: of GPU memory, its own devices' alone."""
        if not self.devices:
            return Hardware(machine.threads, machine.memory_bytes)
        return replace(
            machine,
            gpu=machine.gpu or self.devices[0].description,
            vram_mib=sum(device.total_mib for device in self.devices),
            vram_free_bytes=sum(device.free_mib for device in self.devices) * 1024 * 1024,
        )


def parse_devices(printed: str) -> tuple[Device, ...]:
    """From what --list-devices wrote, a driver's chatter included. What has no memory (BLAS) takes no layers."""
    listed = printed.rpartition("Available devices:")[2]
    found = (Device(name, what, int(total), int(free)) for name, what, total, free in _LINE.findall(listed))
    return tuple(device for device in found if device.total_mib)


def names_devices(wish: ModelConfig) -> bool:
    """Whether the settings are about particular devices, so that a list without the RPC workers' would not do."""
    return any(getattr(wish, setting) not in (None, ()) for setting in _SETTINGS)


def place(model: str, wish: ModelConfig, devices: Sequence[Device], *, away: bool = False) -> Placement:
    """Raises EngineError, which names the setting and the fix. `away`: an RPC worker is, so that its devices are not in
    the list, and what may be about them is left to llama-server."""
    try:
        if not away:
            _check_any(wish, devices)
        used = _used(wish, devices, away)
        _check_split(wish)
        if not away:
            _check_counts(wish, used)
    except _Unfit as error:
        raise EngineError(f"[node.models.{model}] {error}") from error
    if wish.split_mode == "none":
        used = used[wish.main_gpu or 0 :][:1]
    ours = tuple(device for device in used if not device.is_worker)
    return Placement(ours if wish.gpu_layers != 0 else (), tuple(_flags(wish)))


class _Unfit(Exception):
    """A setting and what is wrong with it."""


def _check_any(wish: ModelConfig, devices: Sequence[Device]) -> None:
    """Settings for devices, where there are none."""
    if devices or wish.rpc:
        return
    needy = _needing_one(wish)
    if needy:
        raise _Unfit(f"{needy[0]}: this llama-server has no GPU device; {_BUILD}, or drop {' and '.join(needy)}")


def _needing_one(wish: ModelConfig) -> list[str]:
    """The settings that make no sense without a device."""
    needy = [setting for setting in _SETTINGS if getattr(wish, setting) not in (None, (), (_NONE,))]
    return needy + (["gpu_layers"] if wish.gpu_layers not in ("auto", 0) else [])


def _used(wish: ModelConfig, devices: Sequence[Device], away: bool) -> list[Device]:
    """The named ones in their order; else all, llama.cpp's way: RPC workers first."""
    if not wish.devices:
        return sorted(devices, key=lambda device: not device.is_worker)
    if wish.devices == (_NONE,):
        return []
    known = {device.name: device for device in devices}
    for name in wish.devices:
        if name not in known and not (away and name.startswith(_WORKER)):
            there = ", ".join(known) or "none"
            raise _Unfit(f"devices: there is no {name!r}; this llama-server has {there}")
    if len(set(wish.devices)) < len(wish.devices):
        raise _Unfit(f"devices: {', '.join(wish.devices)} names one twice; name each once")
    return [known[name] for name in wish.devices if name in known]


def _check_split(wish: ModelConfig) -> None:
    """Settings that contradict each other, or that llama-server would take and not heed."""
    split = wish.tensor_split
    if split and not (any(split) and all(map(math.isfinite, split))):
        raise _Unfit("tensor_split: no device gets a share; write one number a device, for example 3, 1")
    if split and wish.split_mode == "none":
        raise _Unfit("tensor_split: split_mode none computes on one device; drop one of the two")
    if wish.main_gpu is not None and wish.split_mode not in ("none", "row"):
        raise _Unfit("main_gpu: it counts with split_mode none or row alone; set one of these, or name it in devices")
    needy = _needing_one(wish)
    if wish.devices == (_NONE,) and needy:
        raise _Unfit(f"{needy[0]}: devices none computes on the CPU; drop one of the two")


def _check_counts(wish: ModelConfig, used: Sequence[Device]) -> None:
    names = ", ".join(device.name for device in used) or "none"
    if len(wish.tensor_split) > len(used):
        raise _Unfit(f"tensor_split: {len(wish.tensor_split)} shares for {len(used)} devices ({names}); drop some")
    if wish.main_gpu is not None and wish.main_gpu >= len(used):
        raise _Unfit(f"main_gpu: {wish.main_gpu} is none of {names}; they count from 0 to {len(used) - 1}")


def _flags(wish: ModelConfig) -> list[str]:
    """To stand behind --rpc, by which llama-server comes to know of workers."""
    flags = ["--device", ",".join(wish.devices)] if wish.devices else []
    flags += ["--split-mode", wish.split_mode] if wish.split_mode else []
    flags += ["--tensor-split", ",".join(f"{share:g}" for share in wish.tensor_split)] if wish.tensor_split else []
    flags += ["--main-gpu", str(wish.main_gpu)] if wish.main_gpu is not None else []
    return flags
