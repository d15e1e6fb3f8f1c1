"""How large a model is served, from what it says of itself and what the machine has."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.gguf import Metadata, Pooling
from node.hardware import Hardware
from node.kind import Kind
from node.model_config import ModelConfig
from node.sizes.footprint import estimate
from node.sizes.memory import MIB, Memory
from node.sizes.shape import Shape, Tensors
from node.sizes.sizing import size

GIB = 1024**3
CPU = Hardware(threads=6, memory_bytes=32 * GIB)
GPU = Hardware(threads=16, memory_bytes=64 * GIB, gpu="NVIDIA H200", vram_mib=143_771)
SMALL = Metadata("llama", "SmolLM2", "Q4_1", 8192, 30, 23_040, None)
MINILM = Metadata("bert", "MiniLM", "F16", 512, 6, 9216, None, pooling=Pooling.MEAN)
ENGLISH = Shape(layers=12, embedding=768, feed_forward=3072, vocabulary=30_522, heads=12, head_width=64, kept=36_864)
LONG = Metadata("nomic-bert", "Long", "F16", 32_768, 12, 36_864, None, pooling=Pooling.MEAN, shape=ENGLISH)
MANY_WORDS = replace(LONG, shape=replace(ENGLISH, vocabulary=250_002))  # as models of many languages have
CAUSAL = Shape(layers=28, embedding=1024, feed_forward=3072, vocabulary=151_936, heads=16, head_width=128, kept=114_688)
LAST = Metadata("qwen3", "Last", "Q8_0", 32_768, 28, 114_688, None, pooling=Pooling.LAST, shape=CAUSAL)
LARGE = Metadata("llama", "Big", "Q4_K_M", 131_072, 80, 327_680, None)


def test_a_small_model_on_a_cpu() -> None:
    made = size(ModelConfig(), SMALL, Kind.CHAT, 98 * 2**20, CPU)
    assert (made.context, made.parallel, made.threads, made.batch, made.gpu_layers) == (8192, 4, 6, 256, None)


def test_a_large_model_gets_less_where_memory_is_short() -> None:
    made = size(ModelConfig(), LARGE, Kind.CHAT, 40 * GIB, Hardware(8, 48 * GIB))
    assert (made.context, made.parallel) == (2048, 2)
    assert made.context * made.parallel * 327_680 <= 8 * GIB * 0.25


def test_a_gpu_gets_more_and_no_small_batch() -> None:
    made = size(ModelConfig(), LARGE, Kind.CHAT, 40 * GIB, GPU)
    assert made.context * made.parallel * 327_680 <= (143_771 * 2**20 - 40 * GIB) * 0.25
    assert made.parallel == 8
    assert made.batch is None
    assert size(ModelConfig(gpu_layers=0), SMALL, Kind.CHAT, 1, GPU).batch == 256


def test_what_is_asked_for_is_given_up_to_the_trained_context() -> None:
    made = size(ModelConfig(context=100_000, parallel=3, threads=2, gpu_layers=12), SMALL, Kind.CHAT, 1, CPU)
    assert (made.context, made.parallel, made.threads, made.gpu_layers) == (8192, 3, 2, 12)
    assert size(ModelConfig(context=3000), SMALL, Kind.CHAT, 1, CPU).context == 2816  # llama.cpp counts in steps of 256


def test_an_encoder_takes_an_input_in_one_batch() -> None:
    for hardware in (CPU, GPU):
        made = size(ModelConfig(), MINILM, Kind.EMBEDDING, 46 * 2**20, hardware)
        assert (made.context, made.batch) == (512, 512)
        made = size(ModelConfig(), LONG, Kind.EMBEDDING, 300 * 2**20, hardware)
        assert (made.context, made.batch) == (8192, 8192)
    assert size(ModelConfig(context=300), MINILM, Kind.EMBEDDING, 1, CPU).context == 256
    assert size(ModelConfig(context=32_768), LONG, Kind.EMBEDDING, 1, CPU).batch == 32_768


def test_an_encoder_keeps_no_keys_and_values() -> None:
    made = size(ModelConfig(), LONG, Kind.EMBEDDING, 300 * MIB, Hardware(2, 8 * GIB))
    assert (made.context, made.parallel) == (8192, 4)
    assert (made.prompt_cache_mib, made.checkpoints) == (0, 0)


def test_an_encoder_whose_output_would_be_larger_than_the_machine_gets_shorter_inputs() -> None:
    made = size(ModelConfig(), MANY_WORDS, Kind.EMBEDDING, 300 * MIB, Hardware(2, 16 * GIB))
    assert (made.context, made.batch) == (2048, 2048)
    wished = size(ModelConfig(context=8192), MANY_WORDS, Kind.EMBEDDING, 300 * MIB, Hardware(2, 16 * GIB))
    assert wished.context == 8192, "what is asked for is given, and held against the memory later"
    assert estimate(MANY_WORDS, wished, 300 * MIB, on_gpu=False).ram > 8192 * 250_002 * 4


def test_a_model_that_pools_its_last_token_is_sized_as_one_that_chats() -> None:
    made = size(ModelConfig(), LAST, Kind.EMBEDDING, 600 * 2**20, CPU)
    chats = size(ModelConfig(), LAST, Kind.CHAT, 600 * 2**20, CPU)
    assert (made.context, made.parallel, made.batch) == (chats.context, chats.parallel, chats.batch)
    assert made.batch == 256
    assert made.rows == 256, "all that a batch computes is kept"


@pytest.mark.parametrize("gib", [1, 2, 4, 8, 24, 200])
@pytest.mark.parametrize("model", [SMALL, LONG, MANY_WORDS, LAST, LARGE])
def test_what_was_not_asked_for_never_exceeds_the_machine(model: Metadata, gib: int) -> None:
    for weights in (60 * MIB, 300 * MIB):
        made = size(
            ModelConfig(), model, Kind.EMBEDDING if model.pooling else Kind.CHAT, weights, Hardware(2, gib * GIB)
        )
        assert estimate(model, made, weights, on_gpu=False).fits(Memory(gib * GIB))


def test_what_is_remembered_of_earlier_prompts_is_bounded_by_slots_and_by_the_machine() -> None:
    made = size(ModelConfig(context=2048, parallel=4), SMALL, Kind.CHAT, 98 * MIB, CPU)
    assert 2048 * 4 * 23_040 < made.prompt_cache_mib * MIB < 2048 * 4 * 23_040 * 1.1
    assert size(ModelConfig(), LARGE, Kind.CHAT, 40 * GIB, GPU).prompt_cache_mib == 64 * 1024 // 16
    assert size(ModelConfig(), LARGE, Kind.CHAT, 40 * GIB, Hardware(8, 999 * GIB)).prompt_cache_mib <= 8192
    for flags in (("--cache-ram", "77"), ("-cram", "5", "--cache_ram=77"), ("--cache-ram", "77", "--verbose")):
        assert size(ModelConfig(flags=flags), SMALL, Kind.CHAT, 98 * MIB, CPU).prompt_cache_mib == 77, flags
    assert size(ModelConfig(flags=("--cache-ram", "-1")), SMALL, Kind.CHAT, 98 * MIB, CPU).prompt_cache_mib == 8192
    assert size(ModelConfig(flags=("--cache-ram",)), SMALL, Kind.CHAT, 98 * MIB, CPU).prompt_cache_mib > 100


def test_checkpoints_of_windows_are_bounded_too() -> None:
    gemma = replace(LARGE, architecture="gemma3", shape=Shape(kept=40_000, windowed=425_984, window=1024))
    made = size(ModelConfig(context=8192, parallel=4), gemma, Kind.CHAT, 17 * GIB, CPU)
    assert made.checkpoints == 1, "one a slot takes 1.7 GiB, and a sixteenth of the machine is 2"
    small = size(ModelConfig(context=8192, parallel=4), gemma, Kind.CHAT, 17 * GIB, Hardware(8, 20 * GIB))
    assert small.checkpoints == 0
    roomy = size(ModelConfig(context=8192, parallel=4), gemma, Kind.CHAT, 17 * GIB, Hardware(8, 256 * GIB))
    assert roomy.checkpoints == 2
    assert size(ModelConfig(), SMALL, Kind.CHAT, 98 * MIB, CPU).checkpoints == 0


def test_weights_that_the_engine_lays_out_anew_are_not_mapped_as_well() -> None:
    anew = replace(SMALL, shape=Shape(tensors=Tensors(total=100 * MIB, repacked=70 * MIB)))
    assert not size(ModelConfig(), anew, Kind.CHAT, 100 * MIB, CPU).mapped
    assert size(ModelConfig(), anew, Kind.CHAT, 100 * MIB, GPU).mapped
    assert size(ModelConfig(), SMALL, Kind.CHAT, 100 * MIB, CPU).mapped
