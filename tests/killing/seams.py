"""Whether an answer that another node went on with is of one piece, by what passed between gateway and nodes.

Drawn text cannot be compared with another run of it. So it is held against the two nodes: the first one's text up to
the join, and the second one's from there, each as it came over a crossing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.killing.caller import Heard
from tests.killing.host import Host
from tests.killing.wire import Exchange, exchanges


def passed(hosts: Iterable[Host], prompt: str) -> list[Exchange]:
    """What was asked of nodes for that prompt and what they said, in the order in which it was asked."""
    found = [each for host in hosts if host.crossing is not None for each in exchanges(host.crossing)]
    return sorted((each for each in found if _prompt(each) == prompt), key=lambda each: each.at)


def fault(heard: Heard, asked: Sequence[Exchange]) -> str:
    """Why the answer is not of one piece, or nothing. `asked` is all that went to nodes for it; it had one join."""
    if len(heard.joins) != 1:
        return f"{len(heard.joins)} joins where one node died"
    join = heard.joins[0]
    first, last = asked[0], asked[-1]
    if not first.text.startswith(join.text):
        return f"the client was told {_end(join.text)}, the first node said {_end(first.text)}"
    begun = _begun(last)
    if join.way == "continue" and begun != join.text:
        return f"the second node went on from {_end(begun)}, the client had {_end(join.text)}"
    if last.text != heard.text:
        return (
            f"behind the join the client heard {_beginning(heard.text[len(join.text) :])}, "
            f"the second node said {_beginning(last.text[len(join.text) :])}"
        )
    return ""


def _prompt(exchange: Exchange) -> str:
    messages = exchange.asked.get("messages") if isinstance(exchange.asked, dict) else None
    return str(messages[0]["content"]) if messages else ""


def _begun(exchange: Exchange) -> str:
    """The text that a node was given to go on from."""
    last = exchange.asked["messages"][-1]
    return str(last["content"]) if last["role"] == "assistant" else ""


def _end(text: str) -> str:
    return f"...{text[-40:]!r} ({len(text)} characters)"


def _beginning(text: str) -> str:
    return f"{text[:40]!r}..."
