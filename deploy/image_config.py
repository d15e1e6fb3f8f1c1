"""Options of `waypost deploy image`. Imports nothing heavier than pydantic, so that `--help` is quick."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "waypost" / "image"


class ImageConfig(BaseModel):
    """What goes into the image of a node's VM, and where it is written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    out: Path = Field(
        default=Path("image"), description="folder for what is made", json_schema_extra={"metavar": "DIR"}
    )
    format: Literal["raw", "qcow2", "both"] = Field(default="both", description="raw, qcow2 or both")
    bake: tuple[Path, ...] = Field(
        default=(),
        description="weights to put into /usr/share/waypost/models; other ways: a volume labelled waypost-data, or a "
        "URI in waypost.toml that is fetched at the first start",
        json_schema_extra={"metavar": "FILE"},
    )
    node_config: Path | None = Field(
        default=None, description="waypost.toml to put in; else it is sent to the running VM",
        json_schema_extra={"metavar": "FILE"},
    )  # fmt: skip
    gpu: Literal["none", "first-boot", "build"] = Field(
        default="first-boot",
        description="when NVIDIA's driver is installed: never, at the first boot where such a GPU is found, or now",
    )
    suite: str = Field(default="bookworm", pattern=r"^[a-z]+$", description="Debian's release")
    mirror: str | None = Field(
        default=None, description="where Debian's packages come from (default: as apt is set up on this machine)",
        json_schema_extra={"metavar": "URL"},
    )  # fmt: skip
    security_mirror: str | None = Field(
        default=None, description="the same for security updates; --mirror needs it",
        json_schema_extra={"metavar": "URL"},
    )  # fmt: skip
    cache: Path = Field(
        default_factory=cache_folder,
        description="folder for packages: two builds from one make the same image (default: "
        "$XDG_CACHE_HOME/waypost/image)",
        json_schema_extra={"metavar": "DIR"},
    )
    refresh: bool = Field(default=False, description="ask the mirrors for newer packages than the cache holds")
    size_mib: int | None = Field(
        default=None, ge=512, description="size of the disk (default: what is needed and a little more); it grows at "
        "its first boot to what the host gives",
    )  # fmt: skip
    agent: Path | None = Field(
        default=None, description="wheel of waypost (default: built from the checkout that this runs from)",
        json_schema_extra={"metavar": "WHEEL"},
    )  # fmt: skip
    llama: Path | None = Field(
        default=None, description="wheel of llama-cpp-python for any processor (default: built by that checkout)",
        json_schema_extra={"metavar": "WHEEL"},
    )  # fmt: skip
