"""What workers know of each other's callers: counts and moments in shared memory, by processes of their own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from gateway.admission.quotas import Quotas
from gateway.admission.rates import take
from gateway.keys import Caller
from gateway.workers.shared import Shared
from relay.errors import TooManyRequests
from tests.programs import ROOT

ALICE = Caller("alice", max_parallel=3)

_PRESSING = """
import sys, time
from gateway.admission.rates import take
from gateway.workers.shared import Shared
shared = Shared(int(sys.argv[1]), 4, int(sys.argv[2]))
print(sum(not take(shared, "alice", 500, 1000.0).retry_s for _ in range(2000)))
"""


@pytest.fixture
def fd() -> Iterator[int]:
    shared = Shared.make(4)
    yield shared.fd
    shared.close()


def test_what_all_workers_have_in_flight_counts_for_each(fd: int) -> None:
    workers = [Quotas(elsewhere=Shared(fd, 4, number)) for number in (1, 2, 3, 4)]
    held = [workers[n].enter(ALICE, "alice") for n in (0, 1, 1)]
    for worker in workers:
        with pytest.raises(TooManyRequests):
            worker.enter(ALICE, "alice")
    with workers[3].enter(Caller("bob", max_parallel=1), "bob"):
        pass
    with held.pop(0), held.pop():
        pass
    with workers[2].enter(ALICE, "alice"), workers[0].enter(ALICE, "alice"):
        pass
    with held.pop():
        pass
    assert not any(Shared(fd, 4, number).count(who) for number in (1, 2, 3, 4) for who in ("alice", "bob"))


def test_what_a_worker_had_is_gone_with_it(fd: int) -> None:
    parent, killed, other = Shared(fd, 4), Shared(fd, 4, 2), Shared(fd, 4, 3)
    for _ in range(3):
        killed.add("alice", 1)
    other.add("alice", 1)
    assert Shared(fd, 4, 1).count("alice") == 4
    parent.clear(2)
    assert Shared(fd, 4, 1).count("alice") == 1


def test_a_thousand_callers_at_once_are_not_taken_for_each_other(fd: int) -> None:
    one, other = Shared(fd, 4, 1), Shared(fd, 4, 2)
    for number in range(1000):
        one.add(f"caller {number}", 1)
    mistaken = sum(other.count(f"somebody {number}") > 0 for number in range(1000))
    assert mistaken <= 2
    assert all(other.count(f"caller {number}") >= 1 for number in range(1000))


def test_processes_that_press_at_the_same_time_pass_as_often_as_one_would(fd: int) -> None:
    words = [sys.executable, "-c", _PRESSING, str(fd)]
    started = [
        subprocess.Popen([*words, str(n)], pass_fds=(fd,), stdout=subprocess.PIPE, env={"PYTHONPATH": str(ROOT)})
        for n in (1, 2, 3, 4)
    ]
    passed = [int(process.communicate(timeout=60)[0]) for process in started]
    assert sum(passed) == 500


def test_the_table_of_moments_never_grows_and_forgets_first_who_is_the_nearest_to_full(fd: int) -> None:
    shared = Shared(fd, 4, 1)
    now = time.monotonic()
    for number in range(40_000):
        take(shared, f"2001:db8::{number:x}/64", 60, now)
    for _ in range(60):
        take(shared, "pressing", 60, now)
    for number in range(40_000):
        take(shared, f"2001:db9::{number:x}/64", 60, now)
    assert take(Shared(fd, 4, 2), "pressing", 60, now).retry_s
