"""Aleph's SDK is an extra of Waypost's: imported when something is to be signed, asked for where it is missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from registry.commands.failure import CommandError

__all__ = ["sdk"]


def sdk() -> ModuleType:
    """`deploy.aleph.sdk`; CommandError where its packages are not installed."""
    try:
        return importlib.import_module("deploy.aleph.sdk")
    except ImportError as error:
        raise CommandError("deploying to Aleph needs the extra: pip install 'waypost[aleph]'") from error
