"""Fetching one file over a network and from a host that do everything wrong: whole and right, or a clear line."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node.store.progress import Progress
from node.store.site import onward
from node.store.store import Store
from node.uri import RemoteUri
from node.weights import WeightsError
from tests.fakes.weights import NAME, SIZE, WeightsHost, weights_host
from tests.node.fetcher import QUICK

HALF = SIZE // 2
STALLS = replace(QUICK, gap_s=0.3)


@pytest.fixture(scope="module")
async def host(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WeightsHost]:
    async with weights_host(tmp_path_factory.mktemp("host")) as running:
        yield running


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    made = Store(tmp_path / "weights", "http://127.0.0.1:1", limits=STALLS)
    yield made
    await made.close()


async def fetched(store: Store, uri: str) -> str:
    """The SHA-256 of what was fetched."""
    progress = Progress("model")
    path = await store.fetch(RemoteUri.parse(uri), progress)
    assert progress.done == progress.total == path.stat().st_size
    return hashlib.sha256(path.read_bytes()).hexdigest()


def near(begins: list[int], wanted: list[int]) -> None:
    """What had come when a connection broke may be lost as far as nobody had read it: at most a buffer full."""
    assert len(begins) == len(wanted), begins
    for begin, want in zip(begins, wanted, strict=True):
        assert want - 200_000 < begin <= want and (begin == 0) == (want == 0), (begins, wanted)


def left(tmp_path: Path) -> list[str]:
    """What lies in the store, locks aside."""
    return sorted(file.name for file in (tmp_path / "weights").rglob("*") if file.is_file() and file.name != ".lock")


# What the host does with its first answers, then where the bodies begin that make the file whole.
HEALED: dict[str, tuple[list[dict[str, Any]], list[int]]] = {
    "honest": ([], [0]),
    "cut": ([{"cut": HALF}], [0, HALF]),
    "cut twice": ([{"cut": HALF}, {"cut": 1000}], [0, HALF, HALF + 1000]),
    "cut before the first byte": ([{"cut": 0}], [0, 0]),
    "stall": ([{"stall": HALF}], [0, HALF]),
    "stall before the first byte": ([{"stall": 0}], [0, 0]),
    "cut, with a date alone to tell the file by": ([{"cut": HALF, "date_only": True}, {"date_only": True}], [0, HALF]),
    "500": ([{"status": 500}, {"status": 503}], [0]),
    "429 that says when": ([{"status": 429, "retry_after": "0"}], [0]),
    "503 that says a date": ([{"status": 503, "retry_after": "Wed, 01 Jan 2020 00:00:00 GMT"}], [0]),
    "408": ([{"status": 408}], [0]),
    "announced longer than it is": ([{"length": 5}], [0, 0]),
    "changed between two ranges": ([{"cut": HALF}, {"change": True}], [0, 0]),
    "changed, and If-Range ignored": ([{"cut": HALF}, {"change": True, "ignore_if_range": True}], [0, HALF, 0]),
    "no ranges": ([{"cut": HALF, "no_range": True}, {"no_range": True}], [0, 0]),
    "no validator": ([{"cut": HALF, "no_validator": True}], [0, 0]),
    "a weak validator": ([{"cut": HALF, "weak": True}], [0, 0]),
    "a range that begins elsewhere": ([{"cut": HALF}, {"shift": 7}], [0, HALF + 7, 0]),
    "a range of a file of another length": ([{"cut": HALF}, {"total": 7}], [0, HALF, 0]),
    "a range without its validator": ([{"cut": HALF}, {"drop_etag": True}], [0, HALF, 0]),
    "a range shorter than it says": ([{"cut": HALF}, {"length": -7}], [0, HALF, 0]),
    "416": ([{"cut": HALF}, {"status": 416}], [0, 0]),
    "chunked": ([{"chunked": True}], [0]),
    "chunked and cut": ([{"chunked": True, "cut": HALF}], [0, HALF]),
    "redirected to another host": ([{"redirect": "{cdn}/files/" + NAME}], [0]),
    "redirected to a path": ([{"redirect": "/files/" + NAME}], [0]),
}  # fmt: skip


@pytest.mark.parametrize("name", HEALED)
async def test_a_fault_is_healed(name: str, host: WeightsHost, store: Store, tmp_path: Path) -> None:
    script, begins = HEALED[name]
    await host.begin(*script)
    came = await fetched(store, f"{host.file()}?{name.replace(' ', '-')}")
    now = hashlib.sha256(await content(host)).hexdigest()
    assert came == now
    near((await host.begins())[: len(begins)], begins)
    assert (await host.control())["left"] == 0
    assert left(tmp_path) == [f".{NAME}.record", NAME], "no part is left"
    assert not any("authorization" in asked for asked in await host.seen())


async def content(host: WeightsHost) -> bytes:
    """The file as it is at the host now; not counted."""
    async with host._session.get(host.file()) as response:
        return await response.read()


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "401": ({"status": 401}, r"it answered 401: it asks who you are; for hf:// set HF_TOKEN"),
    "403": ({"status": 403}, r"it answered 403: .* accept the model's licence and set HF_TOKEN"),
    "404": ({"status": 404}, r"it answered 404: there is no such file; check the URI"),
    "410": ({"status": 410}, r"it answered 410: the file is gone"),
    "418": ({"status": 418}, r"it answered 418: this is no answer to build on"),
    "204": ({"status": 204}, r"it answered 204: this is no answer to build on"),
    "a page": ({"html": True}, r"it sends a web page, no weights; give the file's own URI"),
    "compressed": ({"gzip": True}, r"it sends the file compressed"),
    "no end": ({"no_length": True}, r"does not say how long the file is; add #sha256="),
    "round and round": ({"redirect": "{self}/files/" + NAME}, r"more than 5 redirects; check the URI"),
    "to a file": ({"redirect": "file:///etc/passwd"}, r"redirects to what is no http\(s\) URL"),
    "to a user": ({"redirect": "http://u:secret@127.0.0.1/x"}, r"redirects to what is no http\(s\) URL without a user"),
    "nowhere": ({"redirect": "http://[::1"}, r"redirects to what is no URL"),
    "without end of trouble": ({"status": 500}, r"it answered 500; given up after 10 tries in a row"),
    "always silent": ({"stall": 0}, r"not a byte within 0.3 s; given up after 10 tries in a row"),
    "cut at the same byte": ({"cut": HALF, "no_range": True}, r"given up after 9 beginnings: try another host"),
    "other each time": ({"cut": HALF, "change": True}, r"it has changed there.*; given up after 9 beginnings"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
async def test_what_cannot_be_healed_is_a_clear_line(
    name: str, host: WeightsHost, store: Store, tmp_path: Path
) -> None:
    fault, why = REFUSED[name]
    await host.begin(**fault)
    uri = RemoteUri.parse(f"{host.file()}?key=secret")
    with pytest.raises(WeightsError, match=f"^{host.file()}: .*{why}") as refused:
        await store.fetch(uri, Progress("model"))
    assert "secret" not in str(refused.value) and "\n" not in str(refused.value)
    assert not [file for file in left(tmp_path) if file.endswith(".gguf")], "nothing looks like a whole file"
    await host.begin()
    assert await fetched(store, str(uri)) == hashlib.sha256(await content(host)).hexdigest(), "and then it can be had"


async def test_a_wrong_digest_is_named_and_nothing_is_kept(host: WeightsHost, store: Store, tmp_path: Path) -> None:
    await host.begin()
    there = hashlib.sha256(await content(host)).hexdigest()
    with pytest.raises(WeightsError, match=f"the sha256 of what came is {there}, not {'0' * 64} as asked for; .*check"):
        await store.fetch(RemoteUri.parse(f"{host.file()}#sha256={'0' * 64}"), Progress("model"))
    assert left(tmp_path) == []
    assert await fetched(store, f"{host.file()}#sha256={there}") == there


async def test_a_file_that_changes_behind_its_validator_is_noticed_by_its_digest(
    host: WeightsHost, store: Store
) -> None:
    await host.begin()
    wanted = hashlib.sha256(await content(host)).hexdigest()
    await host.begin({"cut": HALF, "flip": 3})
    assert await fetched(store, f"{host.file()}#sha256={wanted}") == wanted, "once more from the first byte"
    near(await host.begins(), [0, HALF, 0])


async def test_bytes_that_go_bad_again_and_again_are_refused(host: WeightsHost, store: Store, tmp_path: Path) -> None:
    await host.begin()
    wanted = hashlib.sha256(await content(host)).hexdigest()
    await host.begin({"cut": HALF, "flip": 3}, flip=SIZE - 1)
    with pytest.raises(WeightsError, match="the sha256 of what came is"):
        await store.fetch(RemoteUri.parse(f"{host.file()}?bad#sha256={wanted}"), Progress("model"))
    near(await host.begins(), [0, HALF, 0])
    assert left(tmp_path) == []


async def test_with_a_digest_a_range_needs_no_validator_and_a_body_no_length(host: WeightsHost, store: Store) -> None:
    await host.begin()
    wanted = hashlib.sha256(await content(host)).hexdigest()
    await host.begin({"cut": HALF, "no_validator": True}, {"no_validator": True})
    assert await fetched(store, f"{host.file()}?1#sha256={wanted}") == wanted
    near(await host.begins(), [0, HALF])
    await host.begin({"no_length": True})
    assert await fetched(store, f"{host.file()}?2#sha256={wanted}") == wanted


async def test_a_host_that_is_not_there_is_named(store: Store) -> None:
    with pytest.raises(WeightsError, match=r"^http://127.0.0.1:1/a.gguf: cannot be reached \(.*\); given up after 10"):
        await store.fetch(RemoteUri.parse("http://127.0.0.1:1/a.gguf"), Progress("model"))


@pytest.mark.parametrize(
    ("location", "leads"),
    [("/b", "https://h/b"), ("b#x", "https://h/d/b"), ("//o/b?k=%2F", "https://o/b?k=%2F"), ("http://h/b", None),
     ("ftp://h/b", None), ("https://u@h/b", None), ("data:,x", None)],
)  # fmt: skip
def test_a_redirect_never_leads_from_https_to_less(location: str, leads: str | None) -> None:
    if leads is not None:
        assert onward("https://h/d/a", location) == leads
        return
    with pytest.raises(WeightsError, match="https://h/d/a: it redirects"):
        onward("https://h/d/a", location)


async def test_what_is_there_is_not_asked_for_again_and_needs_no_network(host: WeightsHost, store: Store) -> None:
    await host.begin()
    first = await fetched(store, host.file())
    await host.begin(status=500)
    assert await fetched(store, host.file()) == first
    assert await host.seen() == []
