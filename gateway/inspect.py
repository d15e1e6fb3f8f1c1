"""`waypost registry list` and `show`: everything on the registries, judged as a gateway with these options would."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import orjson

from gateway.addresses import GuardedResolver
from gateway.challenge import challenge
from gateway.config import ListConfig, ShowConfig
from gateway.rows import Row, descriptions, table
from registry.advert import Advert, Envelope, Refused
from registry.backend import Backend, BackendError, fetch_all, open_backend
from registry.keys import NodeKey
from registry.signing import open_signed
from registry.trust import Policy, Trust, Verdict
from relay.http import make_connector, make_session

_PROBES_AT_ONCE = 16


def run_list(config: ListConfig) -> int:
    """Print a row for every posting, refused ones too."""
    return asyncio.run(_print(config, lambda _: True, table))


def run_show(config: ShowConfig) -> int:
    """Print what each posting of one operator or node says."""
    return asyncio.run(_print(config, lambda row: config.who in ("", row.operator, row.node), descriptions))


async def _print(
    config: ListConfig, wanted: Callable[[Row], bool], lines: Callable[[Sequence[Row]], Iterable[str]]
) -> int:
    try:
        rows = [row for row in await judge_all(config) if wanted(row)]
    except (BackendError, ValueError) as error:
        print(f"waypost: {error}", file=sys.stderr)
        return 1
    if config.json_:
        sys.stdout.buffer.write(orjson.dumps([vars(row) for row in rows], option=orjson.OPT_INDENT_2) + b"\n")
    else:
        print("\n".join(lines(rows)))
    return 0


async def judge_all(config: ListConfig) -> list[Row]:
    """Read every registry and judge every posting with all of them known. Raises BackendError, ValueError."""
    trust = Trust(Policy.parse(config.trust, config.allow_private))
    postings = await _fetch(config.registry)
    now = time.time()
    for _ in range(2):  # a list or a revocation may stand behind what it decides about
        for raw in postings:
            trust.consider(raw, now)
    verdicts = [(raw, trust.judge(raw, now)) for raw in postings]
    failed = await _probe(config, verdicts) if config.probe else {}
    return [_row(raw, verdict, failed.get(raw)) for raw, verdict in verdicts]


async def _fetch(urls: Sequence[str]) -> list[str]:
    """Each different posting once, in the order it was first seen. Of the hosts of one board, one that answers will do.

    Raises BackendError if a board cannot be read at all.
    """
    found: dict[str, None] = {}
    async with AsyncExitStack() as stack:
        boards: dict[str, list[Backend]] = {}
        for url in urls:
            backend = open_backend(url)
            stack.push_async_callback(backend.close)
            boards.setdefault(backend.board, []).append(backend)
        for hosts in boards.values():
            found |= dict.fromkeys(await _fetch_board(hosts))
    return list(found)


async def _fetch_board(hosts: Sequence[Backend]) -> list[str]:
    """What the hosts of one board show; a line to stderr for each that is away. Raises BackendError if all are."""
    outcomes = await asyncio.gather(*(_fetch_host(host) for host in hosts), return_exceptions=True)
    failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    for failure in failures:
        if not isinstance(failure, BackendError) or len(failures) == len(hosts):
            raise failure
        print(f"waypost: {failure}; the other hosts of this board are read", file=sys.stderr)
    return [text for outcome in outcomes if not isinstance(outcome, BaseException) for text in outcome]


async def _fetch_host(host: Backend) -> list[str]:
    if not await host.exists():
        print(f"waypost: there is nothing at {host.url} yet; check the URL, or publish there", file=sys.stderr)
    return await fetch_all(host)


async def _probe(config: ListConfig, verdicts: Iterable[tuple[str, Verdict]]) -> dict[str, Refused]:
    """What each accepted advert's node did wrong when it was challenged, by posting."""
    adverts = {raw: advert for raw, verdict in verdicts if (advert := _to_probe(raw, verdict)) is not None}
    connector = make_connector(GuardedResolver(config.allow_private))
    async with make_session(connector, connect_s=config.connect_s) as session:
        key = NodeKey.new()
        at_once = asyncio.Semaphore(_PROBES_AT_ONCE)

        async def ask(advert: Advert) -> None:
            async with at_once:
                await challenge(session, advert, key)

        asked = [ask(advert) for advert in adverts.values()]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
    failed = {}
    for raw, outcome in zip(adverts, outcomes, strict=True):
        if isinstance(outcome, Refused):
            failed[raw] = outcome
        elif isinstance(outcome, BaseException):
            raise outcome
    return failed


def _to_probe(raw: str, verdict: Verdict) -> Advert | None:
    if not verdict.accepted or verdict.kind != "advert":
        return None
    opened = open_signed(Envelope.parse(raw))
    return opened if isinstance(opened, Advert) and opened.offers else None


def _row(raw: str, verdict: Verdict, failed: Refused | None) -> Row:
    reason = failed.reason if failed else verdict.reason
    envelope = _as_object(raw)
    claim = _claim(envelope)
    return Row(
        envelope=envelope,
        operator=verdict.operator or _text(claim.get("operator", claim.get("curator"))),
        node=verdict.node or _text(claim.get("node")),
        seq=verdict.seq if verdict.seq is not None else _integer(claim.get("seq")),
        accepted=verdict.accepted and failed is None,
        reason=reason.value if reason else None,
        kind=verdict.kind or None,
        detail=failed.detail if failed else verdict.detail,
    )


def _as_object(raw: str) -> Any:
    try:
        parsed = orjson.loads(raw)
        orjson.dumps(parsed)  # it reads deeper nesting than it writes
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return raw
    return parsed if isinstance(parsed, dict) else raw


def _claim(envelope: Any) -> dict[str, Any]:
    text = envelope.get("text") if isinstance(envelope, dict) else None
    claim = _as_object(text) if isinstance(text, str) else None
    return claim if isinstance(claim, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
