"""The one canonical JSON text of a value, written and strictly read.

Two readers that agree on the bytes agree on the meaning: one order of keys, one way to escape, integers only. A text
that is not JSON is `malformed`; one that is JSON, but not written the one way, is `not canonical`.
Not here: what the fields mean (advert).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import orjson

from registry.reasons import Reason, Refused

__all__ = ["MAX_DEPTH", "MAX_INTEGER", "MAX_TEXT_BYTES", "canonical", "parse_canonical", "parse_json"]

MAX_TEXT_BYTES = 65536
MAX_INTEGER = 2**53 - 1
MAX_DEPTH = 32  # levels of objects and arrays; a bound of our own, far above what any field needs

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,15}")
# An unterminated string matches too, up to the end: every quote is passed once, and the scan is linear in any text.
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_WRITER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)


def canonical(obj: Mapping[str, Any]) -> str:
    """Write `obj`; ValueError where it holds something that a canonical text cannot (a float, a non-ASCII key, ...)."""
    _check_value(obj, 1)
    text = _WRITER.encode(obj)
    size = len(text.encode())
    if size > MAX_TEXT_BYTES:
        raise ValueError(f"the text has {size} bytes; at most {MAX_TEXT_BYTES} can be signed")
    return text


def parse_canonical(text: str) -> dict[str, Any]:
    """Read a text that must be canonical to the byte; raises Refused (too large, malformed, not canonical)."""
    _check_size(text, MAX_TEXT_BYTES)
    _check_depth(text)
    fast = _parse_fast(text, orjson.OPT_SORT_KEYS)
    if fast is not None:
        return fast
    obj = _parse(text)
    if _WRITER.encode(obj) != text:  # a lone surrogate differs too: no UTF-8 text can hold it but as an escape
        raise Refused(Reason.NOT_CANONICAL, "the text differs from its canonical form")
    return obj


def parse_json(text: str, limit_bytes: int) -> dict[str, Any]:
    """Read one JSON object: bounded in bytes and depth, no duplicate key, no number but integers."""
    _check_size(text, limit_bytes)
    _check_depth(text)
    fast = _parse_fast(text, 0)
    return _parse(text) if fast is None else fast


def _parse_fast(text: str, writing: int) -> dict[str, Any] | None:
    """The object in a text as we would write it; None where that cannot be told quickly: the slow way names the fault.

    What comes out byte for byte when it is written again has no space, no duplicate key and no other escape (and with
    `writing` sorted, no other order). What is left to look at are numbers and the alphabet of the keys.
    """
    try:
        obj = orjson.loads(text)
        same = orjson.dumps(obj, option=writing) == text.encode()
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None
    return obj if same and isinstance(obj, dict) and _is_plain(obj) else None


def _is_plain(obj: dict[str, Any]) -> bool:
    """Is every number an integer within the bounds, and every key ASCII?"""
    open_values: list[Any] = [obj]
    while open_values:
        value = open_values.pop()
        if type(value) is dict:
            if not "".join(value).isascii():
                return False
            value = value.values()
        for inner in value:
            kind = type(inner)
            if kind is dict or kind is list:
                open_values.append(inner)
            elif kind is float or (kind is int and not -MAX_INTEGER <= inner <= MAX_INTEGER):
                return False
    return True


def _parse(text: str) -> dict[str, Any]:
    try:
        obj = _READER.decode(text)
    except ValueError as error:
        raise Refused(Reason.MALFORMED, f"not JSON: {error}") from error
    if not isinstance(obj, dict):
        raise Refused(Reason.MALFORMED, "not a JSON object")
    return obj


def _check_size(text: str, limit_bytes: int) -> None:
    too_large = f"more than {limit_bytes} bytes"
    if len(text) > limit_bytes:
        raise Refused(Reason.TOO_LARGE, too_large)
    if text.isascii():
        return
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise Refused(Reason.MALFORMED, "not UTF-8: a lone surrogate") from error
    if size > limit_bytes:
        raise Refused(Reason.TOO_LARGE, too_large)


def _check_depth(text: str) -> None:
    """Bound the nesting before the parser sees the text: a parser's own bound depends on the caller's stack."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for char in re.findall(r"[\[\]{}]", _STRING.sub("", text)):
        depth += 1 if char in "[{" else -1
        if depth > MAX_DEPTH:
            raise Refused(Reason.MALFORMED, f"nested deeper than {MAX_DEPTH} levels")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    obj = dict(pairs)
    if not all(map(str.isascii, obj)):
        raise Refused(Reason.NOT_CANONICAL, "a key that is not ASCII")
    if len(obj) != len(pairs):
        raise Refused(Reason.NOT_CANONICAL, "a key stands twice in one object")
    return obj


def _integer(digits: str) -> int:
    value = int(digits) if _INTEGER.fullmatch(digits) else MAX_INTEGER + 1
    if abs(value) > MAX_INTEGER:
        raise Refused(Reason.NOT_CANONICAL, "an integer that is -0 or outside +-(2^53 - 1)")
    return value


def _no_float(_: str) -> NoReturn:
    raise Refused(Reason.NOT_CANONICAL, "a number with a fraction or an exponent; only integers are allowed")


def _no_constant(name: str) -> NoReturn:
    raise Refused(Reason.MALFORMED, f"not JSON: {name}")


_READER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_no_float, parse_constant=_no_constant
)


def _check_value(value: Any, depth: int) -> None:
    """ValueError for what a canonical text cannot hold."""
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str) or not key.isascii():
                raise ValueError("a key that is not ASCII")
            _check_value(inner, depth + 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_value(inner, depth + 1)
    elif isinstance(value, str):
        _check_string(value)
    elif value is not None and not isinstance(value, bool):
        _check_integer(value)


def _check_string(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError("a string with a lone surrogate") from error


def _check_integer(value: Any) -> None:
    if not isinstance(value, int):
        raise ValueError(f"a value of type {type(value).__name__}; only integers, strings, true, false and null")
    if abs(value) > MAX_INTEGER:
        raise ValueError("an integer outside +-(2^53 - 1)")
