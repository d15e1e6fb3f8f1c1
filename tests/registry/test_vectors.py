"""The worked vectors: what the code makes, what vectors.json holds and what the document quotes are one."""

from __future__ import annotations

import json
from typing import Any

import make_vectors
import pytest
from postings import NOW

from registry.advert import Envelope
from registry.signing import open_delegation, open_signed
from registry.trust import Policy, Trust

HELD: dict[str, Any] = json.loads(make_vectors.VECTORS.read_text(encoding="utf-8"))
DOCUMENT = make_vectors.DOCUMENT.read_text(encoding="utf-8")


def test_the_code_makes_the_vectors() -> None:
    assert make_vectors.vectors() == HELD


def test_the_document_quotes_them() -> None:
    quoted = DOCUMENT.partition(make_vectors.MARK)[2]
    for fields in HELD.values():
        for value in fields.values():
            if isinstance(value, str):
                assert f"\n```text\n{value}\n```\n" in quoted
    assert quoted.strip() == make_vectors.document(HELD).strip()


@pytest.mark.parametrize("name", [name for name, fields in HELD.items() if "envelope" in fields])
def test_each_envelope_opens_and_is_written_the_same(name: str) -> None:
    envelope = Envelope.parse(HELD[name]["envelope"])
    assert open_signed(envelope).to_text() == HELD[name]["text"]
    assert envelope.to_json() == HELD[name]["envelope"]


def test_the_delegation_opens() -> None:
    given = open_delegation({key: HELD["delegation"][key] for key in ("text", "signature")})
    assert given.delegate == HELD["keys"]["delegate"]["address"]


def test_a_reader_accepts_each_in_turn() -> None:
    keys = HELD["keys"]
    trust = Trust(Policy.parse((keys["operator"]["address"], f"curator:{keys['curator']['address']}")))
    for name in ("advert by a delegate", "advert by the operator", "tombstone", "curation", "revocation"):
        verdict = trust.consider(HELD[name]["envelope"], NOW + 1)
        assert verdict.accepted, (name, verdict)
