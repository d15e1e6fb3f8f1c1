"""sd-server's jobs: hand one in, follow it to its end, cancel it when nobody waits for it any more.

`cancel` of a running job and its progress are what our patch adds to sd-server. Not here: what a job is made of, and
what becomes of its pictures (images).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from node.engines.engine import Door
from node.life import Life
from relay.errors import ApiError, BadUpstream, ConnectFailed, Reset, UpstreamTimeout, from_upstream

log = logging.getLogger("waypost.images")

_POLL_FIRST_S, _POLL_MOST_S = 0.02, 0.2
_ANSWER_S = 30.0  # for one question about a job, which is no more than a look
_CANCEL_S = 5.0
_ANSWER_LIMIT_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True)
class Step:
    """What a job is at: the `image`-th of those it makes, `step` of `steps` done."""

    image: int
    step: int
    steps: int


async def run_job(door: Door, life: Life, body: bytes, still_s: float) -> AsyncGenerator[Step | list[bytes], None]:
    """Its steps, and last its pictures. Closing this early cancels the job.

    Raises ConnectFailed where the engine has not seen it, Reset where it went away since, UpstreamTimeout after
    `still_s` without progress, else what the engine finds wrong.
    """
    job = Job(door, life)
    begun = asyncio.create_task(job.begin(body))
    try:
        await asyncio.shield(begun)
        async for event in job.events(still_s):
            yield event
    finally:
        # A job that was just handed in must not go on unknown.
        with suppress(ApiError):
            await begun
            await job.cancel()


class Job:
    """One job of one life of the engine."""

    def __init__(self, door: Door, life: Life) -> None:
        self._door = door
        self._life = life
        self._born = life.starts
        self._id = ""

    def __repr__(self) -> str:
        return f"<Job {self._id}>"

    async def begin(self, body: bytes) -> None:
        status, answer = await self._request("POST", "img_gen", body)
        if status != 202:
            raise _refusal(status, answer)
        self._id = str(_object(answer).get("id"))

    async def events(self, still_s: float) -> AsyncGenerator[Step | list[bytes], None]:
        loop = asyncio.get_running_loop()
        seen, until, pause = Step(0, 0, 0), loop.time() + still_s, _POLL_FIRST_S
        while True:
            found = await self._look()
            if isinstance(found, list):
                yield found
                return
            if found != seen:
                seen, until, pause = found, loop.time() + still_s, _POLL_FIRST_S
                yield found
            elif loop.time() > until:
                raise UpstreamTimeout("The engine made no progress.", code="gap_timeout")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _POLL_MOST_S)

    async def cancel(self) -> None:
        """It ends before its next step; one that is done is forgotten."""
        with suppress(ApiError, TimeoutError):
            async with asyncio.timeout(_CANCEL_S):
                await self._request("POST", f"jobs/{self._id}/cancel", b"{}")

    async def _look(self) -> Step | list[bytes]:
        try:
            status, answer = await self._request("GET", f"jobs/{self._id}")
        except ConnectFailed as error:
            raise _gone() from error
        # Another life may have given the same name to another's job.
        if status != 200 or self._life.starts != self._born:
            raise _gone()
        job = _object(answer)
        match job.get("status"):
            case "completed":
                return await asyncio.to_thread(_pictures, job)
            case "queued" | "generating":
                at = job.get("progress") or {}
                return Step(at.get("images", 0), at.get("step", 0), at.get("steps", 0))
        log.error("sd-server gave up: %s", job.get("error"))
        raise BadUpstream("The engine could not make the picture.", code="engine_failed")

    async def _request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        url, headers = f"{self._door.url}/sdcpp/v1/{path}", {"Content-Type": "application/json"}
        try:
            async with (
                asyncio.timeout(_ANSWER_S),
                self._door.session.request(method, url, data=body, headers=headers) as response,
            ):
                return response.status, await _read(response)
        except aiohttp.ClientConnectorError as error:
            raise ConnectFailed("The engine could not be reached.", code="connect_failed") from error
        except TimeoutError as error:
            raise UpstreamTimeout("The engine did not answer in time.", code="head_timeout") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _gone() from error


async def _read(response: aiohttp.ClientResponse) -> bytes:
    read = bytearray()
    async for piece in response.content.iter_any():
        read += piece
        if len(read) > _ANSWER_LIMIT_BYTES:
            raise BadUpstream("The engine's answer is too large.", code="upstream_too_large")
    return bytes(read)


def _pictures(job: Mapping[str, Any]) -> list[bytes]:
    try:
        return [base64.b64decode(image["b64_json"], validate=True) for image in job["result"]["images"]]
    except (KeyError, TypeError, binascii.Error) as error:
        raise BadUpstream("The engine's answer cannot be read.", code="upstream_broken") from error


def _object(answer: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(answer)
    except orjson.JSONDecodeError as error:
        raise BadUpstream("The engine's answer cannot be read.", code="upstream_broken") from error
    return found if isinstance(found, dict) else {}


def _refusal(status: int, answer: bytes) -> ApiError:
    """Its 500 carries "server_error" and an exception's text, which is for nobody."""
    if status >= 500:
        log.error("sd-server refused: %s", answer[:500])
        return BadUpstream("The engine failed.", code="engine_failed")
    return from_upstream(status, answer)


def _gone() -> Reset:
    return Reset("The engine went away before the picture was made.", code="upstream_reset")
