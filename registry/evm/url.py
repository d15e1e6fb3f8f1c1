"""Which contract, through which host: `evm+https://RPC_HOST[/PATH]/0xCONTRACT[?chain=ID&max_gwei=N]`.

The path, the user and every other option of the query belong to the host, and may be a key: they are never shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

__all__ = ["Place", "parse_chain", "parse_place"]

_CONTRACT = re.compile(r"0x[0-9a-fA-F]{40}")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}|[0-9A-Fa-f:.]+")
_OPTIONS = {
    "chain": (re.compile(r"[1-9][0-9]{0,18}"), "chain=ID must be one decimal number, the chain's id"),
    "max_gwei": (
        re.compile(r"[1-9][0-9]{0,8}"),
        "max_gwei=N must be one whole number, the highest tip for a unit of gas",
    ),
}
_MAX_GWEI = 100
_LEAST_SEGMENT = 8  # characters of a path's segment that may be a key: shorter ones are versions and names of chains
_LEAST_SECRET = 4  # of users, passwords and options
_FORM = "must be evm+https://RPC_HOST[/PATH]/0xCONTRACT[?chain=ID&max_gwei=N] (evm+http for a chain on this machine)"
_FORM_CHAIN = "must be evm+https://RPC_HOST[/PATH], without a contract: that is what is made now"


@dataclass(frozen=True)
class Place:
    """`rpc` is what is asked; `contract` is lower-case, and empty where none is made yet; `url` is fit to be shown."""

    rpc: str = field(repr=False)
    contract: str
    chain: int | None
    url: str
    near: bool  # on this machine
    max_gwei: int  # the highest tip, or gas price on a chain without tips
    whole: SplitResult = field(repr=False)

    @property
    def board(self) -> str:
        return f"evm:{self.contract}" + (f":{self.chain}" if self.chain else "")

    def with_contract(self, address: str, chain: int) -> str:
        """The whole registry URL of a contract on this chain, as it is to be used: secrets are in it."""
        query = self.whole.query if self.chain else f"{self.whole.query}&chain={chain}".lstrip("&")
        return self.whole._replace(path=f"{self.whole.path.rstrip('/')}/{address}", query=query).geturl()

    def redacted(self, text: str) -> str:
        """A host's words without what may be a key."""
        return self._secrets.sub("...", text) if self._secrets.pattern else text

    @property
    def _secrets(self) -> re.Pattern[str]:
        parts = urlsplit(self.rpc)
        values = [parts.query, parts.username or "", parts.password or "", *(v for _, v in parse_qsl(parts.query))]
        values = [value for value in values if len(value) >= _LEAST_SECRET]
        values += [part for part in parts.path.split("/") if len(part) >= _LEAST_SEGMENT]
        spellings = {spelling for value in values for spelling in (value, unquote(value), quote(value, safe=""))}
        return re.compile("|".join(re.escape(text) for text in sorted(spellings, key=len, reverse=True) if text))


def parse_place(url: str) -> Place:
    """Read a registry URL; ValueError says what is wrong with it."""
    parts = _split(url, _FORM)
    path, _, contract = parts.path.rstrip("/").rpartition("/")
    if not _CONTRACT.fullmatch(contract):
        raise _bad(parts, _FORM)
    return _place(parts, path, contract.lower())


def parse_chain(url: str) -> Place:
    """Read the URL of a chain's host alone; ValueError says what is wrong with it."""
    parts = _split(url, _FORM_CHAIN)
    if _CONTRACT.fullmatch(parts.path.rstrip("/").rpartition("/")[2]):
        raise _bad(parts, _FORM_CHAIN)
    return _place(parts, parts.path.rstrip("/"), "")


def _split(url: str, form: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        valid = parts.port != 0 and bool(_HOST.fullmatch(parts.hostname or ""))
    except ValueError as error:
        raise ValueError(f"registry evm+...: {form}") from error
    if parts.scheme not in ("evm+https", "evm+http") or not valid or parts.fragment or not url.isprintable():
        raise _bad(parts, form)
    return parts


def _place(parts: SplitResult, path: str, contract: str) -> Place:
    options = [option for option in parts.query.split("&") if option]
    ours = [option for option in options if option.partition("=")[0] in _OPTIONS]
    chain, max_gwei = (_option(parts, ours, name) for name in _OPTIONS)
    hidden = "/..." if path.strip("/") else ""
    shown = f"{parts.scheme}://{_host(parts)}{hidden}" + (f"/{contract}" if contract else "")
    query = "&".join(option for option in options if option not in ours)
    return Place(
        rpc=parts._replace(scheme=parts.scheme.removeprefix("evm+"), path=path, query=query).geturl(),
        contract=contract,
        chain=chain,
        url=shown + (f"?{'&'.join(ours)}" if ours else ""),
        near=_near(parts.hostname or ""),
        max_gwei=max_gwei or _MAX_GWEI,
        whole=parts,
    )


def _option(parts: SplitResult, options: list[str], name: str) -> int | None:
    form, why = _OPTIONS[name]
    given = [value for option in options for key, _, value in (option.partition("="),) if key == name]
    if len(given) > 1 or not all(map(form.fullmatch, given)):
        raise _bad(parts, why)
    return int(given[0]) if given else None


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    name = f"[{host}]" if ":" in host else host
    return f"{name}:{parts.port}" if parts.port else name


def _near(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bad(parts: SplitResult, why: str) -> ValueError:
    host = _host(parts) if _HOST.fullmatch(parts.hostname or "") else "..."
    return ValueError(f"registry {parts.scheme}://{host}/...: {why}")
