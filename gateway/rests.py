"""Pure: who said that it is busy, and when to come back; and who lets this gateway in for nothing at all.

Neither is an illness: the node is well, and is left alone by everybody with that one model until its time is over. Not
here: illness (circuit), and models that have yet to be loaded (balance).
"""

from __future__ import annotations

from dataclasses import dataclass

from relay.errors import ApiError, TooManyRequests, from_status

_LEAST_S = 1.0
_MOST_S = 300.0
_MOST_NODES = 10_000
_REFUSED_S = 60.0
_WORDS_KEPT = 300


@dataclass(frozen=True)
class Rest:
    """Until when, and what the node said: its own words, for whoever comes before that and finds nobody else.

    `busy`: it said to come back, `back_at`, which may be later than anybody holds to. Otherwise it refused what it
    should have taken. `seq`: of its advert by then; a later one is of a node that may have begun anew.
    """

    until: float
    back_at: float = 0.0
    busy: bool = False
    status: int = TooManyRequests.status
    message: str = ""
    code: str | None = None
    seq: int = 0

    def error(self, retry_after_s: int) -> ApiError:
        """The node's refusal, as it would be said again now."""
        return from_status(self.status, self.message, code=self.code, retry_after_s=retry_after_s)


class Rests:
    """By node and model. `nodes` is empty where nobody said so; what is over goes when somebody looks at it.

    Beyond `most_nodes` the one that began the longest ago is forgotten.
    """

    def __init__(self, most_nodes: int = _MOST_NODES) -> None:
        self.nodes: dict[str, dict[str, Rest]] = {}
        self._most_nodes = most_nodes

    def __repr__(self) -> str:
        return f"<Rests nodes={len(self.nodes)}>"

    def busy(self, node: str, model: str, error: ApiError, now: float, seq: int = 0) -> None:
        """The node said this, and when to come back."""
        wait = max(_LEAST_S, error.retry_after_s or 0.0)
        code, words = error.code[:_WORDS_KEPT] if error.code else None, error.message[:_WORDS_KEPT]
        self._keep(node, model, Rest(now + min(wait, _MOST_S), now + wait, True, error.status, words, code, seq))

    def refused(self, node: str, model: str, now: float, seq: int = 0) -> None:
        """It does not let this gateway in, or knows nothing of the model: that will not have changed in a moment."""
        self._keep(node, model, Rest(now + _REFUSED_S, seq=seq))

    def of(self, node: str, model: str, now: float, seq: int = 0) -> Rest | None:
        """What there is to wait for now, by an advert of that `seq`."""
        known = self.nodes.get(node)
        rest = known.get(model) if known else None
        if rest is None or known is None:
            return None
        if rest.until > now and seq <= rest.seq:
            return rest
        del known[model]
        if not known:
            del self.nodes[node]
        return None

    def forget(self, node: str) -> None:
        """That node is gone."""
        self.nodes.pop(node, None)

    def _keep(self, node: str, model: str, rest: Rest) -> None:
        self.nodes.setdefault(node, {})[model] = rest
        if len(self.nodes) > self._most_nodes:
            del self.nodes[next(iter(self.nodes))]
