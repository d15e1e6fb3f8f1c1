"""Settings of one model of a node, from `[node.models.NAME]`: frozen, checked before anything starts.

Imports nothing heavier than pydantic, so that `--help` is quick. Not here: the node's own options (config).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from node.uri import EngineUri, check_name, parse_uri

_PRICE_FIX = "write UNIT=AMOUNT, for example 'usd/1M prompt tokens=0.05'"
_PRICE = re.compile(r"[^=\x00-\x1f\x7f-\x9f]{1,64}=(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?")
_FILES = ("vae", "taesd", "clip_l", "clip_g", "t5xxl", "llm", "llm_vision")  # as sd-server's flags
_WORKER = re.compile(r"[A-Za-z0-9.-]+:[0-9]{1,5}|\[[0-9a-fA-F:]+\]:[0-9]{1,5}")
_UPSTREAM = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,256}")
# What an external engine can be said to serve: the names that offers use.
EXTERNAL_ENDPOINTS = (
    "audio.speech", "audio.transcriptions", "audio.translations", "chat.completions", "completions", "embeddings",
    "images.edits", "images.generations", "messages", "rerank", "responses",
)  # fmt: skip
_ALLOWED = re.compile(r"/[A-Za-z0-9._~/-]*\*?")


class Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelConfig(Options):
    """One model's settings. What is not given is chosen from the model and the hardware."""

    uri: str | None = Field(default=None, description="where the weights or the engine are, unless --model names it")
    aliases: tuple[str, ...] = Field(default=(), description="further names")
    kind: Literal["auto", "chat", "embedding", "rerank", "image", "speech", "transcription"] = Field(
        default="auto", description="what the model is for: as its files say, or one of them always"
    )
    context: int | None = Field(default=None, ge=256, description="tokens per request")
    parallel: int | None = Field(default=None, ge=1, le=256, description="requests at once")
    threads: int | None = Field(default=None, ge=1, description="CPU threads")
    load: Literal["start", "demand"] = Field(
        default="start", description="kept in memory from the start on, or loaded when asked for and unloaded when idle"
    )
    idle_s: float | None = Field(default=None, ge=0, description="seconds until it is unloaded, in place of the node's")
    memory_mib: int | None = Field(
        default=None,
        ge=1,
        description="memory that it takes, on the GPU where it runs on one; in place of the estimate",
    )
    devices: tuple[str, ...] = Field(
        default=(), description="devices to compute on, as llama-server --list-devices names them: CUDA0, CUDA1, ..."
    )
    split_mode: Literal["none", "layer", "row"] | None = Field(
        default=None, description="how a model is spread over several GPUs"
    )
    tensor_split: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        default=(), description="share of the model that each device gets, for example 3, 1"
    )
    main_gpu: int | None = Field(default=None, ge=0, description="the one device of split_mode none, or row's first")
    gpu_layers: Literal["auto"] | Annotated[int, Field(ge=0)] = Field(default="auto", description="layers on the GPU")
    template: Literal["auto", "model", "chatml"] = Field(
        default="auto", description="chat template: the GGUF's if it has one, else ChatML; or one of them always"
    )
    projector: Path | None = Field(default=None, description="GGUF that lets a chat model see: llama.cpp's mmproj")
    rpc: tuple[str, ...] = Field(default=(), description="llama.cpp RPC workers that compute too, each HOST:PORT")
    files: dict[str, Path] = Field(
        default_factory=dict, description="files of an image model beside its weights: vae = FILE, clip_l = FILE, ..."
    )
    size: str | None = Field(
        default=None, pattern=r"^[1-9][0-9]{1,3}x[1-9][0-9]{1,3}$", description="WIDTHxHEIGHT of a picture by default"
    )
    most_pixels: int | None = Field(default=None, ge=4096, description="pixels of the largest picture")
    proxy: tuple[str, ...] = Field(
        default=(), description="paths of the engine that /model/proxy opens; /path/* opens all below one"
    )
    flags: tuple[str, ...] = Field(default=(), description="further flags of the engine's program, as they stand")
    endpoints: tuple[str, ...] = Field(
        default=(), description="what an external engine serves, such as chat.completions; chat and completions if none"
    )
    upstream_model: str | None = Field(default=None, description="the model's name at an external engine, if another")
    key_file: Path | None = Field(default=None, description="file with the API key that an external engine asks for")
    price: tuple[str, ...] = Field(default=(), description="UNIT=AMOUNT, in place of the node's")
    start_s: float | None = Field(default=None, gt=0, description="seconds to load, in place of the node's")

    @property
    def external(self) -> bool:
        return self.uri is not None and isinstance(parse_uri(self.uri), EngineUri)

    @property
    def kept(self) -> bool:
        """In memory from the start on, as far as that is the node's to decide."""
        return self.external or self.load == "start"

    @field_validator("uri")
    @classmethod
    def _known_uri(cls, uri: str | None) -> str | None:
        if uri is not None:
            parse_uri(uri)
        return uri

    @field_validator("aliases")
    @classmethod
    def _good_aliases(cls, aliases: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(check_name(alias) for alias in aliases)

    @field_validator("price")
    @classmethod
    def _good_price(cls, price: tuple[str, ...]) -> tuple[str, ...]:
        return check_prices(price)

    @field_validator("endpoints")
    @classmethod
    def _known_endpoints(cls, endpoints: tuple[str, ...]) -> tuple[str, ...]:
        for endpoint in endpoints:
            if endpoint == "proxy":
                raise ValueError("the proxy is opened path by path; drop it here, and give proxy = ['/path', ...]")
            if endpoint not in EXTERNAL_ENDPOINTS:
                raise ValueError(f"{endpoint!r} is no endpoint; choose from {', '.join(EXTERNAL_ENDPOINTS)}")
        return endpoints

    @field_validator("upstream_model")
    @classmethod
    def _sendable_name(cls, name: str | None) -> str | None:
        if name is not None and not _UPSTREAM.fullmatch(name):
            raise ValueError(f"{name!r} cannot be sent as a model's name; give it as the engine's /v1/models lists it")
        return name

    @field_validator("rpc")
    @classmethod
    def _good_workers(cls, workers: tuple[str, ...]) -> tuple[str, ...]:
        for worker in workers:
            if not _WORKER.fullmatch(worker):
                raise ValueError(f"{worker!r} is no RPC worker; write HOST:PORT")
        return workers

    @field_validator("files")
    @classmethod
    def _known_files(cls, files: dict[str, Path]) -> dict[str, Path]:
        for name in files:
            if name not in _FILES:
                raise ValueError(f"files knows no {name!r}; name one of {', '.join(_FILES)}")
        return files

    @field_validator("proxy")
    @classmethod
    def _good_paths(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        for path in paths:
            if not _ALLOWED.fullmatch(path) or "//" in path or "/." in path or path.endswith("*") > path.endswith("/*"):
                raise ValueError(f"{path!r} is no path to open; write /path, or /path/* for all below it")
        return paths

    @model_validator(mode="after")
    def _fitting(self) -> ModelConfig:
        """What belongs to an engine that runs elsewhere, and what to one of ours."""
        if self.uri is None:
            return self
        ours = {
            "projector",
            "rpc",
            "files",
            "size",
            "most_pixels",
            "flags",
            "threads",
            "gpu_layers",
            "load",
            "idle_s",
            "memory_mib",
            "devices",
            "split_mode",
            "tensor_split",
            "main_gpu",
            "template",
            "kind",
            "start_s",
        }
        theirs = {"endpoints", "upstream_model", "key_file"}
        for name in sorted(self.model_fields_set & (ours if self.external else theirs)):
            whose = "an engine that this node starts" if self.external else "an external engine (openai+http://...)"
            raise ValueError(f"{name} is for {whose}; drop it")
        return self


def check_prices(prices: tuple[str, ...]) -> tuple[str, ...]:
    """The prices, each UNIT=AMOUNT. Raises ValueError with the fix."""
    for price in prices:
        if not _PRICE.fullmatch(price):
            raise ValueError(f"{price!r} is no price; {_PRICE_FIX}")
    return prices
