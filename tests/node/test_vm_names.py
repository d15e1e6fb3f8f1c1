"""What a machine on Aleph knows of itself by its host name alone."""

from __future__ import annotations

import base64
import hashlib

import pytest

from node.vm import aleph_item_hash, aleph_url, whereabouts

HASH = "f0" * 32
HOST = base64.b32encode(bytes.fromhex(HASH)).decode().lower().rstrip("=")


@pytest.mark.parametrize(
    ("item_hash", "words"),
    [
        ("0" * 64, "abandon-abandon-abandon-abandon"),
        ("f" * 64, "zoo-zoo-zoo-zoo"),
        ("0" * 10 + "1" + "f" * 53, "abandon-abandon-abandon-ability"),  # 44 bits are 11 digits
        ("004" + "0" * 61, "able-abandon-abandon-abandon"),  # 11 bits a word, the highest first
        ("800" + "0" * 61, "length-abandon-abandon-abandon"),
    ],
)
def test_the_first_44_bits_are_four_words(item_hash: str, words: str) -> None:
    assert aleph_url(item_hash) == f"https://{words}.2n6.me"


def test_the_list_of_words_is_the_one_that_the_network_uses() -> None:
    from mnemonic import Mnemonic

    text = "".join(f"{word}\n" for word in Mnemonic("english").wordlist)
    known = "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda"  # of BIP-39's english.txt
    assert hashlib.sha256(text.encode()).hexdigest() == known


def test_a_machine_knows_its_hash_and_its_name() -> None:
    assert aleph_item_hash(HOST) == HASH
    assert aleph_item_hash(f"{HOST.upper()}.somewhere") == HASH
    assert whereabouts(None, None, HOST) == (aleph_url(HASH), HASH)


def test_what_it_is_told_counts_for_more() -> None:
    other = "ab" * 32
    assert whereabouts("https://h.example", None, HOST) == ("https://h.example", HASH)
    assert whereabouts(None, other, HOST) == (aleph_url(other), other)
    assert whereabouts(None, other, "gpu1") == (aleph_url(other), other)


@pytest.mark.parametrize("host", ["gpu1", "", "localhost", HOST[:-1], HOST + "a", HOST[:-1] + "1"])
def test_other_host_names_say_nothing(host: str) -> None:
    assert whereabouts(None, None, host) == (None, None)
    assert whereabouts("https://h.example", None, host) == ("https://h.example", None)
