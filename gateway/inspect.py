"""`waypost registry list` and `show`: everything on the registries, judged as a gateway with these options would."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from gateway.addresses import GuardedResolver
from gateway.challenge import challenge
from gateway.config import ListConfig, ShowConfig
from registry.advert import Advert, Envelope, Refused
from registry.backend import Backend, BackendError, fetch_all, open_backend
from registry.keys import NodeKey
from registry.signing import open_signed
from registry.trust import Policy, Trust, Verdict
from relay.http import make_connector, make_session

_PROBES_AT_ONCE = 16


@dataclass(frozen=True)
class Row:
    """One posting and what became of it. `reason` is one of the protocol's names, or None.

    Who and which are what a refused posting *claims*: signatures may be what it was refused for.
    """

    envelope: Any  # the posted JSON object, or the raw text where it is none
    operator: str | None
    node: str | None
    seq: int | None
    accepted: bool
    reason: str | None
    kind: str | None
    detail: str


def run_list(config: ListConfig) -> int:
    """Print a row for every posting, refused ones too."""
    return asyncio.run(_print(config, lambda _: True))


def run_show(config: ShowConfig) -> int:
    """The same for one operator or node."""
    return asyncio.run(_print(config, lambda row: config.who in ("", row.operator, row.node)))


async def _print(config: ListConfig, wanted: Any) -> int:
    try:
        rows = [row for row in await judge_all(config) if wanted(row)]
    except (BackendError, ValueError) as error:
        print(f"waypost: {error}", file=sys.stderr)
        return 1
    if config.json_:
        sys.stdout.buffer.write(orjson.dumps([vars(row) for row in rows], option=orjson.OPT_INDENT_2) + b"\n")
    else:
        print("\n".join(_table(rows)))
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
        print(f"waypost: there is nothing at {host.url} yet: publishing makes it, or check the path", file=sys.stderr)
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


def _table(rows: Sequence[Row]) -> Iterable[str]:
    yield f"{'KIND':<10} {'OPERATOR':<42} {'NODE':<43} {'SIGNED (UTC)':<19} VERDICT"
    for row in rows:
        verdict = "accepted" if row.accepted else f"refused: {row.reason}"
        detail = f" ({row.detail})" if row.detail else ""
        who = f"{row.kind or '-':<10} {_cut(row.operator, 42)} {_cut(row.node, 43)}"
        yield f"{who} {_moment(row.seq):<19} {verdict}{_printable(detail)}"
    accepted = sum(row.accepted for row in rows)
    yield f"{accepted} accepted, {len(rows) - accepted} refused"


def _cut(text: str | None, width: int) -> str:
    return _printable(text or "-")[:width].ljust(width)


def _printable(text: str) -> str:
    """Strangers wrote this: nothing in it may steer a terminal."""
    return "".join(each if each.isprintable() else "?" for each in text)


def _moment(seq: int | None) -> str:
    if seq is None or not 0 <= seq < 253_402_300_800_000:
        return "-"
    return datetime.fromtimestamp(seq / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
