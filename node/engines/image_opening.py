"""From an image model's files and settings to an sd-server to be, and what an offer says of it.

Not here: the program itself (images), its flags (image_flags).
"""

from __future__ import annotations

import importlib.util

from node.engines.engine import EngineError
from node.engines.image_flags import ImageSizing, check_flags
from node.engines.program import Found
from node.models import Profile
from node.once import Once
from node.pictures import Pictures
from node.sizes.footprint import declared
from node.sizes.footprint_other import images
from node.wanted import Opened, Wanted
from relay.image_input import LEAST_SIDE, MOST_SIDE


class ImageOpener:
    """Opens models on one sd-server build, which is looked for once. `pictures` keeps what is answered by URL."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures
        self._build: Once[Found] = Once()

    async def open(self, wanted: Wanted) -> Opened:
        """The engine, not yet running. Raises EngineError."""
        if importlib.util.find_spec("PIL") is None:
            raise EngineError("image models need the package pillow; pip install 'waypost[images]'")
        from node.engines.images import ImageEngine, find_image_build  # a node without image models needs no Pillow

        wish, sizing = wanted.wish, _sizing(wanted)
        build = await self._build.get(lambda: find_image_build(wanted.config.sd_server))
        engine = ImageEngine(
            build, wanted.name, wanted.weights.path, wish.files, sizing, wish.flags, wanted.socket,
            self._pictures, wanted.process_limits, wanted.limits, wanted.place.on_change,
        )  # fmt: skip
        profile = Profile(engine=build.version, weights_sha256=wanted.weights.sha256, modalities=("text", "image"))
        need = images(wanted.weights.size_bytes, sizing.most_pixels, on_gpu=False)
        return Opened(engine, profile, declared(wish, need, on_gpu=False))


def _sizing(wanted: Wanted) -> ImageSizing:
    wish, where = wanted.wish, f"[node.models.{wanted.name}]"
    try:
        check_flags(wish.flags)
    except ValueError as error:
        raise EngineError(f"{where} flags: {error}") from error
    size = _pair(wish.size) if wish.size else ImageSizing.size
    most_pixels = wish.most_pixels or ImageSizing.most_pixels
    if min(size) < LEAST_SIDE or max(size) > MOST_SIDE or size[0] * size[1] > most_pixels:
        fix = f"choose sides from {LEAST_SIDE} to {MOST_SIDE}, or raise most_pixels"
        raise EngineError(f"{where} size {size[0]}x{size[1]} is beyond its {most_pixels} pixels or our limits; {fix}")
    return ImageSizing(wanted.threads, size, most_pixels)


def _pair(size: str) -> tuple[int, int]:
    width, _, height = size.partition("x")
    return int(width), int(height)
