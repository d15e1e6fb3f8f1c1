"""Pictures, sounds and videos in a request to llama-server: where they stand, and that each is sent and not fetched.

llama-server fetches what is named by address, from wherever it runs: nobody may have it call hosts or read files that
he cannot reach himself. Not here: what the data says of itself (llama_pictures), and decoding it (llama-server).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from node.engines.llama_pictures import MOST_PIXELS, Encoded
from relay.errors import BadRequest

# Wherever a body of llama-server's APIs holds a conversation or an input, apply-template, infill and counting included.
_ROOTS = ("messages", "system", "input", "prompt", "content", "query", "documents", "texts")
_NESTED = ("content", "output")  # of a message, of a tool's result
_HOLDERS = {  # a part's field that holds media, and what llama-server takes them for
    "image_url": "image",
    "source": "image",
    "input_audio": "audio",
    "audio_url": "audio",
    "input_video": "video",
    "video_url": "video",
}
# How llama-server words what it cannot read, and what the model cannot take.
_UNREADABLE = ("Failed to load image", "Invalid uri", "uri must be base64", "Invalid base64 value")
_UNSUPPORTED = re.compile(r"(image|audio|video) input is not supported")
_INVALID = "invalid_media"
_NO_PICTURE = (
    "is no picture that can be read here; send a PNG, JPEG, GIF or BMP, as data:image/png;base64,... with its own type."
)
_REFERENCES = ("url", "data")
_SCHEME = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]{0,31}:")  # base64 has no colon


@dataclass(frozen=True)
class Media:
    """One picture, sound or video: the field where it stands, and what is written there."""

    where: str
    kind: str
    reference: str

    @property
    def fetched(self) -> bool:
        """Whether it is an address. llama-server goes for whatever begins with `http`."""
        if self.reference.startswith("data:"):
            return False
        return self.reference.startswith("http") or _SCHEME.match(self.reference) is not None


def refuse_remote(fields: Mapping[str, Any]) -> None:
    """Raises BadRequest for a body that names media by address, or whose media llama-server should not decode."""
    for media in media_of(fields):
        if media.fetched:
            raise _refused(
                media, "is an address, and nothing is fetched here; send the data itself, as data:image/png;base64,...",
                "remote_media",
            )  # fmt: skip
        _check(media)


def _check(media: Media) -> None:
    if media.kind == "video":
        raise _refused(media, "is a video, and this model takes none; send pictures of it.", "unsupported_media")
    data = Encoded(media.reference)
    if media.kind == "audio":
        if not data.is_audio:
            raise _refused(media, "is no sound that can be read here; send WAV, MP3 or FLAC in base64.", _INVALID)
    elif not data.is_image:
        raise _refused(media, _NO_PICTURE, _INVALID)
    elif data.pixels > MOST_PIXELS:
        raise _refused(media, f"has more than {MOST_PIXELS} pixels, the limit here; send a smaller one.", _INVALID)


def _refused(media: Media, why: str, code: str) -> BadRequest:
    return BadRequest(f"'{media.where}' {why}", param=media.where, code=code)


def explain(error: BadRequest, fields: Mapping[str, Any]) -> BadRequest:
    """llama-server's refusal of a body's media, with the field at fault; any other error as it is."""
    unsupported = _UNSUPPORTED.match(error.message)
    if unsupported is None and not error.message.startswith(_UNREADABLE):
        return error
    found = [media for media in media_of(fields) if unsupported is None or media.kind == unsupported[1]]
    if not found:
        return error
    where = found[0].where if len(found) == 1 else found[0].where.partition("[")[0]
    if unsupported is not None:
        text = f"This model takes no {unsupported[1]}, and '{where}' holds it; drop it, or ask another model."
        return BadRequest(text, param=where, code="unsupported_media")
    return BadRequest(f"'{where}' cannot be read: {error.message}. Is it whole?", param=where, code=_INVALID)


def media_of(fields: Mapping[str, Any]) -> Iterator[Media]:
    """All media of a JSON body, in their order."""
    ahead = [(root, fields[root]) for root in reversed(_ROOTS) if root in fields]
    while ahead:  # and no recursion: a body may be nested as deep as JSON's parser goes
        where, node = ahead.pop()
        if isinstance(node, list):
            nested = (index for index in reversed(range(len(node))) if isinstance(node[index], list | dict))
            ahead += [(f"{where}[{index}]", node[index]) for index in nested]
        elif isinstance(node, dict):
            for holder in filter(node.__contains__, _HOLDERS):
                yield from _held(f"{where}.{holder}", _HOLDERS[holder], node[holder])
            ahead += [(f"{where}.{name}", node[name]) for name in reversed(_NESTED) if name in node]


def _held(where: str, kind: str, held: Any) -> Iterator[Media]:
    if isinstance(held, str):
        yield Media(where, kind, held)
    elif isinstance(held, dict):
        for name in _REFERENCES:
            if isinstance(held.get(name), str):
                yield Media(f"{where}.{name}", kind, held[name])
