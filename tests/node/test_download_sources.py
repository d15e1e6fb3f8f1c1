"""What a URI leads to: files of the hub by its own library, models in several files, a mirror on the web."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from node.store.progress import Progress
from node.store.store import Store
from node.uri import RemoteUri
from node.weights import WeightsError, digest_of_all
from tests.fakes.weights import WeightsHost, digest, weights_host
from tests.node.fetcher import QUICK
from tests.programs import running

PARTS = {f"split-0000{number}-of-00003.gguf": 300_000 + number for number in (1, 2, 3)}
VOICE = {"voice.onnx": 400_000, "voice.onnx.json": 2_000}
FILES = {"model.gguf": 500_000, "picture.safetensors": 100_000, "own.onnx": 1_000, **PARTS, **VOICE}
ALL_PARTS = digest_of_all((digest(name, size), name) for name, size in PARTS.items())
FIRST = "split-00001-of-00003.gguf"


@pytest.fixture(scope="module")
async def host(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WeightsHost]:
    async with weights_host(tmp_path_factory.mktemp("host"), FILES) as running_host:
        yield running_host


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    made = Store(tmp_path / "weights", "http://127.0.0.1:1", limits=QUICK)
    yield made
    await made.close()


async def from_hub(host: WeightsHost, tmp_path: Path, uri: str, **env: str) -> str:
    """What a process that fetches says; the hub's library takes its settings from the environment at import."""
    own = {"HF_ENDPOINT": host.url, "HF_HOME": str(tmp_path / "hub"), "HF_TOKEN": "", "HF_HUB_OFFLINE": "", **env}
    words = ["-m", "tests.node.fetcher", str(tmp_path / "weights"), uri]
    log = tmp_path / f"{hashlib.sha256(f'{uri}{env}'.encode()).hexdigest()[:8]}.log"
    async with running(words, log, own) as program:
        await asyncio.wait_for(program.process.wait(), 90)
    assert "Traceback" not in program.output() and "key=good" not in program.output(), program.output()
    return program.output()


async def test_the_hub_s_file_comes_checked_and_no_credentials_go_to_its_cdn(host: WeightsHost, tmp_path: Path) -> None:
    await host.begin({"cut": 100_000})
    said = await from_hub(host, tmp_path, "hf://gated/repo/deep/model.gguf", HF_TOKEN="good")
    assert f"model.gguf {digest('model.gguf', FILES['model.gguf'])}" in said
    seen = await host.seen()
    assert {asked.get("authorization") for asked in seen if asked["cdn"]} == {None}
    assert {asked.get("authorization") for asked in seen if not asked["cdn"]} == {"Bearer good"}
    assert all("/repo/resolve/" in asked["path"] or asked["cdn"] for asked in seen), "nothing else is asked of the hub"
    first, second = await host.begins()
    assert first == 0 <= second <= 100_000
    await host.begin()
    assert digest("model.gguf", FILES["model.gguf"]) in await from_hub(
        host, tmp_path, "hf://gated/repo/deep/model.gguf", HF_HUB_OFFLINE="1"
    ), "what is here needs no hub"
    assert await host.seen() == []


