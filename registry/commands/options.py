"""Option types that several commands share, with what a person may write and what is meant by it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from registry.fields import ADDRESS, DIGEST, NAME, NODE_KEY, SLUG, matches

__all__ = ["AddressOption", "NodeOption", "Options", "PinOption", "PostingOptions", "SlugOption"]


class Options(BaseModel):
    """What every command's options have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PostingOptions(Options):
    """What every command that posts needs to know."""

    registry: tuple[str, ...] = Field(
        min_length=1,
        description="where to post; each host of a network by its own",
        json_schema_extra={"metavar": "URL"},
    )
    payer_key: Path | None = Field(
        default=None,
        description="wallet that pays for the posting, where a chain asks for that",
        json_schema_extra={"metavar": "FILE"},
    )


def _address(value: str) -> str:
    """An address in any case: people paste the mixed-case form that wallets show."""
    if not matches(ADDRESS, value.lower()):
        raise ValueError(f"{value!r} is not an address; write 0x and 40 hex digits")
    return value.lower()


def _node(value: str) -> str:
    if not matches(NODE_KEY, value):
        raise ValueError(f"{value!r} is not a node key; write its 43 characters as `waypost registry list` shows them")
    return value


def _pin(value: str) -> str:
    name, _, digest = value.partition("=")
    if not matches(NAME, name) or not matches(DIGEST, digest):
        raise ValueError(f"{value!r} is not NAME=DIGEST, a model's name and 64 lower-case hex digits")
    return value


def _slug(value: str) -> str:
    slug, _, target = value.partition("=")
    if not matches(SLUG, slug) or not (matches(NODE_KEY, target) or matches(NAME, target)):
        slug_form = "1 to 64 letters, digits, '.', '_' and '-' that are no node key"
        raise ValueError(f"{value!r} is not SLUG=NODE, {slug_form}, then a node key or name")
    return value


AddressOption = Annotated[str, AfterValidator(_address)]
NodeOption = Annotated[str, AfterValidator(_node)]
PinOption = Annotated[str, AfterValidator(_pin)]
SlugOption = Annotated[str, AfterValidator(_slug)]
