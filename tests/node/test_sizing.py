"""How large a model is served, from what it says of itself and what the machine has."""

from __future__ import annotations

from node.gguf import Metadata, Pooling
from node.hardware import Hardware
from node.kind import Kind
from node.model_config import ModelConfig
from node.sizing import size

GIB = 1024**3
CPU = Hardware(threads=6, memory_bytes=32 * GIB)
GPU = Hardware(threads=16, memory_bytes=64 * GIB, gpu="NVIDIA H200", vram_mib=143_771)
SMALL = Metadata("llama", "SmolLM2", "Q4_1", 8192, 30, 23_040, None)
MINILM = Metadata("bert", "MiniLM", "F16", 512, 6, 9216, None, pooling=Pooling.MEAN)
LONG = Metadata("nomic-bert", "Long", "F16", 32_768, 12, 36_864, None, pooling=Pooling.MEAN)
LAST = Metadata("qwen3", "Last", "Q8_0", 32_768, 28, 114_688, None, pooling=Pooling.LAST)
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
    made = size(ModelConfig(), LONG, Kind.EMBEDDING, 300 * 2**20, Hardware(2, 400 * 2**20))
    assert (made.context, made.parallel) == (8192, 4)


def test_a_model_that_pools_its_last_token_is_sized_as_one_that_chats() -> None:
    made = size(ModelConfig(), LAST, Kind.EMBEDDING, 600 * 2**20, CPU)
    assert made == size(ModelConfig(), LAST, Kind.CHAT, 600 * 2**20, CPU)
    assert made.batch == 256
