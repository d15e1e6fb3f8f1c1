"""API keys of a running gateway: hashed at rest, scoped to models, expiring, read again when the file changes."""

from __future__ import annotations

import asyncio
import hashlib
import re
import stat
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import openai
import orjson
import pytest
from openai import AsyncOpenAI

from gateway.config import KeyNewConfig
from gateway.keys import run_new
from tests.gateway.scene import CHAT, Rogue, new_scene, rogue
from tests.programs import running, until, waypost
from tests.stack import Stack, serve_gateway


@dataclass
class Scene:
    """A gateway with `--api-keys` before one node that serves `alpha` and `beta`."""

    stack: Stack
    node: Rogue
    file: Path

    def client(self, key: str) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=self.stack.base_url, api_key=key, max_retries=0)

    def entries(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = orjson.loads(self.file.read_bytes())
        return found

    def write(self, entries: list[dict[str, Any]]) -> None:
        """Replace the file in one step, as an editor does."""
        draft = self.file.with_suffix(".draft")
        draft.write_bytes(orjson.dumps(entries))
        draft.replace(self.file)


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    folder = tmp_path_factory.mktemp("keys")
    stack, operator = new_scene(folder)
    await waypost("gateway", "key", "new", "first", "--api-keys", "keys.json", cwd=folder)
    async with AsyncExitStack() as exits:
        node = await exits.enter_async_context(rogue(folder, "fine"))
        await operator.offer(node, "alpha", "beta")
        await exits.enter_async_context(serve_gateway(stack, ("--api-keys", str(folder / "keys.json")), proven=1))
        yield Scene(stack, node, folder / "keys.json")


def new_key(
    scene: Scene, name: str, capsys: pytest.CaptureFixture[str], *models: str, expires: str | None = None
) -> str:
    """What `waypost gateway key new` does and prints."""
    capsys.readouterr()
    assert run_new(KeyNewConfig(name=name, api_keys=scene.file, models=models, expires=expires)) == 0
    return capsys.readouterr().out.strip()


async def ask(client: AsyncOpenAI, model: str) -> str | None:
    made = await client.chat.completions.create(model=model, messages=CHAT["messages"])
    return made.choices[0].message.content


async def make_look(scene: Scene) -> None:
    """A key that is not known is looked for in the file as it is now."""
    with pytest.raises(openai.AuthenticationError):
        await ask(scene.client("wp-wrong"), "alpha")


async def test_the_command_prints_a_key_once_and_keeps_its_hash(scene: Scene) -> None:
    words = ("gateway", "key", "new", "printed", "--api-keys", "keys.json", "--models", "alpha", "--expires", "12h")
    key = (await waypost(*words, cwd=scene.stack.folder)).strip()
    assert re.fullmatch(r"wp-[A-Za-z0-9_-]{43}", key)
    entry = scene.entries()[-1]
    assert key[3:] not in scene.file.read_text()
    assert entry["sha256"] == hashlib.sha256(key.encode()).hexdigest()
    assert (entry["name"], entry["models"]) == ("printed", ["alpha"])
    assert abs(entry["expires_at"] - time.time() - 12 * 3600) < 60
    assert stat.S_IMODE(scene.file.stat().st_mode) == 0o600
    assert await ask(scene.client(key), "alpha") == "rogue"


async def test_a_name_is_given_once(scene: Scene) -> None:
    words = ("gateway", "key", "new", "first", "--api-keys", "keys.json")
    said = await waypost(*words, cwd=scene.stack.folder, check=False)
    assert "already has a key named 'first'; choose another name" in said
    assert len([entry for entry in scene.entries() if entry["name"] == "first"]) == 1


async def test_a_key_calls_every_model_unless_it_is_scoped(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    client = scene.client(new_key(scene, "every", capsys))
    assert await ask(client, "alpha") == await ask(client, "beta") == "rogue"
    assert [item.id async for item in await client.models.list()] == ["alpha", "beta"]


async def test_a_scoped_key_calls_its_models_alone(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    client = scene.client(new_key(scene, "scoped", capsys, "alpha"))
    before = scene.node.asked
    for name in ("alpha", "alpha-alias", f"alpha@{scene.stack.operator}"):
        assert await ask(client, name) == "rogue"
    for name in ("beta", "beta-alias", f"beta@{scene.stack.operator}"):
        with pytest.raises(openai.PermissionDeniedError) as refused:
            await ask(client, name)
        assert (refused.value.code, refused.value.param) == ("model_not_allowed", "model")
    assert scene.node.asked == before + 3
    assert [item.id async for item in await client.models.list()] == ["alpha"]
    assert (await client.models.retrieve("alpha")).id == "alpha"
    with pytest.raises(openai.PermissionDeniedError):
        await client.models.retrieve("beta")


async def test_a_scoped_key_is_held_to_its_models_at_one_vm_too(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    key = new_key(scene, "scoped-at-vm", capsys, "alpha")
    url = f"{scene.stack.gateway_url}/vm/{scene.node.key.public}/v1"
    client = AsyncOpenAI(base_url=url, api_key=key, max_retries=0)
    assert await ask(client, "alpha") == "rogue"
    with pytest.raises(openai.PermissionDeniedError):
        await ask(client, "beta")
    assert [item.id async for item in await client.models.list()] == ["alpha"]


async def test_a_wrong_key_is_refused_and_not_repeated(scene: Scene) -> None:
    before = scene.node.asked
    for key in ("wp-wrong-key-0123456789", "sk-anything", "wp-" + "A" * 43):
        with pytest.raises(openai.AuthenticationError) as refused:
            await ask(scene.client(key), "alpha")
        assert (refused.value.status_code, refused.value.code) == (401, "invalid_api_key")
        assert key not in str(refused.value)
    assert scene.node.asked == before


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1-openai/chat/completions"])
async def test_no_key_is_401_before_anything_else_is_looked_at(
    scene: Scene, session: aiohttp.ClientSession, path: str
) -> None:
    for headers in ({}, {"Authorization": ""}, {"Authorization": "Bearer "}, {"Authorization": "Basic eDp5"}):
        async with session.post(scene.stack.gateway_url + path, data=b"{nope", headers=headers) as response:
            assert response.status == 401
            assert response.headers["WWW-Authenticate"] == "Bearer"
            error = (await response.json())["error"]
            assert (error["type"], error["code"]) == ("authentication_error", "missing_api_key")


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/alpha", "/vm/nobody/v1/models"])
async def test_the_list_of_models_needs_a_key_too(scene: Scene, session: aiohttp.ClientSession, path: str) -> None:
    async with session.get(scene.stack.gateway_url + path) as response:
        assert response.status == 401


async def test_a_key_may_come_as_x_api_key(
    scene: Scene, session: aiohttp.ClientSession, capsys: pytest.CaptureFixture[str]
) -> None:
    key = new_key(scene, "other-header", capsys)
    async with session.get(f"{scene.stack.base_url}/models", headers={"X-Api-Key": key}) as response:
        assert response.status == 200


async def test_an_expired_key_is_401_and_says_so(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    client = scene.client(new_key(scene, "short-lived", capsys, expires="2999-12-31"))
    assert await ask(client, "alpha") == "rogue"
    *others, entry = scene.entries()
    scene.write([*others, {**entry, "expires_at": int(time.time()) - 1}])
    await make_look(scene)
    with pytest.raises(openai.AuthenticationError) as refused:
        await ask(client, "alpha")
    assert refused.value.code == "expired_api_key"


async def test_a_key_taken_out_of_the_file_ends_in_a_moment(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    client = scene.client(new_key(scene, "to-be-removed", capsys))
    assert await ask(client, "alpha") == "rogue"
    scene.write([entry for entry in scene.entries() if entry["name"] != "to-be-removed"])
    with pytest.raises(openai.AuthenticationError):
        async with asyncio.timeout(90):
            while True:
                await ask(client, "alpha")


async def test_a_key_taken_out_of_the_file_ends_as_soon_as_the_file_is_looked_at(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    client = scene.client(new_key(scene, "removed-too", capsys))
    assert await ask(client, "alpha") == "rogue"
    scene.write([entry for entry in scene.entries() if entry["name"] != "removed-too"])
    await make_look(scene)
    with pytest.raises(openai.AuthenticationError):
        await ask(client, "alpha")


async def test_a_file_that_is_broken_while_running_changes_nothing(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    client = scene.client(new_key(scene, "survivor", capsys))
    assert await ask(client, "alpha") == "rogue"
    whole = scene.file.read_bytes()
    scene.file.write_bytes(b"{half a fi")
    try:
        assert await ask(client, "alpha") == "rogue"
        with pytest.raises(openai.AuthenticationError):
            await ask(scene.client("wp-wrong"), "alpha")
    finally:
        scene.file.write_bytes(whole)


@pytest.mark.parametrize("content", [None, b"{not json", b'[{"name": "x"}]', b'["text"]'])
async def test_a_gateway_does_not_start_on_a_file_that_is_none(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "keys.json").write_bytes(content)
    words = ("--registry", f"sqlite:///{tmp_path}/r.db", "--trust", "any", "--api-keys", str(tmp_path / "keys.json"))
    serve = ("-m", "waypost", "gateway", "serve", "--listen", "127.0.0.1:0", "--state", str(tmp_path), *words)
    async with running(serve, tmp_path / "log.txt") as program:
        await until(lambda: program.process.returncode is not None)
        assert program.process.returncode == 1
        (line,) = program.output().splitlines()
        assert line.startswith(f"waypost: --api-keys {tmp_path}/keys.json")
        assert "waypost gateway key new" in line


@pytest.mark.parametrize("expires", ["soon", "0h", "-1d", "2001-01-31", "12 h", ""])
async def test_an_expiry_that_is_none_is_refused(
    scene: Scene, expires: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = scene.file.read_bytes()
    with pytest.raises(SystemExit) as refused:
        new_key(scene, "never", capsys, expires=expires)
    assert "--expires" in str(refused.value)
    assert scene.file.read_bytes() == before
