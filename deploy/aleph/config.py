"""Options of `waypost deploy aleph ...`. Imports nothing heavier than pydantic, so that `--help` is quick."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from registry.commands.options import Options
from relay.options import state_folder

API_URL = "https://api2.aleph.im"
HOSTS_URL = "https://crns-list.aleph.sh/crns.json"
_NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"
_HASH = re.compile(r"[0-9a-f]{64}|Qm[1-9A-HJ-NP-Za-km-z]{44}|b[a-z2-7]{58}")
_URL = re.compile(r"https?://[^/?#@\s]+(/[^?#@\s]*)?")
_CHANNEL = "WAYPOST"


def _folder() -> Path:
    return state_folder() / "deployments"


class NetworkOptions(Options):
    """Where the network is, and how long one answer of it is waited for."""

    api: str = Field(
        default=API_URL, description="node of the Aleph network to work with", json_schema_extra={"metavar": "URL"}
    )
    hosts: str = Field(
        default=HOSTS_URL, description="list of the network's compute hosts", json_schema_extra={"metavar": "URL"}
    )
    request_s: float = Field(default=60.0, gt=0, description="seconds to wait for one answer of a host")

    @field_validator("api", "hosts")
    @classmethod
    def _a_url(cls, url: str) -> str:
        if not _URL.fullmatch(url):
            raise ValueError(f"{url!r} is no URL; write https://host, without user or query")
        return url.rstrip("/")


class Wish(NetworkOptions):
    """Which machine is wanted; without a GPU named, one without."""

    gpu: str | None = Field(
        default=None, description="GPU that the machine gets: part of its name, such as 'RTX 4090' (default: none)",
        json_schema_extra={"metavar": "NAME"},
    )  # fmt: skip
    region: str | None = Field(
        default=None,
        description="only hosts that say this of themselves, in a field for their place, their name or their address",
        json_schema_extra={"metavar": "TEXT"},
    )
    ipv6: bool = Field(default=True, description="only hosts whose IPv6 was found to work")
    compute_units: int | None = Field(
        default=None, ge=1, description="size of the machine (default: what comes with the GPU; 4 without one)"
    )


class OffersConfig(Wish):
    """Options of `waypost deploy offers`."""

    json_: bool = Field(default=False, alias="json", description="print JSON")


class Named(Options):
    """One deployment, by its name on this machine."""

    name: str = Field(
        pattern=_NAME, description="the deployment's name on this machine: a-z, 0-9 and -",
        json_schema_extra={"positional": True},
    )  # fmt: skip
    state_dir: Path = Field(
        default_factory=_folder,
        description="folder for what deployments have come to (default: $XDG_STATE_HOME/waypost/deployments)",
        json_schema_extra={"metavar": "DIR"},
    )


class SshOptions(Options):
    """How the machine is reached."""

    reach: Literal["auto", "ipv6", "ipv4"] = Field(
        default="auto",
        description="by which address SSH goes: the machine's own IPv6, or a port of its host's IPv4; auto tries both",
    )
    ssh_user: str = Field(default="root", pattern=r"^[a-z_][a-z0-9_-]{0,31}$", description="whom SSH logs in as")


class UpConfig(Named, Wish, SshOptions):
    """Options of `waypost deploy aleph`."""

    operator_key: Path = Field(
        description="the operator's wallet key: pays in credits, and signs", json_schema_extra={"metavar": "FILE"}
    )
    ssh_key: Path = Field(
        description="your public SSH key, which the machine lets in; it becomes public. The private one stands beside "
        "it, or in your agent",
        json_schema_extra={"metavar": "FILE"},
    )
    image: str | None = Field(
        default=None,
        description="the VM image: a file, which is uploaded and paid for, or the item hash of one that is there; "
        "needed until the machine is made",
        json_schema_extra={"metavar": "FILE|HASH"},
    )
    storage: Literal["auto", "storage", "ipfs"] = Field(
        default="auto", description="where an image file goes; auto: ipfs above 100 MiB"
    )
    host: str | None = Field(
        default=None, description="this compute host: its hash or URL (default: the best that fits)",
        json_schema_extra={"metavar": "HOST"},
    )  # fmt: skip
    another_host: bool = Field(
        default=False, description="give up the machine on the present host, and make one on another"
    )
    disk_mib: int | None = Field(default=None, ge=1024, description="size of its disk (default: what comes with it)")
    model: tuple[str, ...] = Field(
        default=(), description="model that the node serves, as for waypost node serve; files lie in the image",
        json_schema_extra={"metavar": "NAME=URI"},
    )  # fmt: skip
    access: tuple[str, ...] = Field(
        default=(), description="who may call the node: open, a gateway's key, or keys:FILE on the machine",
        json_schema_extra={"metavar": "WHO"},
    )  # fmt: skip
    registry: tuple[str, ...] = Field(
        default=(), description="where the node publishes (default: the network itself, channel WAYPOST)",
        json_schema_extra={"metavar": "URL"},
    )  # fmt: skip
    node_config: Path | None = Field(
        default=None,
        description="waypost.toml for the node, sent as it stands, in place of --model, --access and --registry",
        json_schema_extra={"metavar": "FILE"},
    )
    days: int = Field(
        default=7, ge=1, le=30, description="days that the delegation holds; running this again later renews it"
    )
    allow_private: bool = Field(default=False, description="the node may be at a private address, or without TLS")
    dry_run: bool = Field(default=False, description="read everything, show what would be done, and spend nothing")
    yes: bool = Field(default=False, description="spend what is shown without asking")
    max_day: float | None = Field(
        default=None, gt=0, description="credits a day beyond which nothing is made, whatever was agreed to"
    )
    settle_s: float = Field(default=120.0, gt=0, description="seconds until the network has processed a message")
    boot_s: float = Field(default=900.0, gt=0, description="seconds until the host has started the machine")
    ssh_s: float = Field(default=600.0, gt=0, description="seconds until the machine lets SSH in")
    publish_s: float = Field(
        default=1800.0, gt=0, description="seconds until the node has published itself and proven its key"
    )

    @field_validator("image")
    @classmethod
    def _file_or_hash(cls, image: str | None) -> str | None:
        if image is None or is_hash(image):
            return image
        if not Path(image).is_file():
            raise ValueError(f"{image!r} is neither a file nor an item hash; build an image with waypost deploy image")
        return str(Path(image).absolute())

    @model_validator(mode="after")
    def _one_configuration(self) -> UpConfig:
        told = [word for word in ("model", "access", "registry") if getattr(self, word)]
        if self.node_config is not None and told:
            raise ValueError(f"--node-config and --{told[0]} contradict each other; write it into the file")
        if self.node_config is None and not self.model:
            raise ValueError("--model: name what the node serves, NAME=URI, or give a --node-config FILE")
        if self.node_config is None and not self.access:
            raise ValueError("--access: say who may call the node: open, a gateway's key, or keys:FILE")
        return self

    def fixed(self) -> dict[str, Any]:
        """What a machine, once made, cannot be changed in."""
        names = ("api", "gpu", "region", "compute_units", "image", "host", "disk_mib")
        return {name: getattr(self, name) for name in names}

    def registries(self) -> tuple[str, ...]:
        return self.registry or (f"aleph+{self.api}?channel={_CHANNEL}",)


class StatusConfig(Named, NetworkOptions):
    """Options of `waypost deploy status`."""

    allow_private: bool = Field(default=False, description="the node may be at a private address, or without TLS")
    json_: bool = Field(default=False, alias="json", description="print JSON")


class LogsConfig(Named, NetworkOptions, SshOptions):
    """Options of `waypost deploy logs`."""

    lines: int = Field(default=100, ge=1, le=100_000, description="how many lines of the node's journal")
    follow: bool = Field(default=False, description="go on as new ones come")
    operator_key: Path | None = Field(
        default=None,
        description="show the machine's console as its host keeps it, for a machine that does not let SSH in",
        json_schema_extra={"metavar": "FILE"},
    )


class DestroyConfig(Named, NetworkOptions):
    """Options of `waypost deploy destroy`."""

    operator_key: Path = Field(description="the operator's wallet key", json_schema_extra={"metavar": "FILE"})
    with_image: bool = Field(default=False, description="give up the uploaded image too, which is paid for otherwise")
    yes: bool = Field(default=False, description="do not ask")
    settle_s: float = Field(default=120.0, gt=0, description="seconds until the network has processed a message")


def is_hash(text: str) -> bool:
    """An item hash, or a content identifier of IPFS."""
    return _HASH.fullmatch(text) is not None
