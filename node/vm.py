"""Which virtual machine this is: on Aleph Cloud, a machine's host name is the hash of the message that made it.

From the hash follows the name by which the network reaches the machine. Not here: proving whose machine it is (that is
for readers, by the message itself).
"""

from __future__ import annotations

import base64

_HOST_NAME_CHARS = 52  # base32 of 32 bytes, without padding
_WORDS = 4
_BITS_A_WORD = 11  # BIP-39's list has 2048 words
_DOMAIN = "2n6.me"


def whereabouts(public_url: str | None, vm_hash: str | None, host_name: str) -> tuple[str | None, str | None]:
    """Where a node is reached, and the item hash of its machine: as told, else as an Aleph host name says.

    Raises ValueError where a name is wanted that cannot be made.
    """
    known = vm_hash or aleph_item_hash(host_name)
    return public_url or (aleph_url(known) if known else None), known


def aleph_item_hash(host_name: str) -> str | None:
    """The item hash (64 hex digits) that an Aleph host name is base32 of; None for any other name."""
    first = host_name.partition(".")[0]
    if len(first) != _HOST_NAME_CHARS:
        return None
    try:
        return base64.b32decode(first.upper() + "====").hex()
    except ValueError:
        return None


def aleph_url(item_hash: str) -> str:
    """Where Aleph's proxy passes TLS on to that machine: the hash's first 44 bits as four words, `w1-w2-w3-w4`.

    Raises ValueError where the list of words is not installed.
    """
    words = _words()
    top = int(item_hash, 16) >> (4 * len(item_hash) - _WORDS * _BITS_A_WORD)
    places = [(top >> _BITS_A_WORD * place) & 0x7FF for place in reversed(range(_WORDS))]
    return f"https://{'-'.join(words[place] for place in places)}.{_DOMAIN}"


def _words() -> list[str]:
    try:
        from mnemonic import Mnemonic
    except ImportError as error:
        raise ValueError("this machine's name on Aleph needs a list of words: pip install 'waypost[node]'") from error
    return Mnemonic("english").wordlist
