"""Options of `waypost node serve`: frozen, checked before anything starts, defaults on the fields.

Imports nothing heavier than pydantic, so that `--help` is quick. Not here: whether a file exists, and what
the hardware allows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from node.model_config import ModelConfig, Options, check_prices
from node.uri import check_name, split_model
from relay.options import check_payer, is_loopback, parse_listen, state_folder

_ACCESS = re.compile(r"open|keys:.+|[A-Za-z0-9_-]{43}")
_ACCESS_FIX = "write open, a gateway's key (43 characters), or keys:FILE"


class NodeConfig(Options):
    """Options of `waypost node serve`."""

    model: tuple[str, ...] = Field(
        default=(),
        description="model to serve: a name, and its file or folder, hf://OWNER/REPO/FILE, https://... or aleph://HASH "
        "(each with an optional #sha256=DIGEST), or openai+http://HOST:PORT for an engine that already runs",
        json_schema_extra={"metavar": "NAME=URI"},
    )
    models: dict[str, ModelConfig] = Field(default_factory=dict, description="settings per model")
    listen: str = Field(
        default="127.0.0.1:8801", description="address to serve on, *:443 for all of them",
        json_schema_extra={"metavar": "HOST:PORT"},
    )  # fmt: skip
    public_url: str | None = Field(
        default=None,
        description="where gateways reach this node: https://host[:port] (default: its name on Aleph, if it is there)",
        json_schema_extra={"metavar": "URL"},
    )
    tls_key: Path | None = Field(
        default=None, description="serve TLS with this key, made if missing; an advert holds gateways to it",
        json_schema_extra={"metavar": "FILE"},
    )  # fmt: skip
    tls_certificate: Path | None = Field(
        default=None,
        description="an authority's certificate for the TLS key and its chain, PEM, read again when it changes "
        "(default: a self-signed one)",
        json_schema_extra={"metavar": "FILE"},
    )
    registry: tuple[str, ...] = Field(
        default=(),
        description="registry to publish on: sqlite:///FILE, aleph+https://HOST?channel=NAME "
        "or evm+https://HOST/0xCONTRACT",
        json_schema_extra={"metavar": "URL"},
    )
    access: tuple[str, ...] = Field(
        default=(),
        description="who may call: open, a gateway's key, or keys:FILE (an API key or sha256:HEX per line)",
        json_schema_extra={"metavar": "WHO"},
    )
    node_key: Path | None = Field(
        default=None, description="this node's key, made if missing (default: node.key in the state folder)",
        json_schema_extra={"metavar": "FILE"},
    )  # fmt: skip
    delegate_key: Path | None = Field(
        default=None, description="key that signs adverts, made if missing (default: delegate.key in the state folder)",
        json_schema_extra={"metavar": "FILE"},
    )  # fmt: skip
    delegation: Path | None = Field(
        default=None,
        description="the operator's delegation, waited for if missing (default: delegation.json in the state folder)",
        json_schema_extra={"metavar": "FILE"},
    )
    payer_key: Path | None = Field(
        default=None, description="wallet that pays for posting; an EVM registry needs one",
        json_schema_extra={"metavar": "FILE"},
    )  # fmt: skip
    price: tuple[str, ...] = Field(
        default=(), description="what is asked for: 'usd/1M prompt tokens=0.05'",
        json_schema_extra={"metavar": "UNIT=AMOUNT"},
    )  # fmt: skip
    region: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9._ -]{1,64}$", description="where this node stands, for example eu-west"
    )
    vm_hash: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$",
        description="item hash of the Aleph instance that this is (default: as the host name says, if it does)",
        json_schema_extra={"metavar": "HASH"},
    )  # fmt: skip
    state: Path = Field(
        default_factory=state_folder,
        description="folder for keys and what must survive a restart (default: $XDG_STATE_HOME/waypost)",
        json_schema_extra={"metavar": "DIR"},
    )
    llama_server: Path | None = Field(
        default=None, description="llama-server to run (default: the one that llama-cpp-python carries)",
        json_schema_extra={"metavar": "FILE"},
    )  # fmt: skip
    sd_server: Path | None = Field(
        default=None, description="sd-server to run (default: the one that stable-diffusion-cpp-python carries)",
        json_schema_extra={"metavar": "FILE"},
    )  # fmt: skip
    weights: Path | None = Field(
        default=None, description="folder for weights that are fetched (default: weights in the state folder)",
        json_schema_extra={"metavar": "DIR"},
    )  # fmt: skip
    aleph_api: str = Field(
        default="https://api2.aleph.im", description="node of the Aleph network that aleph:// weights come from",
        json_schema_extra={"metavar": "URL"},
    )  # fmt: skip
    ram_mib: int | None = Field(
        default=None, ge=64, description="memory that models may take together (default: nearly all of this machine's)"
    )
    vram_mib: int | None = Field(
        default=None, ge=64, description="GPU memory that models may take together (default: nearly all that is free)"
    )
    idle_s: float = Field(
        default=600.0, ge=0, description="seconds without a request after which a model of load = 'demand' is unloaded"
    )
    hold_s: float = Field(
        default=10.0, ge=0, description="seconds that a loaded model keeps its place before a busy one must make room"
    )
    cold_s: float = Field(
        default=300.0, ge=0, description="seconds that a streamed request waits for its model to be loaded"
    )
    keepalive_s: float = Field(
        default=15.0, gt=0, description="seconds between the comments that keep such a request's connection open"
    )
    quiet_s: float = Field(
        default=60.0, ge=0,
        description="seconds between the comments that keep a stream open before its first token; 0 sends none",
    )  # fmt: skip
    advert_life_s: int = Field(
        default=3600, ge=60, le=86_400,
        description="seconds that an advert counts, renewed at half of them: more save a chain's gas, fewer than 300 "
        "need clocks that agree",
    )  # fmt: skip
    start_s: float = Field(default=600.0, gt=0, description="seconds that a model may take to load")
    ready_s: float = Field(default=30.0, ge=0, description="seconds that a request waits for a restarting engine")
    queue_s: float = Field(default=30.0, ge=0, description="seconds that a request waits for a free slot")
    queue: int = Field(default=32, ge=0, description="requests per model that may wait for a free slot")
    head_s: float = Field(default=600.0, gt=0, description="seconds to wait for the engine's first byte")
    gap_s: float = Field(default=120.0, gt=0, description="seconds to wait between two pieces of a stream")
    drain_s: float = Field(default=30.0, ge=0, description="seconds that running requests are given at a stop")
    body_limit_bytes: int = Field(default=32 * 1024 * 1024, gt=0, description="largest JSON body")
    upload_limit_bytes: int = Field(default=512 * 1024 * 1024, gt=0, description="largest body with files")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="how much is logged; debug shows what engines write"
    )

    @field_validator("model")
    @classmethod
    def _named_models(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        for text in models:
            split_model(text)
        return models

    @field_validator("models")
    @classmethod
    def _good_names(cls, models: dict[str, ModelConfig]) -> dict[str, ModelConfig]:
        for name in models:
            check_name(name)
        return models

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, listen: str) -> str:
        parse_listen(listen)
        return listen

    @field_validator("access")
    @classmethod
    def _known_access(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        for entry in entries:
            if not _ACCESS.fullmatch(entry):
                raise ValueError(f"{entry!r} names nobody; {_ACCESS_FIX}")
        if "open" in entries and len(entries) > 1:
            raise ValueError("open lets anybody call, so the other entries mean nothing; drop them, or open")
        return entries

    @field_validator("price")
    @classmethod
    def _good_price(cls, price: tuple[str, ...]) -> tuple[str, ...]:
        return check_prices(price)

    @model_validator(mode="after")
    def _whole(self) -> NodeConfig:
        self._check_models()
        self._check_url()
        if self.tls_certificate is not None and self.tls_key is None:
            raise ValueError("--tls-certificate needs --tls-key: the key that it is for")
        if self.tls_key is not None and (self.public_url or "").startswith("http:"):
            raise ValueError(f"--public-url {self.public_url}: with --tls-key the node serves TLS; write https://")
        if self.registry and not self.access:
            raise ValueError(f"--registry needs --access: a published node must say who may call; {_ACCESS_FIX}")
        check_payer(self.registry, self.payer_key)
        if not self.access and not is_loopback(self.listen):
            raise ValueError(f"--listen {self.listen} is reachable by others; give --access: {_ACCESS_FIX}")
        return self

    def served(self) -> dict[str, ModelConfig]:
        """Model name -> its settings, its URI always set. `--model` wins over the file."""
        named = dict(split_model(text) for text in self.model)
        wished = {name: self.models.get(name, ModelConfig()) for name in named} | self.models
        return {name: _with_uri(wish, named.get(name, wish.uri)) for name, wish in wished.items()}

    def _check_models(self) -> None:
        names = [split_model(text)[0] for text in self.model]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"--model names {twice[0]!r} twice; give each model its own name")
        served = self.served()
        if not served:
            raise ValueError("no model is named; give --model NAME=URI, or [node.models.NAME] in the file")
        for name, model in served.items():
            if model.uri is None:
                raise ValueError(f"[node.models.{name}] has no uri, and no --model {name}=URI names one")
        _check_aliases(served)

    def _check_url(self) -> None:
        if self.public_url is None:
            return
        url = urlsplit(self.public_url)
        whole = f"{url.scheme}://{url.netloc}"
        if url.scheme not in ("https", "http") or self.public_url != whole or "@" in whole:
            raise ValueError(f"--public-url {self.public_url!r} must be https://host[:port], without path or user")


def _with_uri(wish: ModelConfig, uri: str | None) -> ModelConfig:
    """Checked again: what may be set depends on where the model is."""
    return ModelConfig.model_validate({**wish.model_dump(exclude_unset=True), "uri": uri})


def _check_aliases(served: Mapping[str, ModelConfig]) -> None:
    taken: dict[str, str] = {name: name for name in served}
    for name, model in served.items():
        for alias in model.aliases:
            if taken.get(alias, name) != name or alias == name:
                raise ValueError(f"the alias {alias!r} of {name} is taken by {taken[alias]}; choose another")
            taken[alias] = name
