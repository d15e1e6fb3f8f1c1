"""On which devices a model computes: settings held against what llama-server lists, for real with two RPC workers."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from node.chatml import CHATML, Template
from node.engines.devices import Device, Placement, parse_devices, place
from node.engines.engine import EngineError
from node.engines.llama import Build, LlamaEngine, find_build, find_place
from node.engines.llama_flags import check_flags
from node.hardware import Hardware
from node.life import State
from node.model_config import ModelConfig
from node.process import ProcessLimits
from node.sizes.sizing import Sizing
from relay.limits import Limits
from tests.node.agent import agent, chat
from tests.node.test_rpc import worker
from tests.programs import free_port

# What a CUDA build writes on a machine with three GPUs, standard error first.
CUDA = """ggml_cuda_init: found 3 CUDA devices:
  Device 0: NVIDIA H200, compute capability 9.0, VMM: yes
Available devices:
  CUDA0: NVIDIA H200 (143156 MiB, 142640 MiB free)
  CUDA1: NVIDIA H200 (143156 MiB, 9000 MiB free)
  CUDA2: NVIDIA L4 (rev. a1) (22478 MiB, 22000 MiB free)
  BLAS: OpenBLAS (0 MiB, 0 MiB free)
"""
GPUS = parse_devices(CUDA)
MACHINE = Hardware(threads=8, memory_bytes=64 * 2**30, gpu="NVIDIA H200", vram_mib=308_790)


def placed(there: tuple[Device, ...] = GPUS, /, **settings: Any) -> Placement:
    return place("m", ModelConfig(**settings), there)


def test_the_list_is_read() -> None:
    assert list(GPUS) == [
        Device("CUDA0", "NVIDIA H200", 143156, 142640),
        Device("CUDA1", "NVIDIA H200", 143156, 9000),
        Device("CUDA2", "NVIDIA L4 (rev. a1)", 22478, 22000),
    ]


@pytest.mark.parametrize(
    "printed", ["", "Available devices:\n  (none)\n", "error: no such option\n", "CUDA0: x (1 MiB)"]
)
def test_a_list_of_nothing_is_empty(printed: str) -> None:
    assert parse_devices(printed) == ()


@pytest.mark.parametrize(
    ("settings", "flags", "used"),
    [
        ({}, "", "CUDA0 CUDA1 CUDA2"),
        ({"devices": ["CUDA2"]}, "--device CUDA2", "CUDA2"),
        ({"devices": ["CUDA1", "CUDA0"]}, "--device CUDA1,CUDA0", "CUDA1 CUDA0"),
        ({"tensor_split": [3, 1]}, "--tensor-split 3,1", "CUDA0 CUDA1 CUDA2"),
        ({"tensor_split": [0.5, 0, 0.25]}, "--tensor-split 0.5,0,0.25", "CUDA0 CUDA1 CUDA2"),
        ({"split_mode": "none"}, "--split-mode none", "CUDA0"),
        ({"split_mode": "none", "main_gpu": 2}, "--split-mode none --main-gpu 2", "CUDA2"),
        (
            {"split_mode": "row", "main_gpu": 1, "devices": ["CUDA0", "CUDA1"], "tensor_split": [1, 1]},
            "--device CUDA0,CUDA1 --split-mode row --tensor-split 1,1 --main-gpu 1",
            "CUDA0 CUDA1",
        ),
        ({"devices": ["none"]}, "--device none", ""),
        ({"gpu_layers": 0}, "", ""),
        ({"gpu_layers": 12}, "", "CUDA0 CUDA1 CUDA2"),
    ],
)
def test_settings_that_fit_become_flags(settings: dict[str, Any], flags: str, used: str) -> None:
    placement = placed(**settings)
    assert " ".join(placement.flags) == flags
    assert " ".join(device.name for device in placement.devices) == used
    assert placement.on_gpu is bool(used)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"devices": ["CUDA3"]}, "devices: there is no 'CUDA3'; this llama-server has CUDA0, CUDA1, CUDA2"),
        ({"devices": ["cuda0"]}, "devices: there is no 'cuda0'; this llama-server has "),
        ({"devices": ["CUDA0", "none"]}, "devices: there is no 'none'; "),
        ({"devices": ["CUDA0,CUDA1"]}, "devices: there is no 'CUDA0,CUDA1'; "),
        ({"devices": ["CUDA0", "CUDA0"]}, "devices: CUDA0, CUDA0 names one twice; name each once"),
        ({"tensor_split": [1, 1, 1, 1]}, "tensor_split: 4 shares for 3 devices (CUDA0, CUDA1, CUDA2); drop some"),
        ({"tensor_split": [1, 1], "devices": ["CUDA1"]}, "tensor_split: 2 shares for 1 devices (CUDA1); drop some"),
        ({"tensor_split": [0, 0]}, "tensor_split: no device gets a share; write one number a device, for example 3, 1"),
        ({"tensor_split": [1, float("inf")]}, "tensor_split: no device gets a share"),
        ({"tensor_split": [1], "split_mode": "none"}, "tensor_split: split_mode none computes on one device; drop one"),
        ({"main_gpu": 3, "split_mode": "none"}, "main_gpu: 3 is none of CUDA0, CUDA1, CUDA2; they count from 0 to 2"),
        ({"main_gpu": 1, "split_mode": "row", "devices": ["CUDA2"]}, "main_gpu: 1 is none of CUDA2; they count from 0"),
        ({"main_gpu": 0}, "main_gpu: it counts with split_mode none or row alone; set one of these, or name it in dev"),
        ({"devices": ["none"], "gpu_layers": 4}, "gpu_layers: devices none computes on the CPU; drop one of the two"),
        ({"devices": ["none"], "split_mode": "row"}, "split_mode: devices none computes on the CPU; drop one of the"),
    ],
)
def test_settings_that_do_not_fit_are_one_line_with_the_fix(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(EngineError, match=f"^{re.escape('[node.models.m] ' + said)}"):
        placed(**settings)


@pytest.mark.parametrize(
    ("settings", "key", "drop"),
    [
        ({"devices": ["CUDA0"]}, "devices", "devices"),
        ({"split_mode": "none"}, "split_mode", "split_mode"),
        ({"tensor_split": [1]}, "tensor_split", "tensor_split"),
        ({"main_gpu": 0, "split_mode": "row"}, "split_mode", "split_mode and main_gpu"),
        ({"gpu_layers": 99}, "gpu_layers", "gpu_layers"),
    ],
)
def test_without_a_gpu_the_settings_for_one_are_refused(settings: dict[str, Any], key: str, drop: str) -> None:
    said = f"[node.models.m] {key}: this llama-server has no GPU device; build it with CUDA (WAYPOST_CUDA=1 make "
    with pytest.raises(EngineError, match=f"^{re.escape(said)}.*, or drop {drop}$"):
        placed((), **settings)


def test_without_a_gpu_a_model_computes_on_the_cpu() -> None:
    for settings in ({}, {"gpu_layers": 0}, {"gpu_layers": "auto"}, {"devices": ["none"]}):
        placement = placed((), **settings)
        assert (placement.on_gpu, placement.hardware(MACHINE)) == (False, Hardware(8, 64 * 2**30))


def test_a_model_is_sized_for_its_own_devices() -> None:
    assert placed().hardware(MACHINE).vram_mib == 2 * 143156 + 22478
    one = placed(devices=["CUDA2"]).hardware(MACHINE)
    assert (one.threads, one.vram_mib, one.vram_free_bytes) == (8, 22478, 22000 * 2**20)
    assert placed(gpu_layers=0).hardware(MACHINE).gpu is None
    unseen = Hardware(threads=8, memory_bytes=64 * 2**30)
    assert placed(devices=["CUDA2"]).hardware(unseen).gpu == "NVIDIA L4 (rev. a1)", "a GPU that NVML does not know"


@pytest.mark.parametrize(
    ("flag", "setting"),
    [("--device", "devices"), ("-dev", "devices"), ("--split-mode=row", "split_mode"), ("-sm", "split_mode"),
     ("--tensor_split", "tensor_split"), ("-ts", "tensor_split"), ("--main-gpu", "main_gpu"), ("-mg", "main_gpu"),
     ("-ngl", "gpu_layers")],
)  # fmt: skip
def test_as_flags_they_are_refused_with_the_settings_name(flag: str, setting: str) -> None:
    with pytest.raises(
        ValueError, match=f"^{flag.partition('=')[0]} cannot be passed to llama-server: set {setting} = "
    ):
        check_flags([flag])


@contextlib.asynccontextmanager
async def two_workers(folder: Path) -> Any:
    """Two RPC workers, listening; gives their addresses."""
    async with contextlib.AsyncExitStack() as exits:
        addresses = []
        for name in ("first", "second"):
            (folder / name).mkdir()
            port = free_port()
            await exits.enter_async_context(worker(folder / name, port))
            addresses.append(f"127.0.0.1:{port}")
        yield addresses


async def layers(build: Build, weights: Path, folder: Path, wish: ModelConfig, caplog: Any) -> Counter[str]:
    """How many of the model's layers a real llama-server put onto each device."""
    placement = await find_place(build, "m", wish)
    sizing = Sizing(context=256, parallel=1, threads=1, gpu_layers=None, batch=None)
    engine = LlamaEngine(
        build, "m", weights, Template(CHATML, own=True), sizing, ["--verbose"], folder / "0.sock", ProcessLimits(),
        Limits(), workers=wish.rpc, placement=placement.flags,
    )  # fmt: skip
    caplog.clear()
    caplog.set_level("DEBUG")
    running = asyncio.create_task(engine.run())
    async with asyncio.timeout(60):
        while engine.life.state in (State.NEW, State.STARTING):
            await engine.life.changed()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert engine.life.failure is None, engine.life.failure
    return Counter(re.findall(r"layer +\d+ assigned to device (\w+)", caplog.text))


