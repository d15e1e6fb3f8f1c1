"""Links that lose, delay and hold up what goes over them, and links that go down."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.network.faults import large_lost, loss, narrow, partition
from tests.network.hearing import listening
from tests.network.scene import LONG, SHORT, Scene
from tests.programs import until

WORDS = 100
LONG_WORDS = 500  # so many words that the stream outlasts a publication


@pytest.mark.parametrize("share", [0.05, 0.2])
async def test_loss(scene: Scene, share: float) -> None:
    """What is lost is sent again, by TCP and nobody else: each speaker is asked once for each stream."""
    async with scene.gateway_serves(*LONG, proven=2), listening(scene) as ear:
        with ExitStack() as faults:
            rules = [faults.enter_context(loss(scene.network, each.host, share)) for each in scene.speakers]
            streams = [ear.ask(WORDS) for _ in range(4)]
            for each in streams:
                await each.end()
                each.is_whole(WORDS)
            assert all(each.hits() > 0 for each in rules)
        assert sum(len(each.asked()) for each in scene.speakers) == len(streams)
        assert await scene.total("limits_fired") == await scene.total("resumes") == 0


async def test_loss_beyond_limits(scene: Scene) -> None:
    """So much is lost that limits fire now and then: the streams are whole, by way of the other host."""
    async with scene.gateway_serves(*SHORT, proven=2), listening(scene) as ear:
        with loss(scene.network, scene.speakers[0].host, 0.5):
            streams = [ear.ask(WORDS) for _ in range(4)]
            for each in streams:
                await each.end()
                each.is_whole(WORDS)


@pytest.mark.parametrize(("kbit", "number"), [(64, 2), (256, 6)])
async def test_narrow(scene: Scene, kbit: int, number: int) -> None:
    """Streams that come slower than they are spoken are whole, and come from where they began."""
    async with scene.gateway_serves(*LONG, proven=2), listening(scene) as ear:
        with ExitStack() as links:
            waited = [links.enter_context(narrow(each.host, kbit)) for each in scene.speakers]
            streams = [ear.ask(WORDS) for _ in range(number)]
            for each in streams:
                await each.end()
                each.is_whole(WORDS)
            assert all(each() > 0 for each in waited)
        assert sum(len(each.asked()) for each in scene.speakers) == number
        assert await scene.total("limits_fired") == await scene.total("resumes") == 0


async def test_delay(scene: Scene) -> None:
    """Far away, and well: 200 ms each way."""
    async with scene.another("remote") as remote, scene.delayed(remote, 0.2) as url:
        await scene.only(remote, url=url)
        async with scene.gateway_serves(*SHORT, proven=1), listening(scene) as ear:
            streams = [ear.ask(WORDS) for _ in range(3)]
            for each in streams:
                await each.end()
                each.is_whole(WORDS)
        assert len(remote.asked()) == len(streams)


async def test_delay_beyond_limit(scene: Scene) -> None:
    """So far away that the first token comes too late: the next one answers, and it is not asked again."""
    near, far = scene.speakers
    async with scene.delayed(near, 1.8) as url:
        await scene.advertise(near, url=url)
        await scene.advertise(far)
        async with scene.gateway_serves(*SHORT, proven=2), listening(scene) as ear:
            heard = await ear.whole(WORDS)
            heard.is_whole(WORDS)
            assert heard.node == far.key.public
            assert await scene.total("limits_fired") == await scene.total("limits_fired", limit="first_token") == 1
            await until(lambda: len(near.asked()) == 1)


async def test_link_down(scene: Scene) -> None:
    async with scene.gateway_serves(*SHORT, proven=2), listening(scene) as ear:
        heard = ear.ask(WORDS)
        speaker = await ear.speaker(heard)
        with speaker.host.cut_off():
            await heard.end()
            heard.is_whole(WORDS)
            assert await scene.total("limits_fired", limit="gap") == 1
        await ear.recovers(speaker)


async def test_own_link_down_for_a_moment(scene: Scene) -> None:
    """The gateway's own link: what was spoken meanwhile comes when it is up again."""
    async with scene.gateway_serves(*LONG, proven=2), listening(scene) as ear:
        streams = [ear.ask(WORDS) for _ in range(2)]
        for each in streams:
            await each.words(5)
        speakers = [each.host for each in scene.speakers]
        before = [each.retransmitted() for each in speakers]
        with scene.gateway.cut_off():
            await until(lambda: all(now.retransmitted() > then for now, then in zip(speakers, before, strict=True)))
        for each in streams:
            await each.end()
            each.is_whole(WORDS)
        assert await scene.total("limits_fired") == await scene.total("resumes") == 0


async def test_own_link_down(scene: Scene) -> None:
    """Nobody can be reached: streams end in an error, requests are refused, and all is well once it is up again."""
    async with scene.gateway_serves(*SHORT, proven=2), listening(scene) as ear:
        heard = ear.ask(WORDS)
        await heard.words(5)
        with scene.gateway.cut_off():
            await heard.end()
            heard.is_broken()
            await ear.refused(503)
        await ear.recovers()


async def test_host_vanishes(scene: Scene) -> None:
    """Its cable is pulled out in mid-stream, and it never comes back."""
    async with scene.another("brief") as brief:
        await scene.only(brief)
        await scene.advertise(scene.speakers[0])
        async with scene.gateway_serves(*SHORT, proven=2), listening(scene) as ear:
            heard = ear.ask(WORDS)
            assert await ear.speaker(heard) is brief
            brief.host.pull_out()
            await heard.end()
            heard.is_whole(WORDS)
            (await ear.whole(WORDS)).is_whole(WORDS)


async def test_newcomer(scene: Scene) -> None:
    """A stream goes on at a host that was published after it had begun."""
    async with scene.another("brief") as brief:
        await scene.only(brief)
        async with scene.gateway_serves(*SHORT, proven=1) as gateway, listening(scene) as ear:
            heard = ear.ask(LONG_WORDS, temperature=0.8)
            assert await ear.speaker(heard) is brief
            await scene.advertise(scene.speakers[0])
            await scene.proven(2, gateway)
            with partition(scene.network, brief.host) as fault:
                await heard.end()
                heard.is_whole(LONG_WORDS)
                assert fault.hits() > 0


async def test_large_packets_lost(scene: Scene) -> None:
    """Small packets pass, and with them the connect; a long request never gets through, and is sent elsewhere."""
    long = [{"role": "user", "content": "Speak. " * 20_000}]
    async with scene.gateway_serves(*SHORT, proven=2), listening(scene) as ear:
        home = scene.speaker((await ear.whole(WORDS, messages=long)).node)  # where its conversation goes back to
        (far,) = scene.others(home)
        with large_lost(scene.network, home.host) as fault:
            heard = await ear.whole(WORDS, messages=long)
            heard.is_whole(WORDS)
            assert heard.node == far.key.public
            assert fault.hits() > 0
            assert await scene.total("limits_fired", limit="first_token") == 1
            assert len(home.asked()) == 1, "before"
