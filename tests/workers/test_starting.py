"""Worker programs from their start to their end, which both have in common."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import running, until
from tests.workers.words import LONG
from tests.workers.worker import HOST, ready, started


async def test_it_answers_while_it_loads_and_ends_when_told(tmp_path: Path) -> None:
    voice = tmp_path / "voice.onnx"
    os.mkfifo(f"{voice}.json")  # nobody writes to it, so it is read for ever
    async with started(tmp_path, "speech", voice) as worker:
        assert (await worker.health())[0] == 503
        answered = await worker.say("Hello.")
        assert answered.error() == (503, None, "loading")
        assert await worker.program.stop() == 0


@pytest.mark.parametrize("program", ["speech", "transcription"])
async def test_a_model_that_is_not_there(program: str, tmp_path: Path) -> None:
    async with started(tmp_path, program, tmp_path / "nothing") as worker:
        assert await asyncio.wait_for(worker.program.process.wait(), 60) == 1
        assert "waypost: the model could not be loaded" in worker.program.output()
        assert "Traceback" not in worker.program.output()


async def test_a_model_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"not a model")
    async with started(tmp_path, "transcription", tmp_path) as worker:
        assert await asyncio.wait_for(worker.program.process.wait(), 60) == 1
        assert "waypost: the model could not be loaded" in worker.program.output()


async def test_a_voice_without_its_settings(voice: Path, tmp_path: Path) -> None:
    (tmp_path / "voice.onnx").symlink_to(voice)
    async with started(tmp_path, "speech", tmp_path / "voice.onnx") as worker:
        assert await asyncio.wait_for(worker.program.process.wait(), 60) == 1
        assert "voice.onnx.json is missing; put" in worker.program.output()


async def test_settings_of_something_else(voice: Path, tmp_path: Path) -> None:
    (tmp_path / "voice.onnx").symlink_to(voice)
    (tmp_path / "voice.onnx.json").write_text("[1]")
    async with started(tmp_path, "speech", tmp_path / "voice.onnx") as worker:
        assert await asyncio.wait_for(worker.program.process.wait(), 60) == 1
        assert "voice.onnx.json is no configuration of a Piper voice" in worker.program.output()


async def test_it_ends_in_the_midst_of_an_answer(voice: Path, tmp_path: Path) -> None:
    async with ready(tmp_path, "speech", voice) as worker:
        body = {"model": "voice", "input": LONG}
        async with worker.session.post(f"{HOST}/v1/audio/speech", json=body) as response:
            await response.content.readany()
            assert await worker.program.stop() == 0
            with pytest.raises(Exception, match=r"not completed|reset|disconnected"):
                await response.read()  # so it does not look complete


async def test_a_stale_socket_is_no_hindrance(tmp_path: Path) -> None:
    voice, path = tmp_path / "voice.onnx", str(tmp_path / "worker.sock")
    os.mkfifo(f"{voice}.json")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    words = ["-m", "node.workers.speech", "--socket", path, "--model", str(voice)]
    async with running(words, tmp_path / "log") as program:
        await until(lambda: _listens(path), program.output)
        assert await program.stop() == 0


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


async def test_a_socket_path_that_is_too_long(tmp_path: Path) -> None:
    words = ["-m", "node.workers.speech", "--socket", str(tmp_path / ("x" * 108)), "--model", "voice.onnx"]
    async with running(words, tmp_path / "log") as program:
        assert await asyncio.wait_for(program.process.wait(), 60) == 1
        assert "waypost: --socket: the socket's path is longer than 107 bytes" in program.output()


@pytest.mark.parametrize("program", ["speech", "transcription"])
def test_nothing_heavy_is_imported_before_the_socket_listens(program: str) -> None:
    code = f"import sys, node.workers.{program}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"numpy", "av", "onnxruntime", "piper", "faster_whisper", "ctranslate2"}
