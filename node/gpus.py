"""NVIDIA's GPUs, those that engines of this process may use, as the driver's own library (NVML) tells of them.

The one file that imports pynvml. A reading blocks for some milliseconds; opening blocks for seconds where the driver
has to wake a GPU first, and for ever where the driver hangs: `opened` keeps both from an event loop. CUDA's numbers in
CUDA_VISIBLE_DEVICES are taken for NVML's, which they are with CUDA_DEVICE_ORDER=PCI_BUS_ID and wherever all GPUs are
alike. Not here: what GPUs are used for (sizing, engines), GPUs of other makers.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.visible_devices import NvmlDevice, visible

try:
    import pynvml
except ImportError:  # a node of external engines alone may do without
    pynvml = None

_OPEN_S = 10.0
_FIRST_PIDS = 0xEFFFFFFC  # Linux's number of the PID namespace that is no container's


@dataclass(frozen=True)
class Gpu:
    """One GPU at one moment. `index` is nvidia-smi's; `utilization` is 0 to 1 of the last second or less.

    What the driver does not tell is None. Memory is 0 on a GPU that has none of its own.
    """

    index: int
    uuid: str
    name: str
    total_bytes: int
    used_bytes: int
    free_bytes: int
    utilization: float | None = None
    temperature_c: int | None = None
    power_w: float | None = None


class Gpus:
    """The GPUs that there are; none where NVML cannot be used, and `repr` says why."""

    def __init__(self, devices: Sequence[NvmlDevice] = (), why: str = "closed", *, host_pids: bool = True) -> None:
        self._devices = tuple(devices)
        self._why = why
        self._host_pids = host_pids

    @classmethod
    def open(cls, environ: Mapping[str, str] | None = None) -> Gpus:
        """Never raises. Blocks; see `opened`. `environ` is what engines get, os.environ by default."""
        if pynvml is None:
            return cls(why="the Python package nvidia-ml-py is not installed")
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            return cls(why=str(error))
        devices = _devices()
        wish = (os.environ if environ is None else environ).get("CUDA_VISIBLE_DEVICES")
        usable = visible(devices, wish)
        if not usable:
            _shut_down()
            hidden = f"CUDA_VISIBLE_DEVICES={wish} leaves none of {len(devices)}"
            return cls(why=hidden if devices else "NVML lists none")
        return cls(usable, host_pids=_host_pids())

    @classmethod
    async def opened(cls, opening: Callable[[], Gpus] | None = None, wait_s: float = _OPEN_S) -> Gpus:
        """`open` in a thread of its own, which nobody waits for longer than `wait_s`. Never raises."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Gpus] = loop.create_future()

        def take(found: Gpus) -> None:
            if not answer.done():
                answer.set_result(found)

        def run() -> None:
            found = (opening or cls.open)()
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(take, found)

        threading.Thread(target=run, name="nvml", daemon=True).start()
        try:
            async with asyncio.timeout(wait_s):
                return await answer
        except TimeoutError:
            return cls(why=f"the driver did not answer within {wait_s:g} s")

    def read(self) -> tuple[Gpu, ...]:
        """One reading of each. A GPU that fell off the bus is left out. Blocks for some milliseconds a GPU."""
        found = []
        for device in self._devices:
            with suppress(*_refusals()):
                found.append(_read(device))
        return tuple(found)

    def used_by(self, pids: Collection[int]) -> int | None:
        """Bytes of GPU memory that these processes hold together; None where the driver does not tell.

        It does not in many containers, where it knows processes by other numbers, and not under WSL.
        """
        held: list[int | None] = []
        for device in self._devices:
            processes = _processes(device.handle)
            if processes is None:
                return None
            held += [processes[pid] for pid in pids if pid in processes]
        if self._devices and not held and not self._host_pids:
            return None
        return None if None in held else sum(each or 0 for each in held)

    def close(self) -> None:
        if self._devices:
            self._devices, self._why = (), "closed"
            _shut_down()

    def __repr__(self) -> str:
        return f"<Gpus: {', '.join(device.name for device in self._devices) or f'none ({self._why})'}>"


def _refusals() -> tuple[type[Exception], ...]:
    """What pynvml raises where the driver says no, is older than a function, or has a name that is no text."""
    return (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError, UnicodeDecodeError) if pynvml else ()


def _told(reading: Callable[..., Any], *arguments: object) -> Any:
    """The reading, or None."""
    with suppress(*_refusals()):
        return reading(*arguments)
    return None


def _shut_down() -> None:
    _told(pynvml.nvmlShutdown)


def _host_pids() -> bool:
    """Whether our processes have the numbers that the driver knows them by."""
    try:
        return Path("/proc/self/ns/pid").stat().st_ino == _FIRST_PIDS
    except OSError:
        return False


def _devices() -> list[NvmlDevice]:
    """GPUs in the order of nvidia-smi; in place of a GPU that is cut up (MIG), its pieces."""
    found = []
    for index in range(_told(pynvml.nvmlDeviceGetCount) or 0):
        handle = _told(pynvml.nvmlDeviceGetHandleByIndex, index)
        if handle is None:
            continue
        mode = _told(pynvml.nvmlDeviceGetMigMode, handle)
        if mode is not None and mode[0] == pynvml.NVML_DEVICE_MIG_ENABLE:
            pieces = range(_told(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0)
            handles = [_told(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, piece) for piece in pieces]
            found += [_device(index, piece, is_piece=True) for piece in handles if piece is not None]
        else:
            found.append(_device(index, handle, is_piece=False))
    return found


def _device(index: int, handle: object, *, is_piece: bool) -> NvmlDevice:
    uuid, name = (_text(_told(reading, handle)) for reading in (pynvml.nvmlDeviceGetUUID, pynvml.nvmlDeviceGetName))
    return NvmlDevice(index, uuid, name or "NVIDIA GPU", handle, is_piece)


def _text(told: str | bytes | None) -> str:
    """Bytes from some releases of pynvml."""
    return told.decode(errors="replace") if isinstance(told, bytes) else told or ""


def _read(device: NvmlDevice) -> Gpu:
    """Raises NVMLError if the GPU is lost."""
    handle = device.handle
    total, used, free = _memory(handle)
    rates = _told(pynvml.nvmlDeviceGetUtilizationRates, handle)
    milliwatts = _told(pynvml.nvmlDeviceGetPowerUsage, handle)
    return Gpu(
        device.index, device.uuid, device.name, total, used, free,
        utilization=None if rates is None else rates.gpu / 100,
        temperature_c=_told(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
        power_w=None if milliwatts is None else milliwatts / 1000,
    )  # fmt: skip


def _memory(handle: object) -> tuple[int, int, int]:
    try:
        told = pynvml.nvmlDeviceGetMemoryInfo(handle)
    except pynvml.NVMLError_NotSupported:
        return 0, 0, 0
    return told.total, told.used, told.free


def _processes(handle: object) -> dict[int, int | None] | None:
    """Bytes by process, None where they are not told. A process that computes and draws is in both lists, with all."""
    computing = _told(pynvml.nvmlDeviceGetComputeRunningProcesses, handle)
    drawing = _told(pynvml.nvmlDeviceGetGraphicsRunningProcesses, handle) or []
    if computing is None:
        return None
    return {process.pid: process.usedGpuMemory for process in [*drawing, *computing]}
