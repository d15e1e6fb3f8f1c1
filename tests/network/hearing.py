"""A stream as the official client hears it, read in the background while the test does something to the network.

Nothing here waits for longer than a guard that is far beyond every limit of the gateway: what hangs, fails.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import openai
from openai import AsyncOpenAI

from tests.network.scene import Scene, Speaker
from tests.network.speaker import MODEL, PROMPT_TOKENS, text
from tests.programs import until

GUARD_S = 60.0


class Hearing:
    """What was heard so far, and how it ended: `finish` where it was whole, else `error`."""

    def __init__(self) -> None:
        self.node = ""
        self.text = ""
        self.ids: set[str] = set()
        self.finish: str | None = None
        self.usage: Any = None
        self.error: Exception | None = None
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return (
            f"<Hearing {len(self.text.split())} words, ids={len(self.ids)} finish={self.finish} error={self.error!r}>"
        )

    def listen(self, client: AsyncOpenAI, body: dict[str, Any]) -> None:
        self._task = asyncio.create_task(self._listen(client, body))

    async def words(self, number: int) -> None:
        """Wait until that many were heard."""
        assert self._task is not None
        task = self._task
        await until(
            lambda: len(self.text.split()) >= number or task.done(), lambda: f"word {number}: {self!r}", limit_s=GUARD_S
        )
        assert len(self.text.split()) >= number, f"{self!r}"

    async def end(self) -> None:
        """Wait until it is over, well or not."""
        assert self._task is not None
        await asyncio.wait_for(self._task, GUARD_S)

    def is_whole(self, words: int) -> None:
        """Every word once and in order, under one id, with its end and what it took. Fails the test otherwise."""
        assert self.error is None, f"{self!r}"
        assert self.text == text(words), f"{self!r}: {self.text}"
        assert self.finish == "stop" and len(self.ids) == 1, f"{self!r}"
        assert (self.usage.prompt_tokens, self.usage.completion_tokens) == (PROMPT_TOKENS, words), f"{self.usage}"

    def is_broken(self) -> None:
        """It ended in an error, and nothing in it looks complete."""
        assert isinstance(self.error, openai.APIError), f"{self!r}"
        assert self.finish is None, f"{self!r}"

    async def close(self) -> None:
        if self._task is not None and not self._task.done():
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _listen(self, client: AsyncOpenAI, body: dict[str, Any]) -> None:
        try:
            raw = await client.chat.completions.with_raw_response.create(**body)
            self.node = raw.headers.get("Waypost-Node", "")
            async for chunk in raw.parse():
                self.ids.add(chunk.id)
                self.usage = chunk.usage or self.usage
                for choice in chunk.choices:
                    self.text += choice.delta.content or ""
                    self.finish = choice.finish_reason or self.finish
        except Exception as error:  # whatever the client makes of a broken stream is what the test asks for
            self.error = error


class Ear:
    """The client of one test, which hears several streams at once."""

    def __init__(self, scene: Scene, client: AsyncOpenAI) -> None:
        self._scene = scene
        self._client = client
        self._all: list[Hearing] = []

    def ask(self, words: int, **more: Any) -> Hearing:
        """Ask for so many words, as a deterministic request."""
        made = Hearing()
        self._all.append(made)
        made.listen(self._client, self._body(words, more))
        return made

    async def whole(self, words: int, **more: Any) -> Hearing:
        """Ask, and hear it to its end."""
        made = self.ask(words, **more)
        await made.end()
        return made

    async def unstreamed(self, words: int) -> str:
        """Ask for a whole answer at once; returns the key of the node that gave it."""
        raw = await self._client.chat.completions.with_raw_response.create(**self._body(words, {"stream": False}))
        assert raw.parse().choices[0].message.content == text(words)
        return str(raw.headers["Waypost-Node"])

    async def refused(self, status: int) -> None:
        """Ask, and be told to come back."""
        error = (await self.whole(1)).error
        assert isinstance(error, openai.APIStatusError), f"{error!r}"
        assert error.status_code == status, f"{error!r}"
        assert int(error.response.headers["Retry-After"]) >= 1

    async def recovers(self, speaker: Speaker | None = None) -> None:
        """Ask again and again, until it is answered: by that speaker, if one is named."""
        async with asyncio.timeout(GUARD_S):
            while True:
                heard = await self.whole(1)
                if heard.error is None and speaker in (None, self._scene.speaker(heard.node)):
                    return
                await asyncio.sleep(0.1)

    async def speaker(self, hearing: Hearing, words: int = 5) -> Speaker:
        """Who speaks, once so many words were heard."""
        await hearing.words(words)
        return self._scene.speaker(hearing.node)

    def _body(self, words: int, more: dict[str, Any]) -> dict[str, Any]:
        body: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Speak."}], "temperature": 0}
        body |= {"max_tokens": words, "stream": True, "stream_options": {"include_usage": True}}
        body |= {"user": self._scene.user} | more
        if not body["stream"]:
            del body["stream_options"]
        return body

    async def close(self) -> None:
        for each in self._all:
            await each.close()


@contextlib.asynccontextmanager
async def listening(scene: Scene) -> AsyncIterator[Ear]:
    async with AsyncOpenAI(base_url=f"{scene.url}/v1", api_key="-", max_retries=0, timeout=GUARD_S) as client:
        ear = Ear(scene, client)
        try:
            yield ear
        finally:
            await ear.close()
