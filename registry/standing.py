"""Whom this reader trusts just now: what its policy says, and what the curators in it add.

Not here: adverts (trust).
"""

from __future__ import annotations

from registry.curations import Curations
from registry.policy import Policy

__all__ = ["Standing"]

_ALWAYS = float("inf")


class Standing:
    """A view of a policy and of the lists known of its curators."""

    def __init__(self, policy: Policy, curations: Curations) -> None:
        self._policy = policy
        self._curations = curations

    def trusted(self, operator: str, node: str, now: float) -> tuple[float, bool]:
        """Until when the two are trusted (not after `now`: they are not), and whether because somebody named them."""
        if operator in self._policy.operators:
            return _ALWAYS, True
        vouched_until = self._curations.vouched_until(operator, node, now)
        if self._policy.any_operator:
            return _ALWAYS, vouched_until is not None
        return (0.0, False) if vouched_until is None else (vouched_until, True)

    def remembers_operator(self, operator: str) -> bool:
        """Is the operator itself trusted, or was it ever, by a list that may have ended?"""
        named = self._policy.any_operator or operator in self._policy.operators
        return named or self._curations.remembers(operator, "")