@pytest.mark.parametrize(
    ("uri", "env", "why"),
    [
        ("hf://gated/repo/model.gguf", {}, "gated/repo is gated; accept its licence on its page at the hub"),
        ("hf://gated/repo/model.gguf", {"HF_TOKEN": "bad"}, "gated/repo is gated; accept its licence"),
        ("hf://nobody/repo/model.gguf", {}, "the hub knows no nobody/repo, or not for everybody; check the name"),
        ("hf://o/r@v9/model.gguf", {}, "o/r has no revision v9; check what follows the @"),
        ("hf://o/r/gone.gguf", {}, "o/r has no file gone.gguf; check the URI"),
        ("hf://o/r/model.gguf", {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set; unset it"),
        ("hf://o/r/model.gguf", {"HF_ENDPOINT": "http://127.0.0.1:1"}, "the hub cannot be asked (ConnectError)"),
        ("hf://o/r/model.gguf#sha256=" + "0" * 64, {}, f"at the hub, not {'0' * 64} as asked for; pin the revision"),
    ],
)  # fmt: skip
async def test_what_the_hub_refuses_is_told_with_the_fix(
    uri: str, env: dict[str, str], why: str, host: WeightsHost, tmp_path: Path
) -> None:
    await host.begin()
    said = await from_hub(host, tmp_path, uri, **env)
    assert f"failed: {uri.partition('#')[0]}: " in said and why in said, said
    assert await host.sent() == 0


@pytest.mark.parametrize("revision", ["v1", "refs%2Fpr%2F1", "main"])
async def test_a_revision_is_pinned_to_its_commit(revision: str, host: WeightsHost, tmp_path: Path) -> None:
    await host.begin()
    said = await from_hub(host, tmp_path, f"hf://o/r@{revision}/model.gguf")
    assert digest("model.gguf", FILES["model.gguf"]) in said
    head, get, cdn = await host.seen()
    assert (head["method"], head["path"]) == ("HEAD", f"/o/r/resolve/{revision}/model.gguf")
    assert len(get["path"].split("/")[4]) == 40 and cdn["cdn"], get


async def test_the_hub_s_parts_are_all_of_one_commit(host: WeightsHost, tmp_path: Path) -> None:
    await host.begin()
    said = await from_hub(host, tmp_path, f"hf://o/r/{FIRST}#sha256={ALL_PARTS}")
    assert f"{FIRST} {digest(FIRST, PARTS[FIRST])}" in said, said
    first, *others = [asked["path"].split("/")[4] for asked in await host.seen() if not asked["cdn"]]
    assert first == "main" and len(set(others)) == 1, others


async def test_parts_that_are_not_what_was_asked_for_at_the_hub_are_not_fetched(
    host: WeightsHost, tmp_path: Path
) -> None:
    await host.begin()
    said = await from_hub(host, tmp_path, f"hf://o/r/{FIRST}#sha256={'0' * 64}")
    assert f"the sha256 of its 3 files together is {ALL_PARTS} at the hub, not {'0' * 64} as asked for; pin" in said
    assert await host.sent() == 0


async def test_a_small_file_of_another_commit_is_not_put_beside_the_new_one(host: WeightsHost, tmp_path: Path) -> None:
    """The hub has a SHA-256 of large files alone."""
    await host.begin()
    await from_hub(host, tmp_path, "hf://o/r/voice.onnx")
    (voice,) = (tmp_path / "weights").glob("*/voice.onnx")
    voice.unlink()
    await host.control(change="voice.onnx", reset=True)
    said = await from_hub(host, tmp_path, "hf://o/r/voice.onnx", AGAIN="1")
    assert digest("voice.onnx", VOICE["voice.onnx"], version=1) in said
    gets = [asked["path"] for asked in await host.seen() if asked["method"] == "GET"]
    assert any(path.endswith("voice.onnx.json") for path in gets), gets


async def test_all_parts_of_a_split_model_come_and_progress_is_over_all(host: WeightsHost, store: Store) -> None:
    await host.begin({"cut": 200_000}, {}, {}, {"cut": 100_000})
    progress = Progress("split")
    path = await store.fetch(RemoteUri.parse(f"{host.file(FIRST)}#sha256={ALL_PARTS}"), progress)
    for name, size in PARTS.items():
        assert hashlib.sha256((path.parent / name).read_bytes()).hexdigest() == digest(name, size)
    assert path.name == FIRST and progress.done == progress.total == sum(PARTS.values())
    await host.begin()
    await store.fetch(RemoteUri.parse(host.file(FIRST)), Progress("again"))
    assert await host.seen() == []


async def test_parts_that_came_before_a_failure_are_kept(host: WeightsHost, store: Store) -> None:
    await host.begin({}, {}, status=404)
    uri = RemoteUri.parse(host.file(FIRST))
    with pytest.raises(WeightsError, match=r"-00003-of-00003.gguf: it answered 404"):
        await store.fetch(uri, Progress("split"))
    await host.begin()
    await store.fetch(uri, Progress("split"))
    assert await host.sent() == PARTS["split-00003-of-00003.gguf"]


async def test_a_wrong_digest_of_all_parts_is_named(host: WeightsHost, store: Store, tmp_path: Path) -> None:
    await host.begin()
    with pytest.raises(WeightsError, match=f"the sha256 of its 3 files together is {ALL_PARTS}, not {'0' * 64}"):
        await store.fetch(RemoteUri.parse(f"{host.file(FIRST)}#sha256={'0' * 64}"), Progress("split"))
    assert not list(tmp_path.rglob("*.gguf"))  # noqa: ASYNC240


async def test_a_voice_brings_its_settings(host: WeightsHost, store: Store) -> None:
    await host.begin()
    path = await store.fetch(RemoteUri.parse(f"{host.file('voice.onnx')}?key=k"), Progress("voice"))
    assert path.name == "voice.onnx" and path.with_name("voice.onnx.json").stat().st_size == VOICE["voice.onnx.json"]
    with pytest.raises(WeightsError, match=r"own.onnx.json: it answered 404: there is no such file"):
        await store.fetch(RemoteUri.parse(host.file("own.onnx")), Progress("own"))


async def test_a_safetensors_file_keeps_its_suffix(host: WeightsHost, store: Store) -> None:
    await host.begin()
    path = await store.fetch(RemoteUri.parse(host.file("picture.safetensors")), Progress("picture"))
    assert path.name == "picture.safetensors"


async def test_over_http_the_log_says_that_nothing_vouches_for_the_bytes(
    host: WeightsHost, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    await host.begin()
    await store.fetch(RemoteUri.parse(f"{host.file('model.gguf')}?1"), Progress("model"))
    assert "use https, or add #sha256=" in caplog.text
    caplog.clear()
    pinned = f"{host.file('model.gguf')}?2#sha256={digest('model.gguf', FILES['model.gguf'])}"
    await store.fetch(RemoteUri.parse(pinned), Progress("model"))
    assert "#sha256=" not in caplog.text
