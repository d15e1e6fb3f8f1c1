"""A real gateway before nodes that are full: who is served, who is told to come back, and whether that was true."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from tests.gateway.admission.crowd import crowd, error_of
from tests.programs import until

GREEDY = {"greedy": {}, **{f"c{n}": {} for n in range(39)}}


async def test_one_that_has_a_hundred_requests_open_gets_no_more_than_the_others(tmp_path: Path) -> None:
    async with crowd(tmp_path, slots=(5, 3), callers=dict(GREEDY)) as scene:
        for _ in range(100):
            scene.asks("greedy")
        await until(lambda: scene.running == 8)
        for n in range(39):
            scene.asks(f"c{n}")
        room = (5 + 1) + (3 + 1)
        await scene.has("queue_waiting", 139 - room)
        before = len(scene.served)
        while len(scene.served) < 2 * 39 + room:  # each one that is served comes again at once
            done = len(scene.answers)
            for node in scene.nodes:
                node.release()
            await until(lambda done=done: len(scene.answers) >= done + 2)
            for answer in scene.answers[done:]:
                assert answer[1] == 200
                if answer[0] != "greedy":
                    scene.asks(answer[0])
        turns = Counter(scene.served[before:])
        assert all(turns[f"c{n}"] >= 1 for n in range(39)), "nobody starved"
        assert turns["greedy"] <= max(turns[f"c{n}"] for n in range(39)) + room
        assert sum(node.refused for node in scene.nodes) == 0, "nothing was sent where all was full"


async def test_nothing_is_sent_where_all_is_full_and_a_client_that_leaves_frees_its_place(tmp_path: Path) -> None:
    async with crowd(tmp_path, slots=(4,), callers={}) as scene:
        for _ in range(20):
            scene.asks("x")
        await scene.has("queue_waiting", 15)
        await until(lambda: len(scene.nodes[0].running) + len(scene.nodes[0].waiting) == 5)
        for task in scene.tasks[10:]:
            task.cancel()
        await asyncio.gather(*scene.tasks[10:], return_exceptions=True)
        del scene.tasks[10:]
        await scene.has("queue_waiting", 5)


async def test_whoever_waits_as_long_as_it_was_told_is_served_though_others_press(tmp_path: Path) -> None:
    callers: dict[str, dict[str, int]] = {name: {} for name in ("patient", "a", "b", "c")}
    async with crowd(tmp_path, "--queue-s", "0.5", "--queue", "8", slots=(2,), callers=callers) as scene:
        stop = asyncio.Event()

        async def press(caller: str) -> None:
            while not stop.is_set():
                await scene.asks(caller)

        async def work() -> None:
            while not all(task.done() for task in pressing):
                scene.nodes[0].release()
                await asyncio.sleep(0.25)  # so long each answer takes

        pressing = [asyncio.create_task(press(name)) for name in "abc" for _ in range(4)]
        working = asyncio.create_task(work())
        try:
            served = 0
            for _ in range(6):
                await scene.asks("patient")
                answer = [each for each in scene.answers if each[0] == "patient"][-1]
                if answer[1] == 429:
                    assert error_of(answer)["code"] == "busy"
                    await asyncio.sleep(int(answer[2]["Retry-After"]))
                    await scene.asks("patient")
                    answer = [each for each in scene.answers if each[0] == "patient"][-1]
                assert answer[1] == 200, answer
                served += 1
            assert served == 6
        finally:
            stop.set()
            await asyncio.gather(*pressing, working)
        told = [answer for answer in scene.answers if answer[1] == 429]
        assert told, "there were more than could be served"
        assert all(1 <= int(answer[2]["Retry-After"]) <= 60 for answer in told)


async def test_where_a_full_house_has_no_queue_it_is_said_at_once_and_counts_for_no_limit(tmp_path: Path) -> None:
    callers = {"x": {}, "y": {}, "z": {"requests_per_minute": 1}}
    async with crowd(tmp_path, "--queue-s", "0", slots=(1,), callers=callers) as scene:
        scene.asks("x"), scene.asks("y")
        await until(lambda: len(scene.nodes[0].running) + len(scene.nodes[0].waiting) == 2)
        await scene.asks("z")
        (answer,) = scene.answers
        assert (answer[1], error_of(answer)["code"], error_of(answer)["type"]) == (429, "busy", "rate_limit_error")
        assert int(answer[2]["Retry-After"]) >= 1
        url, headers = f"{scene.stack.gateway_url}/model/proxy/x", {"Authorization": f"Bearer {scene.keys['z']}"}
        told = []
        for _ in range(2):
            async with scene.session.post(url, json={"model": "m"}, headers=headers) as response:
                told.append((response.status, response.headers["x-ratelimit-remaining-requests"]))
        assert told == [(400, "0"), (429, "0")], "the generic proxy is held to the same limits"


@pytest.mark.parametrize("stream", [False, True])
async def test_so_many_at_once_until_the_last_byte(tmp_path: Path, stream: bool) -> None:
    callers = {"alice": {"max_parallel": 2}, "bob": {}}
    async with crowd(tmp_path, "--key-parallel", "3", slots=(8,), callers=callers) as scene:
        for _ in range(2):
            scene.asks("alice", stream=stream)
        for _ in range(3):
            scene.asks("bob", stream=stream)
        await until(lambda: scene.running == 5)
        await asyncio.gather(scene.asks("alice"), scene.asks("bob"))
        assert [(caller, status) for caller, status, *_ in scene.answers].count(("alice", 429)) == 1
        assert [error_of(answer)["code"] for answer in scene.answers] == ["too_many_parallel"] * 2
        assert await scene.count("limited_in_flight") == 5
        await scene.all_answered()
        await scene.has("limited_in_flight", 0)
        again = scene.asks("alice", stream=stream)
        await until(lambda: scene.running == 1)
        scene.nodes[0].release()
        await again
        assert scene.answers[-1][1] == 200
        await scene.has("promises", 0)
