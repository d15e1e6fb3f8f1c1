"""Who may answer a request: the candidates of its model, and then those of the models that may stand in for it.

Pure. Not here: what one name means (directory), and who is asked first (balance, attempts).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.directory import Route
from gateway.fallbacks import Fallbacks
from gateway.groups import Candidate
from gateway.keys import Caller
from relay.call import Call
from relay.errors import ApiError, NotFound, Unavailable

Tiers = Sequence[Sequence[Candidate]]


def tiers_of(call: Call, caller: Caller, fallbacks: Fallbacks, resolve: Callable[[str], Route]) -> Tiers:
    """The candidates of each model, never without any. `resolve` says what a name means, and raises ApiError.

    A model that is away or unknown makes way for its fallbacks; of those, one that does not answer here or that this
    caller may not use is passed over. Raises ApiError: what is wrong with the first, if nothing is left.
    """
    asked, plain = call.model, _plain(call.model)
    try:
        route = resolve(asked)
    except (NotFound, Unavailable) as error:
        caller.require(asked, plain)
        tiers = _others(call.fallbacks or fallbacks.of(asked, plain), caller, resolve)
        if not tiers:
            raise error
        return tiers
    caller.require(asked, plain, route.model)
    names = call.fallbacks or fallbacks.of(asked, route.model)
    return (route.candidates, *_others(names, caller, resolve)) if names else (route.candidates,)


def _others(names: Sequence[str], caller: Caller, resolve: Callable[[str], Route]) -> Tiers:
    found = []
    for name in names:
        try:
            route = resolve(name)
        except ApiError:
            continue
        if caller.may_use(name, _plain(name), route.model):
            found.append(route.candidates)
    return found


def _plain(name: str) -> str:
    return name.partition("@")[0]
