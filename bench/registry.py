"""What it costs a gateway to read a registry on Aleph: `make bench-registry ARGS="COUNT ..."`.

For each count of adverts: from an empty start, all of them read from a node on loopback, each message's and each
advert's signatures verified, and everything made routable. Beside it the same messages read with aleph-sdk-python,
which verifies nothing. Then, with the largest count on the board, what one more advert costs.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.adverts import CHANNEL, POSTED_AGO_S, message, write
from bench.process import cpu_s
from registry.aleph.messages import posting, verify
from registry.trust import Policy, Trust

COUNTS = (1_000, 10_000, 100_000)
SDK_AT_MOST = 10_000  # its pages get slower the further they are
LIVE = 200
VERIFIED = 5_000
RUNS = 3


def main(counts: Sequence[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "messages.jsonl")
        write(max(counts), file, time.time() - POSTED_AGO_S)
        lines = file.read_text().splitlines(keepends=True)
        print_speed([json.loads(line) for line in lines[:VERIFIED]])
        print_head()
        for count in counts:
            part = Path(folder, f"{count}.jsonl")
            part.write_text("".join(lines[:count]))
            with node(part, Path(folder, f"{count}.db")) as url:
                measure(url, count, last=count == max(counts))


def print_speed(messages: list[dict[str, Any]]) -> None:
    """CPU time of verification alone, in this process."""
    rates = []
    for _ in range(RUNS):
        trust, began, now = Trust(Policy.parse(("any",))), cpu_s(), time.time()
        for each in messages:
            honest = verify(each)
            assert honest and trust.consider(posting(honest) or "", now).accepted
        rates.append(len(messages) / (cpu_s() - began))
    print(f"verified adverts per second per core (message and advert): {max(rates):,.0f}, best of {RUNS} runs", end="")
    print(f" ({', '.join(f'{rate:,.0f}' for rate in rates)})\n")


def print_head() -> None:
    columns = f"{'seconds':>8} {'CPU s':>7} {'adverts/CPU s':>14} {'MiB more':>9} {'MiB peak':>9}"
    print(f"{'adverts':>8}  {'reader':<22} {columns}")


def measure(url: str, count: int, last: bool) -> None:
    live = LIVE if last else 0
    with program("bench.reading", f"aleph+{url}?channel={CHANNEL}", str(live)) as reading:
        print_row("waypost, all verified", line_of(reading))
        if live:
            print_live(url, count, reading)
    if count <= SDK_AT_MOST:
        with program("bench.sdk_reading", url, CHANNEL) as reading:
            print_row("SDK, nothing verified", line_of(reading))


def print_row(name: str, got: dict[str, float]) -> None:
    rate = got["adverts"] / got["cpu_s"]
    print(
        f"{got['adverts']:>8,.0f}  {name:<22} {got['seconds']:>8.2f} {got['cpu_s']:>7.2f} {rate:>14,.0f}"
        f" {got['mib']:>9.0f} {got['peak_mib']:>9.0f}",
        flush=True,
    )


def print_live(url: str, count: int, reading: subprocess.Popen[str]) -> None:
    """Post one by one to a node that shows each to its sockets."""
    while json.loads(fetched(f"{url}/_control"))["sockets_open"] == 0:
        time.sleep(0.05)
    posted(f"{url}/_control", {"reset_counts": True})
    for number in range(LIVE):
        body = {"sync": True, "message": message(number, time.time())}
        posted(f"{url}/api/v0/messages", body)
        time.sleep(0.005)
    cost = line_of(reading)["cpu_ms_each"]
    counts = json.loads(fetched(f"{url}/_control"))
    messages, pages = counts["socket_messages"], counts["requests"].get("GET /api/v0/messages.json", 0)
    print(f"\none more at {count:,}: {cost:.2f} ms of CPU from the socket to routable,", end="")
    print(f" {messages / LIVE:.2f} messages and {pages / LIVE:.2f} pages each (mean of {LIVE})\n")


@contextmanager
def node(messages: Path, database: Path) -> Iterator[str]:
    """A node that has these messages; its URL."""
    with program("tests.fakes.aleph_node", "--load", str(messages), "--trust-load", "--db", str(database)) as running:
        assert running.stdout
        yield running.stdout.readline().strip()


@contextmanager
def program(module: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    running = subprocess.Popen([sys.executable, "-m", module, *words], stdout=subprocess.PIPE, text=True)
    try:
        yield running
    finally:
        running.terminate()
        running.wait()


def line_of(running: subprocess.Popen[str]) -> dict[str, float]:
    assert running.stdout
    figures: dict[str, float] = json.loads(running.stdout.readline())
    return figures


def fetched(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:
        body: bytes = answer.read()
        return body


def posted(url: str, body: dict[str, Any]) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    fetched(request)  # type: ignore[arg-type]


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or COUNTS)
