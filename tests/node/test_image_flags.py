"""What sd-server is told, what an operator may add, and what its refusals mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.engines.image_flags import ImageSizing, arguments, check_flags, hopeless

SOCKET = Path("/run/0.sock")


def test_weights_without_their_encoders_are_a_diffusion_model() -> None:
    whole = arguments(Path("m.gguf"), {"vae": Path("v.gguf")}, ImageSizing(2), SOCKET)
    assert whole[:4] == ["--model", "m.gguf", "--vae", "v.gguf"]
    parts = arguments(Path("m.gguf"), {"llm": Path("l.gguf"), "vae": Path("v.gguf")}, ImageSizing(2), SOCKET)
    assert parts[:2] == ["--diffusion-model", "m.gguf"]


def test_no_folder_is_searched_for_further_weights() -> None:
    given = arguments(Path("m.gguf"), {}, ImageSizing(2), SOCKET)
    assert given[given.index("--lora-model-dir") + 1] == ""


@pytest.mark.parametrize("flag", ["--listen-port", "-l", "--model", "--lora-model-dir", "--threads", "--help"])
def test_the_nodes_own_flags_are_refused(flag: str) -> None:
    with pytest.raises(ValueError, match="cannot be passed to sd-server"):
        check_flags(["--steps", "20", flag, "x"])


def test_other_flags_pass() -> None:
    check_flags(["--steps", "20", "--vae-tiling", "--offload-to-cpu"])


@pytest.mark.parametrize(
    ("line", "fix"),
    [
        ("[ERROR] common.cpp:290  - error: unknown argument: --bogus", "change flags in [node.models.m]"),
        ("[ERROR] stable-diffusion.cpp:299  - get sd version from file failed: 'x.gguf'", "change its uri"),
        ("|==>|\r[ERROR] model.cpp:1067 - tensor 'first_stage_model.a' not in model file", "[node.models.m] files"),
        ("[ERROR] model.cpp:876  - read tensor data failed: 'cut.gguf'", "fetch it again"),
    ],
)
def test_a_hopeless_start_names_the_fix(line: str, fix: str) -> None:
    assert fix in (hopeless(["[INFO ] loading", line, "[ERROR] main.cpp:92 - new_sd_ctx_t failed"], "m") or "")


def test_other_ends_are_tried_again() -> None:
    assert hopeless(["[INFO ] loading", "terminate called"], "m") is None
