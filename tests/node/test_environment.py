"""What engines get of the node's environment."""

from __future__ import annotations

import pytest

from node.engines.environment import for_engine

NEEDED = {
    "PATH": "/bin", "HOME": "/root", "LC_ALL": "C.UTF-8", "LD_LIBRARY_PATH": "/opt/cuda", "CUDA_VISIBLE_DEVICES": "1",
    "OMP_WAIT_POLICY": "ACTIVE", "TMPDIR": "/scratch", "NVIDIA_VISIBLE_DEVICES": "all", "PYTHONUNBUFFERED": "1",
}  # fmt: skip
NOT_THEIRS = (
    "WAYPOST_WALLET", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY", "GITHUB_TOKEN",
    "LLAMA_ARG_PORT", "LLAMA_API_KEY", "DATABASE_URL", "SSH_AUTH_SOCK", "HTTPS_PROXY",
)  # fmt: skip


def test_how_the_machine_is_set_up_is_passed_on() -> None:
    assert for_engine(NEEDED).items() >= NEEDED.items()


@pytest.mark.parametrize("name", NOT_THEIRS)
def test_secrets_and_settings_of_others_are_not(name: str) -> None:
    assert name not in for_engine({name: "secret", **NEEDED})


def test_threads_that_wait_sleep_unless_told_otherwise() -> None:
    assert for_engine({})["GOMP_SPINCOUNT"] == "500"
    assert for_engine({"GOMP_SPINCOUNT": "9"})["GOMP_SPINCOUNT"] == "9"
