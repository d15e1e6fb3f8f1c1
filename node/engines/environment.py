"""What an engine gets of this program's environment: how this machine is set up, and none of our secrets.

Engines read what strangers send. So they are given what is named here, and not what happens to be there: tokens and
keys have all kinds of names. Not here: what one kind of engine is told beside (llama, images, audio).
"""

from __future__ import annotations

from collections.abc import Mapping

_NAMES = frozenset(["PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "VIRTUAL_ENV"])
_SYSTEM = ("LC_", "LD_", "XDG_", "MALLOC_", "GLIBC_", "PYTHON", "FONTCONFIG_")
_THREADS = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "GGML_", "ORT_", "CT2_")
_GPUS = ("CUDA_", "NVIDIA_", "CUDNN_", "CUBLAS_", "NCCL_", "HIP_", "HSA_", "ROC", "AMD_", "VK_", "ZE_", "ZES_", "SYCL_",
    "ONEAPI_", "MESA_", "GPU_")  # fmt: skip
_PREFIXES = (*_SYSTEM, *_THREADS, *_GPUS)
_DEFAULTS = {
    # Turns that a thread spins at a barrier before it sleeps. By default it spins on while the thread it waits for has
    # no core: beside two busy processes on 2 cores that took 3 s a token. This costs nothing on a quiet machine.
    "GOMP_SPINCOUNT": "500",
    # GPUs are numbered as NVML does, in the order of their slots; by default the fastest comes first.
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    # Where it aborts, ggml would call a debugger for a backtrace, and keep us waiting.
    "GGML_NO_BACKTRACE": "1",
}


def for_engine(ours: Mapping[str, str]) -> dict[str, str]:
    """The variables of an engine's process, given ours."""
    return _DEFAULTS | {name: value for name, value in ours.items() if name in _NAMES or name.startswith(_PREFIXES)}
