"""`waypost registry show` as a person sees it: what each posting says, and nothing that steers a terminal."""

from __future__ import annotations

import json
import time
from pathlib import Path

from registry.advert import Advert, Curation, Delegation, Offer, Price, Revocation, Vm
from registry.backend import open_backend
from registry.keys import NodeKey, Wallet
from registry.signing import sign_advert, sign_curation, sign_delegation, sign_revocation
from tests.programs import waypost

OPERATOR, DELEGATE, NODE = Wallet(b"\x11" * 32), Wallet(b"\x22" * 32), NodeKey(b"\x33" * 32)


def advert(now: int) -> Advert:
    offer = Offer(
        model="smollm2", aliases=("smol",), endpoints=("chat.completions",), weights_sha256="ab" * 32,
        template_sha256=None, quantization="Q4_1", context_length=8192, parallel=4, modalities=("text",),
        engine="llama.cpp/0.3.36", resume=True, warm=True, prices=(Price(unit="usd/1M prompt tokens", amount="0.05"),),
    )  # fmt: skip
    return Advert(
        operator=OPERATOR.address, node=NODE.public, seq=now * 1000, issued_at=now, expires_at=now + 3600,
        url="https://gpu1.example", tls_spki_sha256="cd" * 32, offers=(offer,), region="eu-west",
        vm=Vm(platform="aleph", item_hash="ef" * 32),
    )  # fmt: skip


async def board(folder: Path, *texts: str) -> None:
    backend = open_backend(f"sqlite:///{folder}/board.db")
    for text in texts:
        await backend.publish(text)
    await backend.close()


async def show(folder: Path, *words: str) -> str:
    return await waypost("registry", "show", *words, "--registry", "sqlite:///board.db", cwd=folder)


async def test_it_says_what_an_advert_says_and_by_whom(tmp_path: Path) -> None:
    now = int(time.time())
    delegation = Delegation(
        operator=OPERATOR.address, delegate=DELEGATE.address, node=None, issued_at=now, expires_at=now + 86_400,
        url_suffixes=None,
    )  # fmt: skip
    signed = sign_advert(advert(now), DELEGATE, NODE, sign_delegation(delegation, OPERATOR))
    await board(tmp_path, signed.to_json(), '{"kind": "advert"}')
    said = await show(tmp_path, NODE.public, "--trust", "any")
    assert f"advert of {NODE.public}\n  accepted\n  operator    {OPERATOR.address}" in said
    for part in (
        f"by delegate {DELEGATE.address}, until ",
        "url         https://gpu1.example (TLS key cdcdcdcdcdcdcdcd...)",
        f"vm          aleph {'ef' * 32}",
        "model       smollm2 (smol): chat.completions; Q4_1; 8192 tokens; 4 at once; warm; weights abababababababab...",
        "0.05 usd/1M prompt tokens",
        "1 accepted, 0 refused",
    ):
        assert part in said


async def test_lists_revocations_and_tombstones_are_said_too(tmp_path: Path) -> None:
    now = int(time.time())
    revocation = Revocation(operator=OPERATOR.address, seq=now * 1000, delegates=(DELEGATE.address,))
    curation = Curation(
        curator=OPERATOR.address, seq=now * 1000, issued_at=now, expires_at=now + 60, operators=(),
        nodes=(NODE.public,), models={"smol": "ab" * 32}, slugs={"demo": "smol"},
    )  # fmt: skip
    tombstone = advert(now).model_copy(update={"offers": ()})
    texts = (sign_revocation(revocation, OPERATOR), sign_curation(curation, OPERATOR))
    await board(tmp_path, *(text.to_json() for text in texts), sign_advert(tombstone, OPERATOR, None, None).to_json())
    said = await show(tmp_path, "--trust", OPERATOR.address)
    assert f"revokes     {DELEGATE.address}" in said and "none: this node is retired" in said
    assert f"vouches for {NODE.public}" in said and "slug        demo = smol" in said
    assert "refused: untrusted operator" in said and "2 accepted, 1 refused" in said


async def test_strangers_steer_no_terminal(tmp_path: Path) -> None:
    text = json.dumps({"v": 1, "operator": "\x1b[31mred", "node": "\x07", "seq": 1})
    await board(tmp_path, json.dumps({"kind": "advert\x1b[2J", "text": text, "signature": "\x1b"}), "\x1b[2J")
    said = await show(tmp_path)
    assert "\x1b" not in said and "\x07" not in said and "0 accepted, 2 refused" in said
