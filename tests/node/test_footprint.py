"""The estimate of memory: how it grows, what it makes of headers that lie, and which settings it says would fit."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter
from hypothesis import given
from hypothesis import strategies as st

from node.gguf import GgufError, Metadata, read_metadata
from node.hardware import Hardware
from node.kind import Kind
from node.model_config import ModelConfig
from node.sizes.footprint import declared, estimate, fitting
from node.sizes.footprint_other import images, speech, transcription
from node.sizes.memory import MIB, Memory
from node.sizes.portions import parts
from node.sizes.shape import MOST, Shape, Tensors, read_shape
from node.sizes.sizing import Sizing, size

GIB = 1024 * MIB
LAYERS = 32
SHAPE = Shape(
    layers=LAYERS, embedding=4096, feed_forward=14_336, vocabulary=128_256, heads=32, head_width=128, kept=131_072,
    tensors=Tensors(4896 * MIB, 400 * MIB, 400 * MIB, (128 * MIB,) * LAYERS),
)  # fmt: skip
MODEL = Metadata("llama", "Eight", "Q4_K_M", 131_072, LAYERS, 131_072, None, shape=SHAPE)
WEIGHTS = 4900 * MIB
BASE = Sizing(8192, 4, 4, None, 256, prompt_cache_mib=512)
WINDOWED = replace(MODEL, architecture="gemma3", shape=replace(SHAPE, kept=20_000, windowed=111_072, window=1024))
RECURRENT = replace(MODEL, architecture="mamba", shape=replace(SHAPE, kept=0, state=40 * MIB, inner=8192))
BLIND = Metadata("llama", None, None, None, None, None, None)
ENCODER = replace(MODEL, architecture="bert")

sizes = st.integers(256, 1 << 20)
models = st.sampled_from([MODEL, WINDOWED, RECURRENT, BLIND, ENCODER])


def of(model: Metadata, sizing: Sizing, on_gpu: bool = False) -> Memory:
    return estimate(model, sizing, WEIGHTS, on_gpu=on_gpu)


@given(models, sizes, sizes, st.integers(1, 256), st.integers(1, 256), st.booleans(), st.booleans())
def test_more_context_and_more_slots_never_take_less(
    model: Metadata, context: int, longer: int, slots: int, more: int, on_gpu: bool, whole: bool
) -> None:
    sizing = replace(BASE, whole=whole, vectors=whole)
    contexts, counts = sorted((context, longer)), sorted((slots, more))
    small = of(model, sizing.of(contexts[0], counts[0]), on_gpu)
    assert small.fits(of(model, sizing.of(contexts[1], counts[0]), on_gpu))
    assert small.fits(of(model, sizing.of(contexts[0], counts[1]), on_gpu))


@given(models, st.integers(0, 200))
def test_layers_move_from_the_machine_to_the_gpu(model: Metadata, layers: int) -> None:
    fewer, more = (of(model, replace(BASE, gpu_layers=count), on_gpu=True) for count in (layers, layers + 1))
    assert fewer.vram <= more.vram
    if model.shape.layers:
        assert fewer.ram >= more.ram - (500 * MIB if layers == 0 else 0), "CUDA itself takes some"
    assert of(model, replace(BASE, gpu_layers=0), on_gpu=True) == of(model, replace(BASE, gpu_layers=0))


def test_a_model_wholly_on_a_gpu_leaves_the_machine_little() -> None:
    taken = parts(MODEL, BASE, WEIGHTS, on_gpu=True)
    assert taken["weights"] == Memory(400 * MIB, WEIGHTS - 400 * MIB)
    assert taken["context"] == Memory(0, 4 * 8192 * 131_072)
    assert sum(taken.values(), Memory()).ram < 2 * GIB
    tied = replace(MODEL, shape=replace(SHAPE, tensors=replace(SHAPE.tensors, output=0)))
    assert parts(tied, BASE, WEIGHTS, on_gpu=True)["weights"] == Memory(400 * MIB, WEIGHTS), "words are there twice"


def test_windows_keep_less_and_recurrent_layers_always_the_same() -> None:
    full, narrow = (parts(model, BASE, WEIGHTS, on_gpu=False)["context"].ram for model in (MODEL, WINDOWED))
    assert narrow == 4 * (20_000 * 8192 + 111_072 * (1024 + 256))
    assert narrow < full
    state = {parts(RECURRENT, BASE.of(context, 4), WEIGHTS, on_gpu=False)["context"].ram for context in (256, 1 << 20)}
    assert state == {4 * 40 * MIB}
    assert parts(ENCODER, BASE, WEIGHTS, on_gpu=False)["context"] == Memory()


def test_attention_without_flash_takes_its_square() -> None:
    plain = of(MODEL, replace(BASE, flash=False)).ram - of(MODEL, BASE).ram
    assert plain == 2 * 32 * 8192 * 256 * 4
    assert of(replace(MODEL, architecture="grok"), BASE).ram - of(MODEL, BASE).ram == plain


def test_a_projector_is_counted_where_it_computes() -> None:
    for on_gpu in (False, True):
        without = estimate(MODEL, BASE, WEIGHTS, on_gpu=on_gpu)
        sees = estimate(MODEL, BASE, WEIGHTS + 600 * MIB, on_gpu=on_gpu, projector_bytes=600 * MIB)
        assert sees - without == (Memory(0, 900 * MIB) if on_gpu else Memory(900 * MIB))


def test_what_the_settings_say_replaces_the_estimate() -> None:
    estimated = Memory(3 * GIB, 9 * GIB)
    assert declared(ModelConfig(), estimated, True) == estimated
    assert declared(ModelConfig(memory_mib=2048), estimated, True) == Memory(3 * GIB, 2 * GIB)
    assert declared(ModelConfig(memory_mib=2048), Memory(3 * GIB), False) == Memory(2 * GIB)


def test_the_settings_that_would_fit_are_written_as_they_are_set() -> None:
    wish = ModelConfig(context=8192, parallel=4)
    need = of(MODEL, BASE)
    assert fitting(MODEL, BASE, wish, WEIGHTS, need - Memory(GIB), False) == "context = 6144, or parallel = 3"
    assert fitting(MODEL, BASE, ModelConfig(), WEIGHTS, need - Memory(GIB), False) == (
        "context = 6144 and parallel = 4, or parallel = 3 and context = 8192"
    )
    fix = fitting(MODEL, replace(BASE, batch=None), wish, WEIGHTS, Memory(64 * GIB, 6 * GIB), True)
    assert fix is not None
    assert re.fullmatch(r"gpu_layers = \d+", fix.split(", or ")[-1]), fix
    assert fitting(MODEL, BASE, wish, WEIGHTS, Memory(WEIGHTS), False) is None
    assert fitting(MODEL, BASE, ModelConfig(memory_mib=9999), WEIGHTS, Memory(GIB), False) is None


def test_where_neither_alone_is_enough_both_are_said() -> None:
    wish, budget = ModelConfig(context=8192, parallel=64), of(MODEL, BASE.of(2048, 1))
    many = replace(BASE.of(8192, 64), prompt_cache_mib=8192)
    fix = fitting(MODEL, many, wish, WEIGHTS, budget - Memory(512 * MIB), False)
    assert fix is not None
    assert fix.endswith("and parallel = 1"), fix


@given(st.sampled_from([MODEL, WINDOWED, RECURRENT]), st.integers(5000, 40_000), st.integers(0, 30_000), st.booleans())
def test_each_setting_that_is_advised_does_fit(model: Metadata, ram_mib: int, vram_mib: int, fixed: bool) -> None:
    """Sized anew with it, as at the next start."""
    hardware = Hardware(8, 48 * GIB, "GPU" if vram_mib else None, 24_000 if vram_mib else 0)
    wish, on_gpu = ModelConfig(context=32_768, parallel=16) if fixed else ModelConfig(), vram_mib > 0
    budget = Memory(ram_mib * MIB, vram_mib * MIB)
    sizing = size(wish, model, Kind.CHAT, WEIGHTS, hardware)
    if estimate(model, sizing, WEIGHTS, on_gpu=on_gpu).fits(budget):
        return
    for advice in (fitting(model, sizing, wish, WEIGHTS, budget, on_gpu) or "").split(", or "):
        told = {name: int(value) for name, value in re.findall(r"(\w+) = (\d+)", advice)}
        if told:
            again = size(wish.model_copy(update=told), model, Kind.CHAT, WEIGHTS, hardware)
            taken = estimate(model, again, WEIGHTS, on_gpu=on_gpu and told.get("gpu_layers") != 0)
            assert taken.fits(budget), f"{advice}: {taken} is more than {budget}"


NUMBERS = st.one_of(st.integers(-5, 5), st.integers(-(1 << 63), 1 << 64), st.booleans())
VALUES = st.one_of(NUMBERS, st.floats(), st.text(max_size=5), st.lists(NUMBERS, max_size=6), st.none())
KEYS = [
    "block_count", "embedding_length", "feed_forward_length", "attention.head_count", "attention.head_count_kv",
    "attention.key_length", "attention.value_length", "attention.sliding_window", "attention.sliding_window_pattern",
    "attention.shared_kv_layers", "attention.recurrent_layers", "full_attention_interval", "ssm.conv_kernel",
    "ssm.inner_size", "ssm.state_size", "ssm.group_count", "expert_used_count", "expert_feed_forward_length",
    "vocab_size", "wkv.head_size", "kda.head_dim", "shortconv.l_cache", "attention.key_length_mla",
]  # fmt: skip


@given(
    st.sampled_from(["llama", "gemma3", "gemma4", "mamba", "qwen3next", "rwkv7"]),
    st.dictionaries(st.sampled_from(KEYS), VALUES),
)
def test_a_header_may_hold_anything(architecture: str, fields: dict[str, Any]) -> None:
    shape = read_shape({f"{architecture}.{key}": value for key, value in fields.items()}, architecture, Tensors())
    found = Metadata(architecture, None, None, None, None, None, None, shape=shape)
    for layers in (None, 0, 1, 10**9):
        for on_gpu in (False, True):
            taken = of(found, replace(BASE, gpu_layers=layers), on_gpu)
            assert 0 < taken.ram < MOST**5
            assert 0 <= taken.vram < MOST**5
    fitting(found, BASE, ModelConfig(), WEIGHTS, Memory(8 * GIB), False)


def test_what_is_missing_counts_as_much() -> None:
    assert of(BLIND, BASE).ram > of(MODEL, BASE).ram


@pytest.mark.parametrize(
    ("key", "value"),
    [("general.alignment", 0), ("general.architecture", ["llama"]), ("llama.embedding_length", "wide"),
     ("llama.attention.head_count", [0, 0]), ("llama.block_count", 0), ("split.count", "all"), ("general.name", [1.5])],
)  # fmt: skip
def test_a_file_with_a_senseless_field_is_read_or_refused_in_words(tmp_path: Path, key: str, value: Any) -> None:
    try:
        found = read_metadata(_written(tmp_path / "odd.gguf", key, value))
    except GgufError as error:
        assert key in str(error)
    else:
        assert of(found, BASE).ram > 0


def _written(path: Path, key: str, value: Any) -> Path:
    writer = GGUFWriter(path, "llama")
    fields = {"llama.block_count": 2, "llama.embedding_length": 64, "llama.attention.head_count": 4, key: value}
    if key == "general.architecture":
        writer.kv_data[0].clear()
    for name, known in fields.items():
        add = writer.add_array if isinstance(known, list) else writer.add_string if isinstance(known, str) else None
        add(name, known) if add else writer.add_uint32(name, known)
    writer.add_tensor("t", np.zeros((8, 8), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_other_engines_take_more_with_slots_and_pixels() -> None:
    assert speech(60 * MIB, 4).ram > speech(60 * MIB, 1).ram > 60 * MIB
    assert transcription(75 * MIB, 2).ram > transcription(75 * MIB, 1).ram
    large = images(2 * GIB, 1024 * 1024, on_gpu=True)
    assert large.vram > 8 * GIB > GIB > large.ram
    assert images(80 * MIB, 512 * 512, on_gpu=False).ram < GIB
    assert images(0, 4096, on_gpu=False).ram > 0
