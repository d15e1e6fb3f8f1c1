"""What a unit of gas costs: what the host asks for, and never more than the URL allows.

A host may lie, and whoever makes blocks gets what it makes a payer offer. The base fee goes to nobody and is taken at
the chain's own figure, whatever was offered, so it is believed.
Not here: when a fee is raised (sender).
"""

from __future__ import annotations

import re

from registry.backend import Rejected
from registry.evm.rpc import Refusal, Rpc
from registry.evm.transactions import Fees

__all__ = ["ask", "dearer", "is_too_cheap", "most_wei", "raised"]

GWEI = 10**9
_USUAL_TIP = GWEI  # where a host names none
_TOO_CHEAP = re.compile(r"underpriced|tip cap|minimum needed|(fee|price).{0,20}(too low|below)", re.IGNORECASE)
_NEEDED = re.compile(r"needed:? (\d{1,30})", re.IGNORECASE)


async def ask(rpc: Rpc) -> Fees:
    """What the host says is paid now; Rejected if that is more than the URL allows. Raises Unreachable."""
    block = await rpc.call("eth_getBlockByNumber", "latest", False)
    base = block.get("baseFeePerGas") if isinstance(block, dict) else None
    if base is None:
        return Fees(_allowed(rpc, await rpc.quantity("eth_gasPrice"), "gas price"), None)
    try:
        tip = await rpc.quantity("eth_maxPriorityFeePerGas")
    except Refusal:
        tip = min(_USUAL_TIP, most_wei(rpc))
    return Fees(2 * rpc.number(base, "eth_getBlockByNumber") + _allowed(rpc, tip, "tip"), tip)


def is_too_cheap(said: str) -> bool:
    """Did a host refuse a transaction because its fee is too low for the host's pool?"""
    return _TOO_CHEAP.search(said) is not None


def raised(fees: Fees, now: Fees, most: int) -> Fees | None:
    """A quarter more, so that pools take it in the place of an earlier one, and not less than is paid now.

    None if no more is allowed: `most` is in wei, for the tip, or the price on a chain without tips.
    """
    offered = fees.offered
    to = min(max(offered * 5 // 4 + 1, now.offered), most)
    if to * 10 < offered * 11:
        return None  # pools want a tenth more
    if fees.tip is None:
        return Fees(to, None)
    return Fees(max(fees.most * 5 // 4 + 1, now.most, to), to)


def dearer(fees: Fees, said: str, most: int) -> Fees | None:
    """What to offer a host that found these fees too low: what it says it needs, or double. None if it is too much."""
    offered = fees.offered
    named = _NEEDED.search(said)
    needed = max(int(named[1]), offered * 5 // 4 + 1) if named else min(max(2 * offered, GWEI), most)
    if needed > most or needed <= offered:
        return None
    return Fees(fees.most + needed - offered, None if fees.tip is None else needed)


def most_wei(rpc: Rpc) -> int:
    return rpc.place.max_gwei * GWEI


def _allowed(rpc: Rpc, wei: int, what: str) -> int:
    if wei > most_wei(rpc):
        asked = f"the host asks for a {what} of {wei / GWEI:.9g} gwei"
        remedy = "if that is right, allow more in the URL with max_gwei=N, else use another host"
        raise Rejected(rpc.line(f"{asked}, and at most {rpc.place.max_gwei} gwei are allowed; {remedy}"))
    return wei
