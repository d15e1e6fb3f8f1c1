"""The operator's word that this node may sign adverts: a file, read again when it changes.

Not here: making one (`waypost registry delegate`).
"""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from registry.advert import Delegation, Refused
from registry.signing import open_delegation
from registry.urls import in_suffixes, parse_url

log = logging.getLogger("waypost.node")


@dataclass(frozen=True)
class Mandate:
    """A delegation that fits this node, as signed and as read."""

    signed: dict[str, str]
    delegation: Delegation


class DelegationFile:
    """The file at `path`, for this delegate, node and URL. `now` gives Unix seconds."""

    def __init__(
        self,
        path: Path,
        delegate: str,
        node: str,
        url: str,
        now: Callable[[], float],
        registries: Sequence[str] = (),
    ) -> None:
        self.path = path
        self._delegate = delegate
        self._node = node
        self._url = url
        self._asking = tuple(url for url in registries if url.startswith("aleph+"))
        self._now = now
        self._seen: tuple[int, int] | None = None
        self._mandate: Mandate | None = None
        self._said = ""

    def command(self) -> str:
        """What the operator runs to make the file."""
        words = [f"waypost registry delegate {self._delegate} --operator-key FILE --node={self._node}"]
        words += [f"--registry {shlex.quote(url)}" for url in self._asking]  # they ask for leave
        return " ".join((*words, f"--out {self.path.name}"))

    def current(self) -> Mandate | None:
        """The delegation if it is there, fits and has not expired. Says once in the log why it does not."""
        try:
            stat = self.path.stat()
            identity = (stat.st_mtime_ns, stat.st_ino)
            if identity != self._seen:
                self._mandate = _read(self.path)
                self._seen = identity
        except FileNotFoundError:
            self._seen = self._mandate = None
        except (OSError, ValueError, Refused) as error:
            self._seen = self._mandate = None
            self._say(f"cannot be used ({getattr(error, 'strerror', None) or error})")
        if self._mandate is None:
            return None
        fault = self._fault(self._mandate.delegation)
        if fault:
            self._say(fault)
        return None if fault else self._mandate

    def _fault(self, delegation: Delegation) -> str | None:
        if delegation.delegate != self._delegate:
            return f"names the delegate {delegation.delegate}, and this node's is {self._delegate}"
        if delegation.node not in (None, self._node):
            return f"names the node {delegation.node}, and this is {self._node}"
        if delegation.url_suffixes is not None and not in_suffixes(parse_url(self._url), delegation.url_suffixes):
            return f"does not cover {self._url}"
        if delegation.expires_at <= self._now():
            return "has expired"
        return None

    def _say(self, fault: str) -> None:
        if fault != self._said:
            self._said = fault
            log.error("the delegation %s %s; make one with: %s", self.path, fault, self.command())


def _read(path: Path) -> Mandate:
    signed = json.loads(path.read_text())
    if not isinstance(signed, dict) or not all(isinstance(signed.get(name), str) for name in ("text", "signature")):
        raise ValueError('it is not {"text", "signature"}')
    kept = {"text": signed["text"], "signature": signed["signature"]}
    return Mandate(kept, open_delegation(kept))
