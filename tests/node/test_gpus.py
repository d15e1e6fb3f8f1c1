"""GPUs as the driver's library tells of them: a library of ours in the driver's place, loaded as that one is."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from node.gpus import Gpus
from node.visible_devices import NvmlDevice, visible
from tests.programs import ROOT

SOURCE = ROOT / "tests" / "fakes" / "nvml" / "nvml.c"
GIB = 2**30
H200 = f"gpu GPU-aaaa {141 * GIB} {100 * GIB} 37 61 412500 NVIDIA H200"
L4 = f"gpu GPU-bbbb {24 * GIB} {24 * GIB} 0 35 16250 NVIDIA L4"
CUT = f"{H200}\npiece MIG-cccc {17 * GIB} {16 * GIB} MIG 1g.18gb\npiece MIG-dddd {17 * GIB} {9 * GIB} the other"
NAMES = "[gpu.name for gpu in gpus.read()]"


def build(folder: Path, *flags: str) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler, by which the driver's stand-in is built")
    library = folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", *flags, "-o", library, SOURCE], check=True, timeout=60)
    return folder


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("driver"))


def ask(driver: Path, figures: str, words: str, **env: str) -> Any:
    """What `words` come to in a program of its own where that driver is, and these figures are true."""
    file = driver / "figures.txt"
    file.write_text(figures)
    program = (
        "import asyncio, json, os, pathlib, sys\nfrom node.gpus import Gpus\nfrom node.hardware import detect\n"
        f"def now(figures): pathlib.Path({str(file)!r}).write_text(figures)\n"
        f"gpus = Gpus.open()\nprint(json.dumps({words}, default=vars))"
    )
    known = {name: value for name, value in os.environ.items() if not name.startswith(("CUDA_", "WAYPOST_"))}
    known |= {"LD_LIBRARY_PATH": str(driver), "FAKE_NVML": str(file), "PYTHONPATH": str(ROOT), **env}
    done = subprocess.run([sys.executable, "-c", program], env=known, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_each_gpu_is_read(driver: Path) -> None:
    first, second = ask(driver, f"{H200}\n{L4}", "gpus.read()")
    assert first == {
        "index": 0, "uuid": "GPU-aaaa", "name": "NVIDIA H200", "total_bytes": 141 * GIB, "used_bytes": 41 * GIB,
        "free_bytes": 100 * GIB, "utilization": 0.37, "temperature_c": 61, "power_w": 412.5,
    }  # fmt: skip
    assert (second["index"], second["name"], second["utilization"]) == (1, "NVIDIA L4", 0.0)
    assert ask(driver, f"{H200}\n{L4}", "repr(gpus)") == "<Gpus: NVIDIA H200, NVIDIA L4>"


def test_the_hardware_has_the_sum_of_them(driver: Path) -> None:
    hardware = ask(driver, f"{H200}\n{L4}", "asyncio.run(detect())")
    assert (hardware["gpu"], hardware["vram_mib"]) == ("NVIDIA H200", 165 * 1024)
    assert hardware["vram_free_bytes"] == 124 * GIB
    assert [gpu["uuid"] for gpu in hardware["gpus"]] == ["GPU-aaaa", "GPU-bbbb"]
    assert ask(driver, L4, "asyncio.run(detect(gpus))")["gpu"] == "NVIDIA L4"
    none = ask(driver, "", "asyncio.run(detect())")
    assert (none["gpu"], none["vram_mib"], none["vram_free_bytes"], none["gpus"]) == (None, 0, 0, [])


@pytest.mark.parametrize(
    ("figures", "why"),
    [
        ("init 4", "Insufficient Permissions"),
        ("init 9", "Driver Not Loaded"),
        ("init 18", "version mismatch"),
        ("init 999", "Unknown Error"),
        ("", "NVML lists none"),
    ],
)
def test_a_driver_that_says_no_is_a_machine_without_gpus(driver: Path, figures: str, why: str) -> None:
    said, read, used = ask(
        driver, f"{figures}\n{L4 if figures else ''}", "[repr(gpus), gpus.read(), gpus.used_by([1])]"
    )
    assert said.startswith("<Gpus: none (")
    assert why in said
    assert (read, used) == ([], 0)


def test_no_library_and_no_package_are_machines_without_gpus(tmp_path: Path, driver: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").touch()
    words = "[repr(gpus), gpus.read(), gpus.used_by([1]), gpus.close()]"
    assert ask(tmp_path, L4, words) == ["<Gpus: none (NVML Shared Library Not Found)>", [], 0, None]
    (tmp_path / "pynvml.py").write_text("raise ImportError('no')")
    said = "<Gpus: none (the Python package nvidia-ml-py is not installed)>"
    assert ask(driver, L4, words, PYTHONPATH=f"{tmp_path}:{ROOT}") == [said, [], 0, None]


def test_what_the_driver_does_not_tell_is_none(driver: Path) -> None:
    (gpu,) = ask(driver, "gpu GPU-e 1000 400 -1 -1 -1 NVIDIA GB10", "gpus.read()")
    assert (gpu["utilization"], gpu["temperature_c"], gpu["power_w"]) == (None, None, None)
    assert (gpu["total_bytes"], gpu["used_bytes"]) == (1000, 600)
    (gpu,) = ask(driver, "gpu GPU-e -1 -1 50 40 5000 NVIDIA GB10", "gpus.read()")
    assert (gpu["total_bytes"], gpu["used_bytes"], gpu["free_bytes"]) == (0, 0, 0), "it has no memory of its own"
    assert gpu["power_w"] == 5.0


def test_a_name_that_is_no_text_does_no_harm(driver: Path) -> None:
    file = driver / "strange.txt"
    file.write_bytes(b"gpu GPU-e 1000 400 1 1 1 \xff\xfe\n")
    assert ask(driver, "", NAMES, FAKE_NVML=str(file)) == ["NVIDIA GPU"]


def test_a_gpu_that_falls_off_the_bus_is_left_out(driver: Path) -> None:
    lost = "gpu GPU-aaaa -15 -15 -15 -15 -15 NVIDIA H200"
    words = f"[{NAMES}, now({lost + chr(10) + L4!r}), {NAMES}, now({H200 + chr(10) + L4!r}), {NAMES}]"
    both = ["NVIDIA H200", "NVIDIA L4"]
    assert ask(driver, f"{H200}\n{L4}", words) == [both, None, ["NVIDIA L4"], None, both]


def test_a_gpu_that_cannot_be_used_is_not_counted(driver: Path) -> None:
    both = f"{H200}\n{L4}"
    assert ask(driver, both, NAMES, CUDA_VISIBLE_DEVICES="1") == ["NVIDIA L4"]
    assert ask(driver, both, NAMES, CUDA_VISIBLE_DEVICES="GPU-bb,0") == ["NVIDIA L4", "NVIDIA H200"]
    said = ask(driver, both, "repr(gpus)", CUDA_VISIBLE_DEVICES="")
    assert said == "<Gpus: none (CUDA_VISIBLE_DEVICES= leaves none of 2)>"


def test_a_piece_of_a_gpu_is_a_gpu(driver: Path) -> None:
    """CUDA gives a program one piece, the first if none is named."""
    (piece,) = ask(driver, CUT, "gpus.read()")
    assert (piece["index"], piece["uuid"], piece["total_bytes"]) == (0, "MIG-cccc", 17 * GIB)
    assert piece["utilization"] is None
    (piece,) = ask(driver, CUT, "gpus.read()", CUDA_VISIBLE_DEVICES="MIG-dddd")
    assert (piece["name"], piece["free_bytes"]) == ("the other", 9 * GIB)
    assert ask(driver, f"{CUT}\nprocess 2 10 5", "gpus.used_by([10])", CUDA_VISIBLE_DEVICES="MIG-dddd") == 5


GPUS = [NvmlDevice(n, uuid, "ABC"[n], None) for n, uuid in enumerate(("GPU-aa11", "GPU-aa22", "GPU-bb33"))]


@pytest.mark.parametrize(
    ("wish", "seen"),
    [
        (None, "ABC"),
        ("0,1,2", "ABC"),
        (" 2 , 0 ", "CA"),
        ("", ""),
        ("-1", ""),
        ("NoDevFiles", ""),
        ("1,-1,0", "B"),
        ("1,7,0", "B"),
        ("1,1", ""),
        ("GPU-bb", "C"),
        ("GPU-aa", ""),
        ("GPU-aa2,GPU-bb33", "BC"),
        ("GPU-aa22,1", ""),
        ("bb33", ""),
        ("MIG-aa", ""),
    ],
)
def test_cudas_variable_is_read_as_cuda_reads_it(wish: str | None, seen: str) -> None:
    assert "".join(device.name for device in visible(GPUS, wish)) == seen


def test_memory_of_processes_is_summed_over_gpus(driver: Path) -> None:
    figures = f"{H200}\n{L4}\nprocess 0 10 100\nprocess 1 10 20\nprocess 1 11 3\nprocess 0 99 5000"
    assert ask(driver, figures, "gpus.used_by({10, 11})") == 123
    assert ask(driver, figures, "gpus.used_by({10, 11})", CUDA_VISIBLE_DEVICES="0") == 100
    both_lists = f"{H200}\nprocess 0 10 100\ndrawing 0 10 100\ndrawing 0 12 7"
    assert ask(driver, both_lists, "gpus.used_by([10, 12])") == 107


def test_memory_that_the_driver_does_not_tell_is_none_and_not_nothing(driver: Path, tmp_path: Path) -> None:
    assert ask(driver, f"{H200}\nprocess 0 10 -1", "gpus.used_by({10})") is None
    words = "[Gpus(gpus._devices, host_pids=host).used_by({10}) for host in (True, False)]"
    assert ask(driver, f"{H200}\nprocess 0 99 5000", words) == [0, None], "a container's numbers are not the driver's"
    assert ask(driver, f"{H200}\nprocess 0 10 8", words) == [8, 8]
    old = build(tmp_path, "-DOLD_DRIVER")
    assert ask(old, f"{H200}\nprocess 0 10 8", "[gpus.used_by({10}), len(gpus.read())]") == [None, 1]


def test_closing_one_leaves_the_others_open(driver: Path) -> None:
    words = "[gpus.close(), gpus.close(), repr(gpus), gpus.read(), gpus.used_by([1]), other.read()[0].name]"
    assert ask(driver, L4, f"(lambda other: {words})(Gpus.open())") == [
        None, None, "<Gpus: none (closed)>", [], 0, "NVIDIA L4",
    ]  # fmt: skip
    assert ask(driver, L4, "[gpus.close(), Gpus.open().read()[0].name]") == [None, "NVIDIA L4"]


async def test_a_driver_that_hangs_is_not_waited_for() -> None:
    hung = threading.Event()

    def opening() -> Gpus:
        hung.wait()
        return Gpus()

    gpus = await Gpus.opened(opening, wait_s=0.01)
    hung.set()
    assert repr(gpus) == "<Gpus: none (the driver did not answer within 0.01 s)>"
    assert asyncio.get_running_loop().is_running()
