"""URLs have one spelling; addresses that are not public are not called."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from registry.addresses import allowed
from registry.advert import Reason, Refused
from registry.urls import check_site, in_suffixes, parse_url

PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
PRIVATE = ["127.0.0.1", "127.9.9.9", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "::1", "fd00::1"]
NEVER = [
    "0.0.0.0", "0.1.2.3", "100.64.0.1", "169.254.169.254", "192.0.0.1", "192.0.2.1", "192.88.99.1", "198.18.0.1",
    "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "::", "fe80::1",
    "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1",
    "64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1", "64:ff9b:1::808:808", "2002:7f00:1::1", "2002:a00:1::", "2002:a9fe:a9fe::",
    "2001:0:808:808::80ff:fffe", "2001:0:7f00:1::f7f7:f7f7", "2001:db8::1", "3fff::1", "100::1", "5f00::1", "2001:2::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert allowed(ip_address(address), False) and allowed(ip_address(address), True)


def test_teredo_is_allowed_only_where_both_ends_are_public() -> None:
    assert allowed(ip_address("2001:0:808:808::f7f7:f7f7"), False)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_allowed_only_when_told(address: str) -> None:
    assert not allowed(ip_address(address), False)
    assert allowed(ip_address(address), True)


@pytest.mark.parametrize("address", NEVER)
def test_others_never_are(address: str) -> None:
    assert not allowed(ip_address(address), False)
    assert not allowed(ip_address(address), True)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org", "https://a-b.c1.example:8443", "https://8.8.8.8", "https://[2606:4700::1111]:8443",
        "http://127.0.0.1:8800", "https://xn--bcher-kva.example", "https://localhost:1", "https://a:65535",
    ],
)  # fmt: skip
def test_urls_of_the_one_form_are_read(url: str) -> None:
    parse_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "", "https://", "https://example.org/", "https://example.org/v1", "https://example.org?x", "https://example.org#x",
        "https://user@example.org", "https://user:pw@example.org", "https://Example.org", "HTTPS://example.org",
        "https://example.org.", "https://.example.org", "https://a..b", "https://-a.example", "https://a-.example",
        "https://example.org:", "https://example.org:443", "http://example.org:80", "https://example.org:0",
        "https://example.org:08", "https://example.org:65536", "https://example.org:99999999999", "ftp://example.org",
        "https://exa mple.org", "https://example.org\n", "https://bücher.example", "https://exa_mple.org",
        "https://127.1", "https://2130706433", "https://0x7f000001", "https://0177.0.0.1", "https://0x7f.0.0.1",
        "https://1.2.3.4.5", "https://1.2.3.256", "https://example.1", "https://[::1", "https://::1", "https://[::0001]",
        "https://[::FFFF]", "https://[fe80::1%25eth0]", "https://[::ffff:127.0.0.1]", "https://[::ffff:7f00:1]",
        "https://" + "a" * 64 + ".example", "https://" + "a." * 127 + "bb", "//example.org", "https:example.org",
        "https://a\u3002example", "https://١٢٧.0.0.1", "https://example.org:٤٤",
    ],
)  # fmt: skip
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_url(url)
    assert refused.value.reason is Reason.URL_REFUSED


@pytest.mark.parametrize("url", ["http://example.org", "https://127.0.0.1", "https://[::1]", "https://localhost"])
def test_private_sites_are_for_those_who_allow_them(url: str) -> None:
    check_site(parse_url(url), allow_private=True)
    with pytest.raises(Refused) as refused:
        check_site(parse_url(url), allow_private=False)
    assert refused.value.reason is Reason.URL_REFUSED


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254", "https://[fe80::1]", "https://0.0.0.0", "https://100.64.0.1"]
)
def test_barred_sites_are_refused_to_all(url: str) -> None:
    for allow_private in (False, True):
        with pytest.raises(Refused):
            check_site(parse_url(url), allow_private)


def test_a_suffix_matches_a_host_or_what_follows_a_dot() -> None:
    site = parse_url("https://a.b.example:8443")
    assert in_suffixes(site, ("a.b.example",)) and in_suffixes(site, ("x", "b.example"))
    assert not in_suffixes(site, ()) and not in_suffixes(site, (".example",)) and not in_suffixes(site, ("ample",))
    assert not in_suffixes(parse_url("https://b.example.org"), ("b.example",))


def test_an_address_matches_only_whole() -> None:
    assert in_suffixes(parse_url("https://8.8.8.8"), ("8.8.8.8",))
    assert not in_suffixes(parse_url("https://8.8.8.8"), ("8.8.8",))
    assert in_suffixes(parse_url("https://[2606:4700::1111]"), ("2606:4700::1111",))
