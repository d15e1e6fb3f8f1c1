"""Options of the gateway's commands: frozen, checked before anything starts, defaults on the fields.

Imports nothing heavier than pydantic, so that `--help` is quick.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from gateway.fallbacks import parse_fallbacks
from registry.fields import NAME
from relay.options import is_loopback, parse_listen, state_folder

_ADDRESS = re.compile(r"0x[0-9a-f]{40}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TRUST_FIX = "write any, an operator's 0x address, or curator:0x and a curator's address"


_NAME = re.compile(NAME)


class Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)  # infinity would not survive JSON


class Reading(Options):
    """What decides which adverts count."""

    registry: tuple[str, ...] = Field(
        description="registry to read: sqlite:///FILE, aleph+https://HOST?channel=NAME or evm+https://HOST/0xCONTRACT",
        min_length=1,
        json_schema_extra={"metavar": "URL"},
    )
    trust: tuple[str, ...] = Field(
        description="whose adverts count: any, 0xOPERATOR or curator:0xADDRESS; there is no default",
        min_length=1,
        json_schema_extra={"metavar": "WHOM"},
    )
    allow_private: bool = Field(
        default=False, description="let adverts name http URLs and loopback or private addresses (never link-local)"
    )

    @field_validator("trust")
    @classmethod
    def _trust_entries(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        lowered = tuple(entry.lower() for entry in entries)
        for entry in lowered:
            if entry != "any" and not _ADDRESS.fullmatch(entry.removeprefix("curator:")):
                raise ValueError(f"{entry!r} names nobody; {_TRUST_FIX}")
        return lowered


class ModelLimits(Options):
    """Time limits of one model, from `[gateway.limits."MODEL"]`, in place of the gateway's."""

    model_config = ConfigDict(strict=True)  # a file knows numbers: neither true nor "5" is one

    connect_s: float | None = Field(default=None, gt=0)
    head_s: float | None = Field(default=None, gt=0)
    first_token_s: float | None = Field(default=None, gt=0)
    gap_s: float | None = Field(default=None, gt=0)
    queue_s: float | None = Field(default=None, ge=0)


