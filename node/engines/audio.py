"""Speech and transcription: worker programs of ours (node.workers), each on a Unix socket in a private folder.

They run in a process of their own, since what they import is large, holds the interpreter up while it computes, and is
not all of our licence. Not here: what they do (node.workers), and asking them (child).
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

from node.engines.child import ChildEngine
from node.engines.engine import EngineError
from node.engines.environment import for_engine
from node.kind import Kind
from node.models import Profile
from node.sizes.footprint import declared
from node.sizes.footprint_other import speech, transcription
from node.wanted import Opened, Wanted

_LOAD_FAULT = "waypost: the model could not be loaded: "
_NEEDS = {Kind.SPEECH: speech, Kind.TRANSCRIPTION: transcription}
_SLOTS = {Kind.SPEECH: 4, Kind.TRANSCRIPTION: 2}
_MODALITIES = {Kind.SPEECH: ("text", "audio"), Kind.TRANSCRIPTION: ("audio", "text")}
_PACKAGES = {Kind.SPEECH: ("piper", "piper-tts"), Kind.TRANSCRIPTION: ("faster_whisper", "faster-whisper")}


async def open_audio(wanted: Wanted) -> Opened:
    """The engine, not yet running. Raises EngineError where its packages are not installed."""
    kind = wanted.kind
    module, package = _PACKAGES[kind]
    if importlib.util.find_spec(module) is None:
        raise EngineError(f"{kind.value} needs the package {package}; pip install 'waypost[{kind.value}]'")
    slots = wanted.wish.parallel or _SLOTS[kind]
    engine = ChildEngine(
        wanted.name, slots, _command(wanted, slots), _environment(os.environ), wanted.socket, wanted.process_limits,
        wanted.limits, weights=wanted.weights.path, hopeless=_hopeless, on_change=wanted.place.on_change,
    )  # fmt: skip
    profile = Profile(
        engine=f"{package}/{_version(package)}",
        weights_sha256=wanted.weights.sha256,
        modalities=_MODALITIES[kind],
    )
    need = _NEEDS[kind](wanted.weights.size_bytes, slots)
    return Opened(engine, profile, declared(wanted.wish, need, on_gpu=False))


def _command(wanted: Wanted, slots: int) -> list[str]:
    module = f"node.workers.{wanted.kind.value}"
    words = [sys.executable, "-m", module, "--socket", str(wanted.socket), "--model", str(wanted.weights.path)]
    words += ["--slots", str(slots)]
    words += ["--threads", str(wanted.wish.threads)] if wanted.wish.threads else []
    return [*words, *wanted.wish.flags]


def _hopeless(lines: Sequence[str]) -> str | None:
    """Why a worker cannot load its model, if that is what it wrote."""
    said = next((line for line in reversed(lines) if line.startswith(_LOAD_FAULT)), None)
    return said and f"its model could not be loaded: {said.removeprefix(_LOAD_FAULT)}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "0"


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    """The worker finds this program's own modules as this one did, and asks no hub for anything."""
    path = os.pathsep.join(path for path in sys.path if path)
    return {**for_engine(ours), "HF_HUB_OFFLINE": "1", "PYTHONPATH": path}
