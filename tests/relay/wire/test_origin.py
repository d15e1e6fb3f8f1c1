"""What a URL says about where an upstream is."""

from __future__ import annotations

import aiohttp
import pytest

from relay.wire.origin import Origin

PIN = aiohttp.Fingerprint(bytes(32))


def test_of_a_url() -> None:
    assert Origin.of("http://host.example/v1/chat") == Origin("host.example", 80)
    assert Origin.of("http://127.0.0.1:8080") == Origin("127.0.0.1", 8080)
    assert Origin.of("https://HOST.example") == Origin("host.example", 443, tls=True)
    assert Origin.of("https://[::1]:8443/", PIN) == Origin("::1", 8443, tls=PIN)
    assert Origin.of("http://host.example", PIN) == Origin("host.example", 80)


def test_the_host_field() -> None:
    urls = ("http://a.example", "http://a.example:81", "https://a.example", "https://a.example:80", "http://[::1]:9")
    found = [Origin.of(url).authority for url in urls]
    assert found == ["a.example", "a.example:81", "a.example", "a.example:80", "[::1]:9"]
    assert Origin.on_socket("/run/engine").authority == "localhost"


def test_pins_keep_connections_apart() -> None:
    other = aiohttp.Fingerprint(bytes(31) + b"1")
    url = "https://host.example"
    assert len({Origin.of(url), Origin.of(url, PIN), Origin.of(url, other), Origin.of(url, PIN)}) == 3


@pytest.mark.parametrize("url", ["", "host.example", "ftp://host.example", "http://", "unix:/run/engine", "http:///v1"])
def test_no_url_of_a_server(url: str) -> None:
    with pytest.raises(ValueError, match="write http://host:port"):
        Origin.of(url)


def test_tls_is_never_unchecked() -> None:
    with pytest.raises(ValueError, match="give tls=True or a Fingerprint"):
        Origin.of("https://host.example", False)
