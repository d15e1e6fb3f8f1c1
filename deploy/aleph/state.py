"""What a deployment has come to, in a file that is written before and after each step; and who may work on it.

No key is ever in it. Not here: what the steps are (up, destroy).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from deploy.aleph.plan_model import Plan
from registry.commands.failure import CommandError

__all__ = ["Keys", "Record", "Sent", "Store", "deployments"]

_FILE = "deployment.json"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sent(_Frozen):
    """A message, as it was signed: kept before it is sent, and so the same one however often it is."""

    envelope: dict[str, Any]
    signed_at: float
    settled: bool = False

    @property
    def item_hash(self) -> str:
        return str(self.envelope["item_hash"])


class Keys(_Frozen):
    """What the machine says of itself."""

    node: str
    delegate: str
    tls_spki_sha256: str | None
    public_url: str | None
    vm_hash: str | None


class Record(_Frozen):
    """All that is known of one deployment. Times are Unix seconds; None: that step is not done."""

    v: int = 1
    name: str
    operator: str
    api: str
    hosts: str
    ssh_key: str
    made_at: float
    fixed: dict[str, Any]
    registries: tuple[str, ...]
    plan: Plan | None = None
    store: Sent | None = None
    image_digest: str | None = None
    instance: Sent | None = None
    allocated_at: float | None = None
    addresses: tuple[tuple[str, int], ...] = ()
    keys: Keys | None = None
    delegated_until: int | None = None
    configured: str | None = None  # digest of what was sent
    published_at: float | None = None
    given_up: tuple[Sent, ...] = ()  # machines that were made and are to be forgotten
    given_up_hosts: tuple[str, ...] = ()
    full_hosts: tuple[str, ...] = ()  # those that had no room, before anything was paid
    forget: Sent | None = None
    retired: bool = False
    erased: bool = False
    ended_at: float | None = None


class Store:
    """One deployment's folder, held by one process at a time. `record` is None before the first `save`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record: Record | None = None

    def __repr__(self) -> str:
        return f"Store({self.folder}, {'new' if self.record is None else self.record.name})"

    @classmethod
    @contextlib.contextmanager
    def held(cls, state_dir: Path, name: str, *, make: bool) -> Iterator[Self]:
        """Hold the folder. CommandError where another process does, or where there is none and none is to be made."""
        store = cls.at(state_dir, name) if not make else cls(_folder(state_dir, name))
        descriptor = os.open(store.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise CommandError(
                    f"another waypost works on {name!r} now; wait for it, or choose another NAME"
                ) from error
            store.record = _load(store.folder / _FILE)
            yield store
        finally:
            os.close(descriptor)

    @classmethod
    def at(cls, state_dir: Path, name: str) -> Self:
        """What there is, only to be read. CommandError where there is nothing."""
        store = cls(state_dir / name)
        store.record = _load(store.folder / _FILE)
        if store.record is None:
            known = ", ".join(deployments(state_dir)) or "none"
            raise CommandError(
                f"no deployment {name!r} in {state_dir}; there is: {known} (--state-dir names another folder)"
            )
        return store

    @staticmethod
    def read(state_dir: Path, name: str) -> Record | None:
        """What is known of a deployment, without holding it."""
        return _load(state_dir / name / _FILE)

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def delegation(self) -> Path:
        return self.folder / "delegation.json"

    def save(self, record: Record) -> None:
        """All or nothing, and on the disk before anything is done that hangs on it."""
        draft = self.folder / f".{_FILE}.{os.getpid()}"
        try:
            with open(draft, "w", opener=_private, encoding="utf-8") as file:
                file.write(record.model_dump_json(indent=1) + "\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.folder / _FILE)
            _sync(self.folder)
        except OSError as error:
            raise CommandError(f"--state-dir {self.folder}: cannot be written ({error.strerror})") from error
        self.record = record

    def known(self) -> Record:
        """The record; CommandError before there is one."""
        if self.record is None:
            raise CommandError(f"{self.folder} holds no deployment")
        return self.record

    def change(self, **fields: Any) -> Record:
        """Save with other values; CommandError before there is a record."""
        self.save(self.known().model_copy(update=fields))
        return self.known()

    def archive(self) -> None:
        """Make room for a new deployment of the same name; what ended stays readable."""
        with contextlib.suppress(FileNotFoundError):
            (self.folder / _FILE).rename(self.folder / f"ended-{time.time_ns()}.json")
        for path in (self.known_hosts, self.delegation):
            path.unlink(missing_ok=True)
        self.record = None


def deployments(state_dir: Path) -> list[str]:
    """The names of those that are known here."""
    return sorted(path.parent.name for path in state_dir.glob(f"*/{_FILE}"))


def _folder(state_dir: Path, name: str) -> Path:
    folder = state_dir / name
    try:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.mkdir(exist_ok=True, mode=0o700)
        folder.chmod(0o700)
    except OSError as error:
        raise CommandError(f"--state-dir {state_dir}: {error.strerror}; name a folder that can be written") from error
    return folder


def _load(path: Path) -> Record | None:
    try:
        return Record.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, fault["loc"])) or "the file"
        raise CommandError(
            f"{path}: {where}: {fault['msg']}; this waypost did not write it, use the one that did"
        ) from error


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