@pytest.mark.engine
async def test_layers_go_where_the_settings_say(
    weights: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    build = await find_build(None)
    async with two_workers(tmp_path) as workers:

        async def spread(**settings: Any) -> dict[str, int]:
            return dict(await layers(build, weights, tmp_path, ModelConfig(rpc=workers, **settings), caplog))

        whole = sum((await spread(split_mode="none", main_gpu=1)).values())
        assert await spread(split_mode="none", main_gpu=1) == {"RPC1": whole}
        assert await spread(devices=["RPC1"]) == {"RPC1": whole}
        uneven = await spread(tensor_split=[3, 1])
        assert 2 < uneven["RPC0"] / uneven["RPC1"] < 4
        turned = await spread(devices=["RPC1", "RPC0"], tensor_split=[3, 1], split_mode="layer")
        assert (turned["RPC1"], turned["RPC0"]) == (uneven["RPC0"], uneven["RPC1"])
        assert await spread(devices=["none"]) == {"CPU": whole}


@pytest.mark.engine
async def test_workers_are_devices_and_their_memory_is_not_ours(tmp_path: Path) -> None:
    build = await find_build(None)
    async with two_workers(tmp_path) as workers:
        for settings in ({"devices": ["RPC2"]}, {"tensor_split": [1, 1, 1]}, {"split_mode": "row", "main_gpu": 2}):
            with pytest.raises(EngineError, match="RPC0, RPC1"):
                await find_place(build, "m", ModelConfig(rpc=workers, **settings))
        placement = await find_place(build, "m", ModelConfig(rpc=workers, devices=["RPC1"], gpu_layers=8))
        assert (placement.on_gpu, placement.hardware(MACHINE).vram_mib) == (False, 0)


@pytest.mark.engine
async def test_a_worker_that_is_away_is_no_fault_of_the_settings() -> None:
    build = await find_build(None)
    rpc = (f"127.0.0.1:{free_port()}",)
    placement = await find_place(build, "m", ModelConfig(rpc=rpc, devices=["RPC0", "RPC1"], tensor_split=[3, 1]))
    assert placement.flags == ("--device", "RPC0,RPC1", "--tensor-split", "3,1")
    with pytest.raises(EngineError, match="there is no 'CUDA7'; this llama-server has none"):
        await find_place(build, "m", ModelConfig(rpc=rpc, devices=["CUDA7"]))
    with pytest.raises(EngineError, match="no device gets a share"):
        await find_place(build, "m", ModelConfig(rpc=rpc, tensor_split=[0]))


@pytest.mark.engine
async def test_a_node_serves_the_models_whose_settings_fit(
    weights: Path, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    small = {"uri": str(weights), "context": 256, "parallel": 1, "threads": 1}
    async with two_workers(tmp_path) as rpc:
        models: dict[str, dict[str, Any]] = {
            "second": {**small, "rpc": rpc, "devices": ["RPC1"], "flags": ["--verbose"]},
            "elsewhere": {**small, "devices": ["CUDA0"]},
            "layers": {**small, "gpu_layers": 99},
            "shares": {**small, "rpc": rpc, "tensor_split": [1, 1, 1]},
        }
        async with agent(tmp_path, models) as node:
            status, body = await chat(session, node.url, "second", "Hello")
            assert status == 200, body
            said = node.program.output()
            assert set(re.findall(r"layer +\d+ assigned to device (\w+)", said)) == {"RPC1"}
            for model, key in (("elsewhere", "devices"), ("layers", "gpu_layers"), ("shares", "tensor_split")):
                assert f"{model} is not served: [node.models.{model}] {key}: " in said
