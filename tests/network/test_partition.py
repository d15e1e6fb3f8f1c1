"""Hosts that cannot reach each other, and are not told: before a request, in the midst of streams, and for a moment."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

import pytest

from tests.network.faults import Fault, deaf, mute, partition
from tests.network.hearing import listening
from tests.network.hosts import Host, Network
from tests.network.scene import LONG, SHORT, Scene

WORDS = 100


async def test_before_connect(scene: Scene) -> None:
    """The first to be asked takes no connection: that limit fires, and the next one answers."""
    near, far = scene.speakers
    async with scene.gateway_serves(*SHORT, proven=2), listening(scene) as ear:
        with partition(scene.network, near.host):
            heard = await ear.whole(WORDS)
            heard.is_whole(WORDS)
            assert heard.node == far.key.public
            assert await scene.total("limits_fired") == await scene.total("limits_fired", limit="connect") == 1
            assert (len(near.asked()), len(far.asked())) == (0, 1)


@pytest.mark.parametrize(("streamed", "limit"), [(True, "first_token"), (False, "head")])
async def test_on_kept_connection(scene: Scene, streamed: bool, limit: str) -> None:
    """A connection from before swallows the request: silence, and the next one answers."""
    near, far = scene.speakers
    async with scene.gateway_serves(*SHORT, proven=2), listening(scene) as ear:
        for _ in scene.speakers:
            (await ear.whole(5)).is_whole(5)
        with partition(scene.network, near.host) as fault:
            if streamed:
                (await ear.whole(WORDS)).is_whole(WORDS)
            else:
                assert await ear.unstreamed(WORDS) == far.key.public
            assert fault.hits() > 0
            assert await scene.total("limits_fired", limit=limit) == 1
            assert (len(near.asked()), len(far.asked())) == (1, 2)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_in_mid_stream(scene: Scene, workers: str) -> None:
    """Of several streams those of the lost host go on elsewhere, and the others notice nothing."""
    async with scene.gateway_serves(*SHORT, "--workers", workers, proven=2), listening(scene) as ear:
        streams = [ear.ask(WORDS) for _ in range(6)]
        for each in streams:
            await each.words(5)
        near, far = scene.speakers
        with partition(scene.network, near.host):
            for each in streams:
                await each.end()
                each.is_whole(WORDS)
            lost = sum(each.node == near.key.public for each in streams)
            assert await scene.total("limits_fired", limit="gap") == lost > 0
            assert (len(near.asked()), len(far.asked())) == (lost, len(streams))
            (await ear.whole(5)).is_whole(5)


async def test_sampled(scene: Scene) -> None:
    """What another node would say differently is continued, not replayed."""
    async with scene.gateway_serves(*SHORT, proven=2), listening(scene) as ear:
        heard = ear.ask(WORDS, temperature=0.8)
        speaker = await ear.speaker(heard)
        with partition(scene.network, speaker.host):
            await heard.end()
            heard.is_whole(WORDS)
            (rest,) = scene.others(speaker)[0].asked()
            assert rest["messages"][-1]["role"] == "assistant"


@pytest.mark.parametrize("half", [deaf, mute])
async def test_one_way(scene: Scene, half: Callable[[Network, Host], AbstractContextManager[Fault]]) -> None:
    async with scene.gateway_serves(*SHORT, proven=2), listening(scene) as ear:
        heard = ear.ask(WORDS)
        speaker = await ear.speaker(heard)
        with half(scene.network, speaker.host):
            await heard.end()
            heard.is_whole(WORDS)
            assert await scene.total("limits_fired", limit="gap") == 1


async def test_healed_in_time(scene: Scene) -> None:
    """The stream simply goes on: nothing fires, and nobody else is asked."""
    async with scene.gateway_serves(*LONG, proven=2), listening(scene) as ear:
        heard = ear.ask(WORDS)
        speaker = await ear.speaker(heard)
        with partition(scene.network, speaker.host) as fault:
            await fault.met(3)
        await heard.end()
        heard.is_whole(WORDS)
        assert await scene.total("limits_fired") == 0
        assert [len(each.asked()) for each in (speaker, *scene.others(speaker))] == [1, 0]


async def test_one_after_another(scene: Scene) -> None:
    """The host that a stream went on to is lost as well: it goes on from a third, and the first is not asked again."""
    async with scene.another("third") as third:
        await scene.advertise(third)
        async with scene.gateway_serves(*SHORT, proven=3), listening(scene) as ear:
            heard = ear.ask(WORDS)
            first = await ear.speaker(heard)
            with ExitStack() as faults:
                faults.enter_context(partition(scene.network, first.host))
                await heard.words(len(heard.text.split()) + 10)
                second = next(each for each in scene.others(first) if each.asked())
                faults.enter_context(partition(scene.network, second.host))
                await heard.end()
                heard.is_whole(WORDS)
                assert [len(each.asked()) for each in scene.speakers] == [1, 1, 1]


async def test_everybody(scene: Scene) -> None:
    """With nobody left a stream ends in an error, never as if it were whole; requests are told to come back.

    What is registered stays so: nobody is taken for retired who cannot be reached.
    """
    async with scene.gateway_serves(*SHORT, proven=2), listening(scene) as ear:
        heard = ear.ask(WORDS)
        await heard.words(5)
        with ExitStack() as faults:
            for each in scene.speakers:
                faults.enter_context(partition(scene.network, each.host))
            await heard.end()
            heard.is_broken()
            await ear.refused(503)
            assert await scene.listed() == 2
        await ear.recovers()


async def test_healed_late(scene: Scene) -> None:
    """A host that is back is asked again."""
    async with scene.gateway_serves(*SHORT, proven=2), listening(scene) as ear:
        heard = ear.ask(WORDS)
        speaker = await ear.speaker(heard)
        with partition(scene.network, speaker.host):
            await heard.end()
            heard.is_whole(WORDS)
        await ear.recovers(speaker)
