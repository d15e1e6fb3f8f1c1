"""Options of `waypost node status`: frozen, checked before anything is asked.

Imports nothing heavier than pydantic, so that `--help` is quick.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from node.model_config import Options
from relay.options import parse_listen

_ALL = ("*", "0.0.0.0", "::")  # noqa: S104 - addresses that mean every one: this machine's own is among them


class StatusConfig(Options):
    """Options of `waypost node status`."""

    url: str | None = Field(
        default=None, description="where the node is (default: where it listens, on this machine)",
        json_schema_extra={"metavar": "URL"},
    )  # fmt: skip
    listen: str = Field(
        default="127.0.0.1:8801", description="address that the node serves on",
        json_schema_extra={"metavar": "HOST:PORT"},
    )  # fmt: skip
    tls_key: Path | None = Field(
        default=None, description="key of the TLS that the node serves: it is held to that, whatever its certificate",
        json_schema_extra={"metavar": "FILE"},
    )  # fmt: skip
    json_: bool = Field(default=False, alias="json", description="print JSON, one line each time with --watch")
    watch: float | None = Field(
        default=None, ge=0.2, le=86_400, description="show it again every so many seconds, until Ctrl-C",
        json_schema_extra={"metavar": "SECONDS"},
    )  # fmt: skip
    answer_s: float = Field(default=5.0, gt=0, description="seconds to wait for the node's answer")

    @field_validator("url")
    @classmethod
    def _base(cls, text: str | None) -> str | None:
        if text is None:
            return None
        url = urlsplit(text)
        good = url.scheme in ("http", "https") and url.hostname and "@" not in url.netloc
        if not good or url.path.rstrip("/") or url.query or url.fragment or not text.isprintable():
            raise ValueError(f"{text!r} must be http://host[:port] or https://host[:port], without path or user")
        return text.rstrip("/")

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, listen: str) -> str:
        parse_listen(listen)
        return listen

    @property
    def where(self) -> str:
        """The node's URL."""
        if self.url is not None:
            return self.url
        host, port = parse_listen(self.listen)
        host = "127.0.0.1" if host in _ALL else f"[{host}]" if ":" in host else host
        return f"{'https' if self.tls_key else 'http'}://{host}:{port}"
