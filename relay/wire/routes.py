"""Which paths are answered on the hot path, and by whom. Pure.

Not here: all other paths, which are the application's (aiohttp).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

if TYPE_CHECKING:
    from relay.wire.inbound import Inbound

Handler = Callable[["Inbound"], Awaitable[None]]
_VM = "/vm/{vm}"


class Found(NamedTuple):
    """`template` is the path as it is written in metrics; `vm` is what stands in its place."""

    template: str
    handler: Handler
    vm: str | None


async def _unanswered(_: Inbound) -> None:
    raise AssertionError("it was refused before it had a route")


REFUSED = Found("unknown", _unanswered, None)


class Routes:
    """Handlers by path. A path may begin with `/vm/{vm}`; there are no other variables."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._plain = {path: Found(path, handler, None) for path, handler in handlers.items() if _VM not in path}
        self._of_vm = {
            path.removeprefix(_VM): (path, handler) for path, handler in handlers.items() if path.startswith(_VM)
        }

    def __repr__(self) -> str:
        return f"<Routes plain={len(self._plain)} of_vm={len(self._of_vm)}>"

    def find(self, path: str) -> Found | None:
        """Who answers at this path, given as it stands in the request, without its query."""
        found = self._plain.get(path)
        if found is not None:
            return found
        if "%" in path:
            plain = unquote(path, errors="replace")
            return None if "%2f" in path.lower() or "%" in plain else self.find(plain)
        if not path.startswith("/vm/"):
            return None
        vm, slash, rest = path[len("/vm/") :].partition("/")
        of_vm = self._of_vm.get(slash + rest)
        return Found(*of_vm, vm) if of_vm is not None and vm else None
