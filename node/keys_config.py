"""Options of `waypost node keys`: those of a node that say what and where its keys are.

Imports nothing heavier than pydantic, so that `--help` is quick. Not here: the node's other options (config).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from node.model_config import Options
from relay.options import state_folder


class KeysConfig(Options):
    """Options of `waypost node keys`."""

    only: Literal["node", "delegate", "tls_spki_sha256", "public_url", "vm_hash", "delegation", "version"] | None = (
        Field(default=None, description="print one of them alone, for a script", json_schema_extra={"metavar": "NAME"})
    )
    state: Path = Field(
        default_factory=state_folder, description="the node's folder for keys (default: $XDG_STATE_HOME/waypost)",
        json_schema_extra={"metavar": "DIR"},
    )  # fmt: skip
    node_key: Path | None = Field(
        default=None, description="the node's key, made if missing (default: node.key in the state folder)",
        json_schema_extra={"metavar": "FILE"},
    )  # fmt: skip
    delegate_key: Path | None = Field(
        default=None, description="key that signs adverts, made if missing (default: delegate.key in the state folder)",
        json_schema_extra={"metavar": "FILE"},
    )  # fmt: skip
    tls_key: Path | None = Field(
        default=None, description="key of the TLS that the node serves, made if missing",
        json_schema_extra={"metavar": "FILE"},
    )  # fmt: skip
    delegation: Path | None = Field(
        default=None, description="where the delegation belongs (default: delegation.json in the state folder)",
        json_schema_extra={"metavar": "FILE"},
    )  # fmt: skip
    public_url: str | None = Field(
        default=None, description="where gateways reach the node (default: its name on Aleph, if it is there)",
        json_schema_extra={"metavar": "URL"},
    )  # fmt: skip
    vm_hash: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$",
        description="item hash of the Aleph instance that this is (default: as the host name says, if it does)",
        json_schema_extra={"metavar": "HASH"},
    )  # fmt: skip
