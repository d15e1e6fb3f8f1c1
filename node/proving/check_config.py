"""Options of `waypost node check`: a node's own, so that what is checked is what would be served.

Not here: the node's (config), and checking (check).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from node.config import NodeConfig


class CheckConfig(NodeConfig):
    """Options of `waypost node check`. Those that say who may call, and who is told, mean nothing to it."""

    json_: bool = Field(default=False, alias="json", description="print JSON")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="warning", description="how much is logged beside the table; debug shows what engines write"
    )
