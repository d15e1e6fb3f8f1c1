"""Why a command could not do its work. Not here: printing it (waypost)."""

__all__ = ["CommandError"]


class CommandError(Exception):
    """One clear line for the person who typed the command: what is wrong, and what to do."""
