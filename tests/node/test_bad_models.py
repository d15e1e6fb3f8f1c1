"""Models that cannot be served, beside one that can: each is a clear line for the operator, and none is offered."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from deploy import demo
from tests.fakes.weights import weights_host
from tests.node.agent import Agent, agent, chat
from tests.node.test_publishing import Operator, delegate, put
from tests.node.tiny_model import write_model
from tests.programs import healthy

pytestmark = pytest.mark.engine

GOOD = "good"
SIZES = {"context": 512, "parallel": 1, "threads": 1}
PICKY = (
    "{% if messages[0]['content'].startswith('Hello') %}{{ raise_exception('no greetings') }}{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
)


@dataclass(frozen=True)
class Bad:
    """A model and the line that it gets; `{file}` in it is its file."""

    name: str
    uri: str
    line: str
    settings: dict[str, Any] = field(default_factory=dict)


def bad_models(folder: Path) -> Iterator[Bad]:
    """Each with a file of its own."""

    def file(name: str, **options: Any) -> Path:
        return write_model(folder / f"{name}.gguf", **options)

    def written(name: str, content: bytes) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    whole = file("whole")
    half = written("truncated.gguf", whole.read_bytes()[:200_000])
    yield Bad("truncated", str(half), r"{file}: it is truncated: 200000 of \d+ bytes are there; download it again")
    newer = "get another model or conversion, or name a newer llama.cpp with --llama-server"
    nosuch = r"{file}: this llama-server cannot load it \(unknown model architecture: 'nosuch'\); " + newer
    yield Bad("nosuch", str(file("nosuch", architecture="nosuch")), nosuch)
    text = written("text.gguf", b"This is no model.\n" * 99)
    yield Bad("text", str(text), "{file}: it does not begin with GGUF; give a model in GGUF format")
    digest = r"{file}: its sha256 is \w{64}, not 0{64} as asked for; get the right file"
    yield Bad("digest", f"{whole}#sha256={'0' * 64}", digest)
    yield Bad("gone", str(folder / "gone.gguf"), "{file}: there is no such file; check the path")
    lacks = r"{file}: it lacks what its architecture needs \(tensor 'blk.0.ffn_up.weight' not found\); "
    lacks += "fetch it again, or get another conversion of the model"
    yield Bad("lacking", str(file("lacking", without=["blk.0.ffn_up.weight"])), lacks)
    unread = r"its chat template cannot be used \(parser: .*\); set template = 'chatml' in \[node.models.unread\]"
    yield Bad("unread", str(file("unread", template="{% for m in messages %}{{ m.content ")), unread)
    picky = r"asked on chat.completions: status 400: .*no greetings.*; set template = 'chatml' in \[node.models.picky\]"
    yield Bad("picky", str(file("picky", template=PICKY)), picky)
    encoder = r"its GGUF is an encoder \(bert\), which writes no text; drop kind = 'chat'"
    yield Bad("encoder", str(demo.EMBEDDING.options()["uri"]), encoder, {"kind": "chat"})
    eyes = str(demo.VISION.settings["projector"])
    other = rf"{eyes}: it belongs to another model \(mismatch between text model \(n_embd = 64\) and mmproj "
    other += r"\(n_embd = 576\)\); change projector in \[node.models.sighted\]"
    yield Bad("sighted", str(whole), other, {"projector": eyes})
    yield Bad("eyes", eyes, "{file}: it is a projector, which lets a model see; give the model as uri, and .*")
    yield Bad("flagged", str(whole), r"llama-server says '.*--nonsense'; change flags in .*", {"flags": ["--nonsense"]})
    yield Bad("mute", str(written("mute.onnx", b"no voice")), "its model could not be loaded: .*")
    yield Bad("dark", str(written("dark.safetensors", b"no picture" * 99)), "sd-server says '.*'; .*")


@dataclass(frozen=True)
class Scene:
    """A node that publishes, with all of the bad models and a good one, once it has tried each."""

    node: Agent
    bad: tuple[Bad, ...]
    operator: Operator


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    folder = tmp_path_factory.mktemp("node")
    bad, operator = tuple(bad_models(folder)), Operator(folder)
    models: dict[str, dict[str, Any]] = {each.name: {"uri": each.uri, **each.settings} for each in bad}
    models[GOOD] = {"uri": str(write_model(folder / "good.gguf")), **SIZES}
    published = {"registry": [operator.registry], "public_url": "http://127.0.0.1:1", "access": ["open"]}
    async with contextlib.AsyncExitStack() as stack:
        node = await stack.enter_async_context(agent(folder, models, **published))
        put(operator, operator.delegation(delegate(operator)))
        yield Scene(node, bad, operator)
        assert "Traceback" not in node.program.output()


async def test_each_is_one_line_that_names_the_fix(scene: Scene) -> None:
    log = scene.node.program.output()
    for bad in scene.bad:
        said = [line for line in log.splitlines() if f"{bad.name} is not served: " in line]
        assert len(said) == 1, (bad, said)
        line = bad.line.replace("{file}", re.escape(bad.uri.partition("#")[0]))
        assert re.fullmatch(rf".* ERROR waypost\.node {bad.name} is not served: {line}", said[0]), said
    assert "next start in" not in log, "none is started again"


async def test_health_says_which_failed_and_not_why(scene: Scene, session: aiohttp.ClientSession) -> None:
    health = await healthy(session, f"{scene.node.url}/health", scene.node.program, lambda _: True)
    assert {name for name, model in health["models"].items() if model["state"] == "failed"} == {
        bad.name for bad in scene.bad
    }
    assert health["models"][GOOD]["state"] == "ready"
    assert ".gguf" not in str(health)


async def test_the_good_one_alone_is_listed_and_answers(scene: Scene, session: aiohttp.ClientSession) -> None:
    async with session.get(f"{scene.node.url}/v1/models") as response:
        assert [item["id"] for item in (await response.json())["data"]] == [GOOD]
    status, answer = await chat(session, scene.node.url, GOOD, "Who are you?")
    assert status == 200, answer
    for bad in scene.bad:
        status, answer = await chat(session, scene.node.url, bad.name, "Who are you?")
        assert (status, answer["error"]["code"]) == (503, "model_not_loaded"), bad


async def test_the_good_one_alone_is_advertised(scene: Scene) -> None:
    advert = await scene.operator.advert(1)
    assert [offer.model for offer in advert.offers] == [GOOD]


async def test_a_model_too_large_is_told_what_would_fit(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    uri = str(write_model(tmp_path / "good.gguf"))
    large = {"uri": uri, "context": 4096, "parallel": 256, "threads": 1}
    good = {"uri": uri, **SIZES, "memory_mib": 300}
    async with agent(tmp_path, {"large": large, GOOD: good}, ram_mib=500) as node:
        log = node.program.output()
        said = re.findall(r"large is not served: (.*)", log)
        assert len(said) == 1
        needs = r"it needs \S+ [MG]iB RAM, and 200 MiB RAM are there beside the models that are kept loaded .*; "
        fix = re.fullmatch(needs + r"set (.*)", said[0])
        assert fix is not None, said
        status, answer = await chat(session, node.url, "large", "Who are you?")
        assert (status, answer["error"]["code"]) == (503, "model_not_loaded")
        assert (await chat(session, node.url, GOOD, "Who are you?"))[0] == 200
    for number, choice in enumerate(fix[1].split(", or ")):
        told = {name: int(value) for name, value in re.findall(r"(\w+) = (\d+)", choice)}
        assert told, choice
        (folder := tmp_path / str(number)).mkdir()
        async with agent(folder, {"large": large | told, GOOD: good}, ram_mib=500) as node:
            assert (await chat(session, node.url, "large", "Who are you?"))[0] == 200, "and that fits"


async def test_weights_without_room_on_the_disk(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    async with weights_host(tmp_path) as host:
        await host.begin(length=10**15)
        models = {GOOD: {"uri": str(write_model(tmp_path / "good.gguf")), **SIZES}, "vast": {"uri": host.file()}}
        async with agent(tmp_path, models) as node:
            log = await node.program.saw("vast is not served: ")
            store = tmp_path / "state" / "weights"
            assert re.search(
                rf"vast is not served: {store}/\S+: .* are still to come .* too little; free them, or", log
            )
            assert (await chat(session, node.url, GOOD, "Who are you?"))[0] == 200
            status, answer = await chat(session, node.url, "vast", "Who are you?")
            assert (status, answer["error"]["code"]) == (503, "model_not_loaded")
            assert log.count("vast is not served") == 1 and "Traceback" not in log


async def test_what_was_said_to_help_helps(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    settings = {"uri": str(write_model(tmp_path / "picky.gguf", template=PICKY)), "template": "chatml", **SIZES}
    async with agent(tmp_path, {"picky": settings}) as node:
        assert (await chat(session, node.url, "picky", "Hello!"))[0] == 200


async def test_weights_of_nonsense_are_served_all_the_same(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    whole = bytearray(write_model(tmp_path / "odd.gguf").read_bytes())
    whole[-100_000:] = bytes(100_000)
    (tmp_path / "odd.gguf").write_bytes(whole)
    async with agent(tmp_path, {"odd": {"uri": str(tmp_path / "odd.gguf"), **SIZES}}) as node:
        assert (await chat(session, node.url, "odd", "Hello!"))[0] == 200
