"""What a node adds to each endpoint: `make bench-endpoints ARGS="--requests 100 --pairs 4 chat"`.

The same engine process is asked through the node and at its own socket, in rounds by turns, so that the difference is
the node's. Where the node makes the answer itself (rerank by embeddings, pictures), the bare engine is asked for what
the node asks of it. Engines that are not set up are left out, with a line that says so.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench.asking import BadAnswer, Door, Figures, Request, rounds
from deploy import demo
from deploy.demo import Demo, NotInstalled
from tests.node.agent import Agent, agent

REQUESTS, PAIRS, AT_ONCE = 100, 4, 1
SAID = "A waypost stands where two roads meet, and shows the way."
DOCUMENTS = [f"Document {number} is about roads, signs, and the towns they lead to." for number in range(8)]
CHAT = {"messages": [{"role": "user", "content": "Name a colour."}], "max_tokens": 1}
STREAM = {**CHAT, "max_tokens": 32, "ignore_eos": True, "stream": True}
PICTURE = {"prompt": "a lighthouse", "size": "64x64", "steps": 1, "cfg_scale": 1.0, "seed": 1}
JOB = {
    "prompt": "a lighthouse", "width": 64, "height": 64, "seed": 1, "batch_count": 1, "output_format": "png",
    "sample_params": {"sample_steps": 1, "guidance": {"txt_cfg": 1.0}}, "embed_image_metadata": False,
}  # fmt: skip
SPEECH = {"input": SAID, "response_format": "wav"}


@dataclass(frozen=True)
class Case:
    """One endpoint: what the node is asked, and what the engine. A slow one gets but a `share` of the requests."""

    name: str
    model: Demo
    node: Request
    engine: Request
    share: float = 1.0


def cases(spoken: bytes | None) -> list[Case]:
    """A case of transcription needs something that was spoken."""
    tokens = {"content": SAID}
    found = [
        _same("chat, 1 token", demo.CHAT, "v1/chat/completions", CHAT),
        _same("chat, 32 tokens streamed", demo.CHAT, "v1/chat/completions", STREAM, share=0.2),
        Case(
            "tokenize by proxy", demo.CHAT,
            Request("model/proxy/tokenize", tokens, headers={"X-Waypost-Model": demo.CHAT.name}),
            Request("tokenize", tokens),
        ),
        _same("embeddings, 1 text", demo.EMBEDDING, "v1/embeddings", {"input": SAID}),
        Case(
            "rerank, 8 documents", demo.EMBEDDING, _named(demo.EMBEDDING, "v1/rerank", query=SAID, documents=DOCUMENTS),
            Request("v1/embeddings", {"input": [SAID, *DOCUMENTS], "encoding_format": "base64"}),
        ),
        Case(
            "image 64x64, 1 step", demo.IMAGE, _named(demo.IMAGE, "v1/images/generations", **PICTURE),
            Request("sdcpp/v1/img_gen", JOB, job=True), share=0.2,
        ),
        _same("speech, 3 s", demo.SPEECH, "v1/audio/speech", SPEECH, share=0.2),
    ]  # fmt: skip
    if spoken is not None:
        asked = Request("v1/audio/transcriptions", {"model": demo.TRANSCRIPTION.name}, spoken)
        found.append(Case("transcription, 3 s", demo.TRANSCRIPTION, asked, asked, share=0.1))
    return found


def _named(model: Demo, path: str, **fields: object) -> Request:
    return Request(path, {"model": model.name, **fields})


def _same(name: str, model: Demo, path: str, fields: Mapping[str, object], share: float = 1.0) -> Case:
    asked = _named(model, path, **fields)
    return Case(name, model, asked, asked, share)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.endpoints", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="WORD", help="only cases whose name has this word")
    parser.add_argument("--requests", type=int, default=REQUESTS, help="in a round; slow endpoints get fewer")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="of rounds: one through the node, one at the engine")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="requests at the same time")
    asyncio.run(measure(parser.parse_args()))


async def measure(chosen: argparse.Namespace) -> None:
    """Start a node with all that is set up, and print a line a case."""
    models = _installed()
    print_head(chosen)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        tables = {model.name: model.options() for model in models}
        node = await stack.enter_async_context(agent(folder, tables, log_level="warning"))
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(600)))
        served = await _served(session, node)
        for case in cases(await _spoken(session, node, served)):
            if case.model.name not in served:
                print(f"{case.name:<26} left out: {case.model.what} is not served here")
            elif not chosen.words or any(word in case.name for word in chosen.words):
                await _case(case, node, session, chosen)


def _installed() -> list[Demo]:
    found = []
    for model in demo.DEMOS:
        try:
            model.options()
        except NotInstalled as missing:
            print(f"not set up: {missing}")
        else:
            found.append(model)
    return [model for model in found if model is not demo.VISION]


async def _served(session: aiohttp.ClientSession, node: Agent) -> list[str]:
    async with session.get(f"{node.url}/health") as response:
        told = (await response.json())["models"]
    return [name for name, at in told.items() if at["state"] == "ready"]


async def _spoken(session: aiohttp.ClientSession, node: Agent, served: Sequence[str]) -> bytes | None:
    if not {demo.SPEECH.name, demo.TRANSCRIPTION.name} <= set(served):
        return None
    async with session.post(f"{node.url}/v1/audio/speech", json={"model": demo.SPEECH.name, **SPEECH}) as response:
        return await response.read()


async def _case(case: Case, node: Agent, session: aiohttp.ClientSession, chosen: argparse.Namespace) -> None:
    engine, socket = _engine(case.model, node)
    connector = aiohttp.UnixConnector(socket, limit=0, force_close=True)  # as the node asks it
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(600)) as bare:
        doors = ((Door(session, node.url), case.node), (Door(bare, "http://engine"), case.engine))
        pids, count = (node.program.pid, engine), max(1, round(chosen.requests * case.share))
        try:
            await rounds(doors, pids, min(count, 3), 1, 1)  # to warm up
            through, direct = await rounds(doors, pids, count, chosen.at_once, chosen.pairs)
        except* BadAnswer as bad:
            print(f"{case.name:<26} left out: {bad.exceptions[0]}")
        else:
            print_row(case.name, through, direct, node.program.pid, engine)


def _engine(model: Demo, node: Agent) -> tuple[int, str]:
    """The process that serves a model, and its socket: both stand in its command line."""
    weights = str(model.options()["uri"])
    for pid in node.engines():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        if weights in words:
            return pid, next(word for word in words if word.endswith(".sock"))
    raise RuntimeError(f"no engine of {model.name}")


def print_head(chosen: argparse.Namespace) -> None:
    print(f"{chosen.pairs} pairs of rounds, {chosen.at_once} at once; ms; CPU is user + system per request")
    ours, bare = f"{'req/s':>8} {'p50':>8} {'p99':>8}", f"{'bare':>8} {'p50':>8} {'p99':>8}"
    print(f"{'':<26} {'n':>5} {ours}  {bare} {'req/s ratio':>18} {'p50 more':>9} {'agent CPU':>10} {'engine CPU':>17}")


def print_row(name: str, through: Figures, direct: Figures, agent_pid: int, engine_pid: int) -> None:
    """The ratio is that of each pair's rounds: the middle one, and the least and the most."""
    ratios = sorted(ours / bare for ours, bare in zip(through.rates, direct.rates, strict=True))
    spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"
    more = through.percentile_s(0.5) - direct.percentile_s(0.5)
    engine = f"{through.cpu_ms_each(engine_pid):.1f} / {direct.cpu_ms_each(engine_pid):.1f}"
    print(
        f"{name:<26} {len(through.each_s):>5} {_shown(through)}  {_shown(direct)} {spread:>18} {1000 * more:>9.1f}"
        f" {through.cpu_ms_each(agent_pid):>10.1f} {engine:>17}",
        flush=True,
    )


def _shown(figures: Figures) -> str:
    rate = len(figures.each_s) / sum(len(figures.each_s) / len(figures.rates) / rate for rate in figures.rates)
    return f"{rate:>8.1f} {1000 * figures.percentile_s(0.5):>8.1f} {1000 * figures.percentile_s(0.99):>8.1f}"


if __name__ == "__main__":
    main()
