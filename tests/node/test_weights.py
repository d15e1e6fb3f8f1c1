"""The model store: whole files only, digests enforced and remembered."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from node.chatml import CHATML, TemplateError, choose
from node.gguf import GgufError, read_metadata
from node.uri import WeightsUri
from node.weights import WeightsError, open_weights
from tests.node.conftest import write_gguf


def test_a_header_tells_what_serving_needs(small_gguf: Path) -> None:
    found = read_metadata(small_gguf)
    assert (found.architecture, found.name, found.quantization) == ("llama", "Small", "Q4_K_M")
    assert (found.context_length, found.block_count, found.chat_template) == (4096, 2, "{{ messages }}")
    assert found.kv_bytes == 2 * 2 * (16 + 16) * 2  # layers, heads, key and value width, bytes


def test_every_truncation_is_noticed(small_gguf: Path, tmp_path: Path) -> None:
    whole = small_gguf.read_bytes()
    cut = tmp_path / "cut.gguf"
    for length in [*range(400), *range(400, len(whole) - 1, 997), len(whole) - 1]:
        cut.write_bytes(whole[:length])
        with pytest.raises(GgufError):
            read_metadata(cut)


def test_damage_never_raises_anything_else(small_gguf: Path, tmp_path: Path) -> None:
    whole = small_gguf.read_bytes()
    bad = tmp_path / "bad.gguf"
    for at in range(4, 600):
        bad.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            read_metadata(bad)
        except GgufError as error:
            assert str(error)


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "it has 0 bytes"), (b"PK" + b"x" * 100, "does not begin with GGUF"), (b"GGUF\x09" + bytes(99), "version 9")],
)
def test_what_is_no_gguf_is_named(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "no.gguf"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=why):
        open_weights(WeightsUri(path), tmp_path)


def test_a_vocabulary_alone_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(GgufError, match="no weights"):
        read_metadata(write_gguf(tmp_path / "vocab.gguf", tensors=0))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"gone\.gguf: there is no such file"):
        open_weights(WeightsUri(tmp_path / "gone.gguf"), tmp_path)


def test_a_digest_is_enforced(small_gguf: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256(small_gguf.read_bytes()).hexdigest()
    assert open_weights(WeightsUri(small_gguf, digest), tmp_path).sha256 == digest
    with pytest.raises(WeightsError, match=f"its sha256 is {digest}, not {'0' * 64}"):
        open_weights(WeightsUri(small_gguf, "0" * 64), tmp_path)


def test_a_digest_is_computed_once_a_file_and_again_when_it_changes(small_gguf: Path, tmp_path: Path) -> None:
    first = open_weights(WeightsUri(small_gguf), tmp_path).sha256
    cache = tmp_path / "digests.json"
    cache.write_text(cache.read_text().replace(first, "f" * 64))
    assert open_weights(WeightsUri(small_gguf), tmp_path).sha256 == "f" * 64  # so it was not read again
    os.utime(small_gguf, ns=(1, 1))
    assert open_weights(WeightsUri(small_gguf), tmp_path).sha256 == first


def test_the_model_s_own_template_is_used_unless_chatml_is_asked_for() -> None:
    assert choose("auto", "own").text == choose("model", "own").text == "own"
    assert choose("auto", None).text == choose("chatml", "own").text == CHATML
    with pytest.raises(TemplateError, match="set template = 'chatml'"):
        choose("model", None)


def test_of_several_files_each_counts_those_of_one_name_too(small_gguf: Path, tmp_path: Path) -> None:
    beside = [tmp_path / folder / small_gguf.name for folder in ("a", "b")]
    for number, file in enumerate(beside):
        file.parent.mkdir()
        file.write_bytes(bytes([number]) * 7)
    alone = open_weights(WeightsUri(small_gguf), tmp_path)
    all_of_it = open_weights(WeightsUri(small_gguf), tmp_path, beside)
    assert all_of_it.size_bytes == alone.size_bytes + 14
    beside[0].write_bytes(b"another")
    assert open_weights(WeightsUri(small_gguf), tmp_path, beside).sha256 != all_of_it.sha256
    with pytest.raises(WeightsError, match="the sha256 of its 3 files together is"):
        open_weights(WeightsUri(small_gguf, alone.sha256), tmp_path, beside)


def test_what_a_download_leaves_in_a_folder_is_not_the_model(tmp_path: Path) -> None:
    folder = tmp_path / "whisper"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"weights")
    before = open_weights(WeightsUri(folder), tmp_path).sha256
    left = folder / ".cache" / "huggingface" / "download"
    left.mkdir(parents=True)
    (left / "model.bin.metadata").write_text("1795226868")
    assert open_weights(WeightsUri(folder), tmp_path).sha256 == before
    hidden = tmp_path / ".models" / "whisper"
    hidden.parent.mkdir()
    folder.rename(hidden)
    assert open_weights(WeightsUri(hidden), tmp_path).sha256 == before, "where the folder itself stands says nothing"


def test_what_is_no_projector_is_named(small_gguf: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.bin"
    other.write_bytes(b"PK" + b"x" * 100)
    for projector, why in ((other, "other.bin: it does not begin with GGUF"), (small_gguf, "it is no projector")):
        with pytest.raises(WeightsError, match=why):
            open_weights(WeightsUri(small_gguf), tmp_path, projector=projector)
    with pytest.raises(WeightsError, match=r"gone\.gguf: there is no such file"):
        open_weights(WeightsUri(small_gguf), tmp_path, projector=tmp_path / "gone.gguf")


@pytest.mark.parametrize("name", ["pipe.gguf", "pipe.onnx"])
def test_a_pipe_is_not_waited_for(name: str, small_gguf: Path, tmp_path: Path) -> None:
    pipe = tmp_path / name
    os.mkfifo(pipe)
    with pytest.raises(WeightsError, match=f"{name}: it is neither a file nor a folder; give the path of one"):
        open_weights(WeightsUri(pipe), tmp_path)
    with pytest.raises(WeightsError, match=f"{name}: it is neither"):
        open_weights(WeightsUri(small_gguf), tmp_path, beside=[pipe])


def test_models_that_are_opened_side_by_side_are_all_remembered(tmp_path: Path) -> None:
    voices = [tmp_path / f"{number}.onnx" for number in range(24)]
    for voice in voices:
        voice.write_bytes(voice.name.encode())
    with ThreadPoolExecutor(12) as pool:
        opened = list(pool.map(lambda voice: open_weights(WeightsUri(voice), tmp_path), voices))
    kept = json.loads((tmp_path / "digests.json").read_text())
    assert {path: entry["sha256"] for path, entry in kept.items()} == {str(each.path): each.sha256 for each in opened}
