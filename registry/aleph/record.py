"""The newest list of rights that an operator signed, kept on this machine, so that a host cannot take it back.

Who edits the list has to know it. A host may show an older one than the newest, or none, and an edit of that would end
the leave of other delegates, or give it back to one that lost it. So the newest of what the host shows and of what is
kept here is edited, by the time that was signed. This closes it for an operator who works on one machine. Who works on
several is safe only where each host it names shows the newest list. Where the file is lost or broken, the host is
believed. Not here: what the list says (rights).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from pathlib import Path

from registry.aleph.messages import Forged, checksum, item_content, item_hash, signed_text, verify
from registry.aleph.rights import Rights, read_rights
from registry.answers import read_json
from registry.keys import Wallet

__all__ = ["Record"]

_CHAIN, _KIND = "ETH", "AGGREGATE"

log = logging.getLogger("waypost.registry")


class Record:
    """One operator's file: the message as it was signed, for all channels and hosts."""

    def __init__(self, owner: Wallet) -> None:
        self._owner = owner
        base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        self.path = Path(base) / "waypost" / f"aleph-security-{owner.address}.json"

    def __repr__(self) -> str:
        return f"Record({self.path})"

    def load(self) -> Rights:
        """The rights in the file, none if it has none that the owner signed."""
        try:
            message = verify(read_json(self.path.read_bytes()))
        except (OSError, ValueError, Forged):
            return Rights()
        return Rights() if message is None else read_rights([message], self._owner.address)

    def save(self, rights: Rights) -> None:
        """What cannot be written is said aloud; the list goes out all the same."""
        draft = self.path.with_suffix(f".{os.getpid()}.draft")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.touch(mode=0o600)
            draft.write_text(json.dumps(self._signed(rights)))
            draft.replace(self.path)
        except OSError as error:
            log.warning("cannot keep %s (%s): the next change goes by what the host shows alone", self.path, error)
        finally:
            with contextlib.suppress(OSError):
                draft.unlink()

    def _signed(self, rights: Rights) -> dict[str, str]:
        content, sender = rights.aggregate(self._owner.address), checksum(self._owner.address)
        signed = signed_text(_CHAIN, sender, _KIND, item_hash(content))
        return {
            "chain": _CHAIN,
            "sender": sender,
            "type": _KIND,
            "item_type": "inline",
            "item_content": item_content(content),
            "item_hash": item_hash(content),
            "signature": self._owner.sign_message(signed),
        }
