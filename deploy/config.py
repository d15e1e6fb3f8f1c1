"""Options of `waypost up`. Imports nothing heavier than pydantic, so that `--help` is quick."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

from relay.options import check_payer, state_folder


class UpConfig(BaseModel):
    """Everything on one machine: a registry, nodes and a gateway."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    port: int = Field(default=8800, ge=1, le=65535, description="port of the gateway on 127.0.0.1")
    model: tuple[str, ...] = Field(
        default=(),
        description="model that every node serves, beside --all's; SmolLM2-135M if none is named",
        json_schema_extra={"metavar": "NAME=URI"},
    )
    nodes: int = Field(default=1, ge=1, le=32, description="how many node agents to start")
    registry: str | None = Field(
        default=None,
        description="registry to publish to and read from (default: an SQLite file in the state folder)",
        json_schema_extra={"metavar": "URL"},
    )
    payer_key: Path | None = Field(
        default=None,
        description="wallet that pays for posting, on a chain that asks for it",
        json_schema_extra={"metavar": "FILE"},
    )
    all: bool = Field(
        default=False,
        description="serve every endpoint, each with a small demo model, and ask each once; sets up what that needs",
    )
    once: bool = Field(default=False, description="exit after the first call, or --all's: 0 if all was answered")
    state: Path = Field(
        default_factory=state_folder,
        description="folder for keys, logs and the registry file (default: $XDG_STATE_HOME/waypost)",
        json_schema_extra={"metavar": "DIR"},
    )
    start_s: float = Field(default=600.0, gt=0, description="seconds that everything may take to come up")

    @model_validator(mode="after")
    def _paid_for(self) -> UpConfig:
        check_payer(() if self.registry is None else (self.registry,), self.payer_key)
        return self
