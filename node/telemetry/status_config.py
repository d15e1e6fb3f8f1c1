"""Options of `waypost node status`: frozen, checked before anything is asked.

Imports nothing heavier than pydantic, so that `--help` is quick.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field, field_validator

from node.model_config import Options


class StatusConfig(Options):
    """Options of `waypost node status`."""

    url: str = Field(
        default="http://127.0.0.1:8801", description="where the node is", json_schema_extra={"metavar": "URL"}
    )
    json_: bool = Field(default=False, alias="json", description="print JSON, one line each time with --watch")
    watch: float | None = Field(
        default=None, ge=0.2, le=86_400, description="show it again every so many seconds, until Ctrl-C",
        json_schema_extra={"metavar": "SECONDS"},
    )  # fmt: skip
    answer_s: float = Field(default=5.0, gt=0, description="seconds to wait for the node's answer")

    @field_validator("url")
    @classmethod
    def _base(cls, text: str) -> str:
        url = urlsplit(text)
        good = url.scheme in ("http", "https") and url.hostname and "@" not in url.netloc
        if not good or url.path.rstrip("/") or url.query or url.fragment or not text.isprintable():
            raise ValueError(f"{text!r} must be http://host[:port] or https://host[:port], without path or user")
        return text.rstrip("/")
