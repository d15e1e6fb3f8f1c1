"""`waypost registry post`: post a file as it stands, unchecked. Boards are open to anyone, and readers must cope."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from registry.commands.boards import boards, post_to
from registry.commands.failure import CommandError
from registry.commands.options import PostingOptions

__all__ = ["Post", "run_post"]


class Post(PostingOptions):
    """Options of `waypost registry post`."""

    file: Path = Field(description="the envelope, or anything else", json_schema_extra={"positional": True})


async def run_post(config: Post) -> int:
    """Post the text of `config.file` to every registry named."""
    try:
        text = config.file.read_bytes().decode()
    except OSError as error:
        raise CommandError(f"{config.file}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{config.file}: is not UTF-8 text, and a board holds texts") from error
    async with boards(config.registry, payer_key=config.payer_key) as opened:
        await post_to(opened, [text])
    return 0
