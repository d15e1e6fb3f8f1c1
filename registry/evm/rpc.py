"""JSON-RPC with one host of a chain. Whatever goes wrong is Unreachable, in one line without the URL's secrets.

Not here: what the methods mean (logs, sender).
"""

from __future__ import annotations

import itertools
import re
from typing import Any

import aiohttp
import orjson

from registry.answers import TooLarge, one_line, open_session, read_at_most, read_json
from registry.backend import Unreachable
from registry.evm.limits import Limits
from registry.evm.url import Place

__all__ = ["Refusal", "Rpc", "TooLong", "TooMuch"]

_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")
_DATA = re.compile(r"0x(?:[0-9a-fA-F]{2})*")
_MOST_VALUES = 10_000
_LEAST_VALUE_BYTES = 16  # on average, beyond so many; a log has about 50
_RATE = re.compile(
    r"too many requests|rate.?limit|requests? per|quota|credits|throttl|api.?key|unauthori", re.IGNORECASE
)


class Refusal(Unreachable):
    """The host answered that it will not. `said` is its message, redacted; `data` is what a contract reverted with.

    `final`: asking for less would not help, it refuses the asker, or for now.
    """

    def __init__(self, line: str, said: str, data: str, final: bool) -> None:
        super().__init__(line)
        self.said = said
        self.data = data
        self.final = final


class TooMuch(Unreachable):
    """An answer beyond the limit of bytes; asking for less may help."""


class TooLong(Unreachable):
    """No whole answer in time."""


_STATUSES = {408: TooLong, 413: TooMuch, 504: TooLong, 524: TooLong}


class Rpc:
    """The host behind a registry's URL. Connects when first used; `close` is for good."""

    def __init__(self, place: Place, limits: Limits) -> None:
        self.place = place
        self.limits = limits
        self.answer_bytes = 0  # of the last answer
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._ids = itertools.count(1)

    def __repr__(self) -> str:
        return f"Rpc({self.place.url}, closed={self._closed})"

    def unreachable(self, why: str) -> Unreachable:
        return Unreachable(self.line(why))

    def line(self, why: str) -> str:
        """What to tell people: the board and one line, fit for a terminal. The words of others must be redacted."""
        return f"registry {self.place.url}: {one_line(why)}"

    async def call(self, method: str, *params: Any) -> Any:
        """The result of a method. Raises Unreachable, and of it Refusal, TooMuch, TooLong."""
        number = next(self._ids)
        status, body = await self._post({"jsonrpc": "2.0", "id": number, "method": method, "params": params}, method)
        answer = _read(body)
        if isinstance(answer, dict) and isinstance(answer.get("error"), dict):
            raise self._refusal(method, answer["error"], status)
        if status != 200:
            raise _STATUSES.get(status, Unreachable)(self.line(f"answered {status} to {method}"))
        if not isinstance(answer, dict) or answer.get("id") != number or "result" not in answer:
            raise self.unreachable(f"answered nothing that makes sense to {method}; is it a chain's RPC host?")
        return answer["result"]

    async def quantity(self, method: str, *params: Any) -> int:
        """A result that must be a number."""
        return self.number(await self.call(method, *params), method)

    async def data(self, method: str, *params: Any) -> bytes:
        """A result that must be bytes."""
        value = await self.call(method, *params)
        if not isinstance(value, str) or not _DATA.fullmatch(value):
            raise self.unreachable(f"answered no data to {method}")
        return bytes.fromhex(value[2:])

    def number(self, value: Any, what: str) -> int:
        """A number as JSON-RPC writes it; raises Unreachable."""
        if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
            raise self.unreachable(f"answered no number to {what}")
        return int(value, 16)

    async def close(self) -> None:
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def _post(self, request: dict[str, Any], method: str) -> tuple[int, bytes]:
        try:
            async with self._open().post(
                self.place.rpc,
                data=orjson.dumps(request),
                headers={"Content-Type": "application/json"},
                allow_redirects=False,
            ) as response:
                return response.status, await self._body(response, method)
        except TimeoutError as error:
            raise TooLong(self.line(f"no answer to {method} within {self.limits.request_s:g} s")) from error
        except (aiohttp.ClientError, OSError, RuntimeError, ValueError) as error:
            self._check_open()
            why = self.place.redacted(str(error)) or type(error).__name__
            raise self.unreachable(f"cannot be reached ({why})") from None

    def _open(self) -> aiohttp.ClientSession:
        self._check_open()
        if self._session is None:
            self._session = open_session(request_s=self.limits.request_s, connect_s=self.limits.connect_s)
        return self._session

    def _check_open(self) -> None:
        if self._closed:
            raise self.unreachable("closed")

    async def _body(self, response: aiohttp.ClientResponse, method: str) -> bytes:
        try:
            body = await read_at_most(response, self.limits.body_bytes)
        except TooLarge as error:
            line = self.line(f"an answer to {method} of more than {self.limits.body_bytes} bytes")
            raise TooMuch(line) from error
        self.answer_bytes = len(body)
        return body

    def _refusal(self, method: str, error: dict[str, Any], status: int) -> Refusal:
        message, data = error.get("message"), error.get("data")
        said = self.place.redacted(message) if isinstance(message, str) else "no reason given"
        reverted = data.get("data") if isinstance(data, dict) else data  # some nodes wrap it
        revert = reverted if isinstance(reverted, str) and _DATA.fullmatch(reverted) else "0x"
        final = status in (401, 403, 429) or _RATE.search(said) is not None
        return Refusal(self.line(f"{method}: {said}"), said, revert, final)


def _read(body: bytes) -> Any:
    """Any JSON, None if it is none. What one entry holds must not spoil the others beside it.

    Also None for values by the million, which take twenty times the memory of their text: no chain answers so.
    """
    if body.count(b",") > _MOST_VALUES + len(body) // _LEAST_VALUE_BYTES:
        return None
    try:
        return read_json(body)
    except ValueError:
        return None
