"""Asking a directory what names mean, and what it says when they mean nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pytest

from gateway import listing
from gateway.directory import Directory, Route
from gateway.groups import Candidate
from registry.trust import Believed
from relay.errors import ApiError
from tests.gateway.adverts import NOW, node_key

CHAT = "chat.completions"
ONE, TWO = "1" * 12, "2" * 12


def nodes_of(route: Route) -> set[str]:
    return {candidate.node for candidate in route.candidates}


def ask(directory: Directory, name: str, endpoint: str = CHAT, now: float = NOW) -> set[str]:
    """The keys of the nodes that a name means."""
    return nodes_of(directory.resolve(name, endpoint, now))


def refused(directory: Directory, name: str, now: float = NOW, endpoint: str = CHAT) -> ApiError:
    with pytest.raises(ApiError) as caught:
        directory.resolve(name, endpoint, now)
    return caught.value


def status_and_code(error: ApiError) -> tuple[int, str | None]:
    return error.status, error.code


def keys(*names: str) -> set[str]:
    return {node_key(name) for name in names}


def choices(error: ApiError) -> list[str]:
    """The names that a refusal tells the caller to choose from."""
    return labels(error.message)


def labels(message: str) -> list[str]:
    """The same from the text of the refusal."""
    return re.findall(r"[^ ,]+@[0-9a-fx]+", message.partition("Choose one of:")[2])


def later(before: Directory, *believed_now: Believed) -> Directory:
    """The next directory, which remembers the names of the one before."""
    return Directory(believed_now, seen=before.names_seen(NOW))


def listed(directory: Directory, now: float = NOW) -> list[dict[str, Any]]:
    """The items of the list of models, all nodes having proven themselves."""
    return _items(directory.meanings(), now)


def listed_at(directory: Directory, vm: str, now: float = NOW) -> list[dict[str, Any]]:
    """The same of one VM."""
    return _items(directory.meanings_at(vm, now), now)


def _items(meant: Iterable[tuple[str, Iterable[Candidate]]], now: float) -> list[dict[str, Any]]:
    items = (listing.describe(name, candidates, now) for name, candidates in meant)
    return [item for item in items if item is not None]