class GatewayConfig(Reading):
    """Options of `waypost gateway serve`."""

    listen: str = Field(
        default="127.0.0.1:8800", description="address to serve on", json_schema_extra={"metavar": "HOST:PORT"}
    )
    api_keys: Path | None = Field(
        default=None,
        description="file of API keys, as `waypost gateway key new` writes it",
        json_schema_extra={"metavar": "FILE"},
    )
    open: bool = Field(default=False, description="let anybody call, with any key or none")
    tls_certificate: Path | None = Field(
        default=None,
        description="certificate chain and private key, PEM in one file: serve HTTPS (default: plain HTTP)",
        json_schema_extra={"metavar": "FILE"},
    )
    pin: tuple[str, ...] = Field(
        default=(), description="weights that a model name means here", json_schema_extra={"metavar": "NAME=DIGEST"}
    )
    workers: int = Field(
        default=1,
        ge=1,
        le=64,
        description="processes that serve the port together; more than one where one processor is not enough",
        json_schema_extra={"metavar": "N"},
    )
    gateway_key: Path | None = Field(
        default=None,
        description="key that nodes know this gateway by, made if missing (default: gateway.key in the state folder)",
        json_schema_extra={"metavar": "FILE"},
    )
    state: Path = Field(
        default_factory=state_folder,
        description="folder for the key and the snapshot of the registry (default: $XDG_STATE_HOME/waypost)",
        json_schema_extra={"metavar": "DIR"},
    )
    connect_s: float = Field(default=5.0, gt=0, description="seconds to wait for a connection to a node")
    head_s: float = Field(default=600.0, gt=0, description="seconds to wait for a node's first byte")
    first_token_s: float = Field(
        default=300.0, gt=0, description="seconds to wait for the first token of a stream, since it was asked for"
    )
    gap_s: float = Field(default=120.0, gt=0, description="seconds to wait between two pieces of a stream")
    queue_s: float = Field(
        default=30.0, ge=0, description="seconds that a request waits for a node that has room; 0: not at all"
    )
    queue: int = Field(
        default=512,
        ge=0,
        description="requests for one model that wait for a node with room, in each worker",
        json_schema_extra={"metavar": "N"},
    )
    key_parallel: int = Field(
        default=0,
        ge=0,
        description="requests that an API key, or an address where there are no keys, may have at once, unless the key "
        "says otherwise; 0: any number",
        json_schema_extra={"metavar": "N"},
    )
    key_rpm: int = Field(
        default=0,
        ge=0,
        description="the same, for requests a minute; 0: any number",
        json_schema_extra={"metavar": "N"},
    )
    limits: dict[str, ModelLimits] = Field(default_factory=dict, description="time limits of one model")
    fallback: tuple[str, ...] = Field(
        default=(),
        description="models that answer where all nodes of one have failed, unless the request names its own",
        json_schema_extra={"metavar": "NAME=OTHER[,OTHER]"},
    )
    resume: Literal["auto", "replay", "continue", "off"] = Field(
        default="auto",
        description="how a stream that broke is brought to its end by another node: replay (asked again from the "
        "start), continue (from the text so far), auto (as fits best) or off",
        json_schema_extra={"metavar": "HOW"},
    )
    keepalive_s: float = Field(
        default=0.0,
        ge=0,
        description="seconds between the comments that keep a stream open before its first token; 0 sends none",
    )
    notice_s: float = Field(
        default=0.0,
        ge=0,
        description="seconds that requests are still taken at a stop, /health saying 503 already; 0: not at all",
    )
    drain_s: float = Field(default=30.0, ge=0, description="seconds that running requests are given at a stop")
    body_limit_bytes: int = Field(default=32 * 1024 * 1024, gt=0, description="largest JSON body")
    upload_limit_bytes: int = Field(default=512 * 1024 * 1024, gt=0, description="largest body with files")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="how much is logged")

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, listen: str) -> str:
        parse_listen(listen)
        return listen

    @field_validator("pin")
    @classmethod
    def _pins(cls, pins: tuple[str, ...]) -> tuple[str, ...]:
        for pin in pins:
            name, _, digest = pin.partition("=")
            if not name or not _DIGEST.fullmatch(digest):
                raise ValueError(f"{pin!r} is not NAME=DIGEST with 64 lower-case hex digits")
        return pins

    @field_validator("limits", mode="before")
    @classmethod
    def _limits_of_models(cls, limits: Any) -> Any:
        for name, table in limits.items() if isinstance(limits, dict) else ():
            if not isinstance(table, dict | ModelLimits):
                raise ValueError(f'{name} is no table; put limits below [gateway.limits."MODEL"], or [gateway] for all')
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a model; take one that nodes advertise, without @")
        return limits

    @field_validator("fallback")
    @classmethod
    def _fallbacks(cls, fallback: tuple[str, ...]) -> tuple[str, ...]:
        parse_fallbacks(fallback)
        return fallback

    @field_validator("keepalive_s")
    @classmethod
    def _seldom(cls, keepalive_s: float) -> float:
        if 0 < keepalive_s < 1:
            raise ValueError("comments more often than each second are only a burden; give 1 or more, or 0 for none")
        return keepalive_s

    @model_validator(mode="after")
    def _who_may_call(self) -> GatewayConfig:
        if self.open and self.api_keys:
            raise ValueError("--open and --api-keys contradict each other; give one of them")
        if not self.open and not self.api_keys and not is_loopback(self.listen):
            raise ValueError(
                f"--listen {self.listen} is reachable by others, and nothing says who may call: "
                "give --api-keys FILE, or --open to let anybody call"
            )
        return self

    @property
    def scheme(self) -> str:
        return "https" if self.tls_certificate else "http"

    def pins(self) -> dict[str, str]:
        """Model name -> digest."""
        return dict(pin.split("=", 1) for pin in self.pin)


class KeyNewConfig(Options):
    """Options of `waypost gateway key new`."""

    name: str = Field(
        description="whom the key is for", pattern=r"^[A-Za-z0-9._@-]{1,64}$", json_schema_extra={"positional": True}
    )
    api_keys: Path = Field(description="file of API keys, made if missing", json_schema_extra={"metavar": "FILE"})
    models: tuple[str, ...] = Field(
        default=(),
        description="model that this key may call; all of them if none is named",
        json_schema_extra={"metavar": "MODEL"},
    )
    expires: str | None = Field(
        default=None,
        description="when the key ends: 30d, 12h, or a date such as 2030-01-31; never if not given",
        json_schema_extra={"metavar": "WHEN"},
    )
    max_parallel: int | None = Field(
        default=None,
        ge=0,
        description="requests that the key may have at once; 0: any number; the gateway's --key-parallel if not given",
        json_schema_extra={"metavar": "N"},
    )
    requests_per_minute: int | None = Field(
        default=None,
        ge=0,
        description="requests that the key may send a minute; 0: any number; the gateway's --key-rpm if not given",
        json_schema_extra={"metavar": "N"},
    )


class ListConfig(Reading):
    """Options of `waypost registry list`."""

    trust: tuple[str, ...] = Field(
        default=("any",), description="whose adverts count: any, 0xOPERATOR or curator:0xADDRESS"
    )
    probe: bool = Field(default=False, description="challenge each accepted node at its URL too")
    json_: bool = Field(default=False, alias="json", description="print JSON")
    connect_s: float = Field(default=5.0, gt=0, description="seconds to wait for a node under --probe")


class ShowConfig(ListConfig):
    """Options of `waypost registry show`."""

    who: str = Field(
        default="",
        description="an operator's 0x address or a node key; everybody if not given",
        json_schema_extra={"positional": True},
    )
