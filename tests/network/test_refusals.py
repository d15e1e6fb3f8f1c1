"""Hosts that the network refuses to reach, and says so: by resets, and by ICMP."""

from __future__ import annotations

import pytest

from tests.network.faults import Refusal, refusing, reset_at_the_host
from tests.network.hearing import listening
from tests.network.scene import LONG, SHORT, Scene

WORDS = 100


@pytest.mark.parametrize("refusal", Refusal)
async def test_before_connect(scene: Scene, refusal: Refusal) -> None:
    """The next one is asked at once: no limit had to fire."""
    near, far = scene.speakers
    async with scene.gateway_serves(*LONG, proven=2), listening(scene) as ear:
        with refusing(scene.network, near.host, refusal) as fault:
            heard = await ear.whole(WORDS)
            heard.is_whole(WORDS)
            assert heard.node == far.key.public
            assert fault.hits() > 0
            assert await scene.total("limits_fired") == 0
            assert near.asked() == []


async def test_everybody_before_connect(scene: Scene) -> None:
    """With nobody to be reached, a request is refused in the gateway's own words, and soon answered again."""
    near, far = scene.speakers
    async with scene.gateway_serves(*LONG, proven=2), listening(scene) as ear:
        with (
            refusing(scene.network, near.host, Refusal.HOST_UNREACHABLE),
            refusing(scene.network, far.host, Refusal.RESET),
        ):
            await ear.refused(503)
        await ear.recovers()


async def test_reset_in_mid_stream(scene: Scene) -> None:
    """The gateway's connection is reset: the rest comes from elsewhere at once, and no limit had to fire."""
    async with scene.gateway_serves(*LONG, proven=2), listening(scene) as ear:
        streams = [ear.ask(WORDS) for _ in range(4)]
        for each in streams:
            await each.words(5)
        near, far = scene.speakers
        with refusing(scene.network, near.host, Refusal.RESET):
            for each in streams:
                await each.end()
                each.is_whole(WORDS)
        assert (len(near.asked()), len(far.asked())) == (2, 4)
        assert await scene.total("limits_fired") == 0
        assert await scene.total("resumes", outcome="whole") == 2
        await ear.recovers(near)


async def test_reset_of_kept_connection(scene: Scene) -> None:
    """A connection from before is reset as a request is sent on it."""
    near, far = scene.speakers
    async with scene.gateway_serves(*LONG, proven=2), listening(scene) as ear:
        for _ in scene.speakers:
            (await ear.whole(5)).is_whole(5)
        with refusing(scene.network, near.host, Refusal.RESET) as fault:
            (await ear.whole(WORDS)).is_whole(WORDS)
            assert fault.hits() > 0
            assert (len(near.asked()), len(far.asked())) == (1, 2)
            assert await scene.total("limits_fired") == 0


async def test_reset_at_the_other_end(scene: Scene) -> None:
    """The speaker's connection is reset, and nobody tells the gateway: the limit between two words fires."""
    async with scene.gateway_serves(*SHORT, proven=2), listening(scene) as ear:
        heard = ear.ask(WORDS)
        speaker = await ear.speaker(heard)
        with reset_at_the_host(scene.network, speaker.host):
            await heard.end()
            heard.is_whole(WORDS)
            assert await scene.total("limits_fired", limit="gap") == 1


@pytest.mark.parametrize("refusal", [Refusal.HOST_UNREACHABLE, Refusal.PORT_UNREACHABLE])
async def test_icmp_in_mid_stream(scene: Scene, refusal: Refusal) -> None:
    """A connection that stands is not ended by ICMP: it falls silent, and the limit between two words fires."""
    async with scene.gateway_serves(*SHORT, proven=2), listening(scene) as ear:
        heard = ear.ask(WORDS)
        speaker = await ear.speaker(heard)
        with refusing(scene.network, speaker.host, refusal):
            await heard.end()
            heard.is_whole(WORDS)
            assert await scene.total("limits_fired", limit="gap") == 1
