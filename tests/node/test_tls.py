"""A node that serves TLS itself: its key and certificate, and how a gateway holds it to what its advert says."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
from pathlib import Path

import aiohttp
import pytest

from node.tls_key import TlsKey
from registry.keys import NodeKey
from tests.commands import run
from tests.gateway.scene import chat as ask
from tests.node.agent import options
from tests.node.test_publishing import Operator, delegate, put
from tests.node.tls_scene import Authority, only, port_of, shown, spki_of, tls_agent
from tests.programs import free_port, until
from tests.stack import Stack, serve_gateway


async def test_the_first_start_makes_a_key_and_a_certificate_that_the_next_one_keeps(
    tmp_path: Path, fake_llama: Path, small_gguf: Path
) -> None:
    key, host = tmp_path / "tls.key", "a-b-c-d.2n6.me"
    async with tls_agent(tmp_path, fake_llama, small_gguf, public_url=f"https://{host}") as node:
        first = shown(port_of(node.url))
        certificate = tmp_path / "state" / f"tls-{spki_of(key)[:16]}.crt"
        connector = only(certificate)
        connector._resolver = _Here()
        async with aiohttp.ClientSession(connector=connector) as session:
            async with session.get(f"https://{host}:{port_of(node.url)}/health") as response:
                assert response.status == 200
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await session.get(f"https://elsewhere.example:{port_of(node.url)}/health")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert b"BEGIN PRIVATE KEY" in key.read_bytes()
    assert (first.not_valid_after_utc - first.not_valid_before_utc).days > 3600
    async with tls_agent(tmp_path, fake_llama, small_gguf, public_url=f"https://{host}") as node:
        assert shown(port_of(node.url)) == first
    async with tls_agent(tmp_path, fake_llama, small_gguf, public_url="https://other.example") as node:
        assert shown(port_of(node.url)) != first, "it is for another host"
        assert shown(port_of(node.url)).public_key() == first.public_key()


class _Here(aiohttp.abc.AbstractResolver):
    """Every name is this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        there: aiohttp.abc.ResolveResult = {
            "hostname": host, "host": "127.0.0.1", "port": port, "family": family, "proto": 0, "flags": 0,
        }  # fmt: skip
        return [there]

    async def close(self) -> None:
        pass


async def test_a_gateway_goes_to_the_key_of_the_advert_and_to_no_other(
    tmp_path: Path, fake_llama: Path, small_gguf: Path, session: aiohttp.ClientSession
) -> None:
    operator, port = Operator(tmp_path), free_port()
    place = {"listen": f"127.0.0.1:{port}", "public_url": f"https://127.0.0.1:{port}"}
    told = {**place, "registry": [operator.registry], "access": ["open"]}
    NodeKey.new().save(tmp_path / "gateway.key")
    stack = Stack(tmp_path, operator.registry, operator.wallet.address)
    async with tls_agent(tmp_path, fake_llama, small_gguf, **told) as node:
        await node.program.saw("registry delegate")
        put(operator, operator.delegation(delegate(operator)))
        advert = await operator.advert(1)
        assert advert.tls_spki_sha256 == spki_of(tmp_path / "tls.key")
        async with serve_gateway(stack, ("--open",), proven=1):
            assert (await ask(session, stack, "small"))[0] == 200
            node.program.process.kill()  # without a tombstone: its advert stands
            await node.program.process.wait()
            node_key = str(tmp_path / "state" / "node.key")
            other = {**place, "tls_key": str(tmp_path / "other.key"), "node_key": node_key}
            async with tls_agent(tmp_path, fake_llama, small_gguf, log="impostor.txt", **other) as impostor:
                assert impostor.key == node.key
                status, _, body = await ask(session, stack, "small")
                assert (status, body["error"]["code"]) == (503, "model_unavailable"), body
                assert "chat/completions" not in impostor.program.output()
                assert _reason(tmp_path, operator) == "challenge failed"
                assert "challenge" not in impostor.program.output(), "nothing was said to it"
            async with tls_agent(tmp_path, fake_llama, small_gguf, log="again.txt", **told):
                assert _reason(tmp_path, operator) is None


def _reason(folder: Path, operator: Operator) -> str | None:
    """Why a gateway that starts now would not route to the node."""
    words = ("registry", "list", "--registry", operator.registry, "--allow-private", "--probe", "--json")
    judged = json.loads(run(folder, *words).out)
    reasons: list[str | None] = [one["reason"] for one in judged if one["seq"] == max(each["seq"] for each in judged)]
    return reasons[0]


async def test_an_authoritys_certificate_is_shown_as_soon_as_it_is_there_and_renewed(
    tmp_path: Path, fake_llama: Path, small_gguf: Path
) -> None:
    chain, key, authority = tmp_path / "chain.pem", tmp_path / "tls.key", Authority()
    told = {"public_url": "https://gpu1.example", "tls_certificate": str(chain)}
    async with tls_agent(tmp_path, fake_llama, small_gguf, **told) as node:
        assert f"{chain} is not there yet" in node.program.output()
        port = port_of(node.url)
        own = shown(port)
        chain.write_bytes(authority.chain(key, ["gpu1.example"]))
        await until(lambda: shown(port) != own, lambda: "the authority's certificate")
        first = shown(port)
        assert first.issuer == authority.name
        said = len(node.program.output())
        (tmp_path / "new.pem").write_bytes(authority.chain(tmp_path / "tls.key", ["gpu1.example"]))
        (tmp_path / "new.pem").rename(chain)
        await until(lambda: shown(port) != first, lambda: "the renewed certificate")
        await node.program.saw("counts until", since=said)
        renewed = shown(port)
        (tmp_path / "another.key").write_bytes(_another(tmp_path))
        (tmp_path / "new.pem").write_bytes(authority.chain(tmp_path / "another.key", ["gpu1.example"]))
        (tmp_path / "new.pem").rename(chain)
        await node.program.saw("is for another key than --tls-key")
        assert shown(port) == renewed, "what cannot be used is not shown"
        chain.unlink()
        (tmp_path / "new.pem").write_text("no certificate\n")
        (tmp_path / "new.pem").rename(chain)
        await node.program.saw("holds no certificate")
        assert shown(port) == renewed


def _another(folder: Path) -> bytes:
    return TlsKey.load_or_create(folder / "made.key").path.read_bytes()


@pytest.mark.parametrize(
    ("written", "fix"),
    [
        ("another", "is for another key than --tls-key"),
        ("text", "holds no certificate; put the chain there as PEM"),
        ("folder", "Is a directory; name a PEM file"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_told_of_in_a_line(
    tmp_path: Path, small_gguf: Path, fake_llama: Path, written: str, fix: str
) -> None:
    chain = tmp_path / "chain.pem"
    if written == "folder":
        chain.mkdir()
    elif written == "text":
        chain.write_text("-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n")
    else:
        (tmp_path / "another.key").write_bytes(_another(tmp_path))
        chain.write_bytes(Authority().chain(tmp_path / "another.key", ["gpu1.example"]))
    told = {"tls_key": str(tmp_path / "tls.key"), "tls_certificate": str(chain), "llama_server": str(fake_llama)}
    words = options(tmp_path, {"small": {"uri": str(small_gguf)}}, **told)
    done = run(tmp_path, *words[2:])
    assert (done.status, "Traceback" in done.err) == (1, False)
    assert fix in done.err.splitlines()[-1]
    assert done.err.splitlines()[-1].startswith(f"waypost: --tls-certificate {chain}")


@pytest.mark.parametrize(
    ("content", "mode", "fix"),
    [
        ("PEM", 0o644, "others can read this key; run `chmod 600"),
        ("ab" * 32, 0o600, "must hold one private key as PEM"),
        ("", 0o600, "must hold one private key as PEM"),
    ],
)
def test_a_key_that_cannot_be_used_is_told_of_in_a_line(tmp_path: Path, content: str, mode: int, fix: str) -> None:
    key = tmp_path / "tls.key"
    key.write_bytes(_another(tmp_path) if content == "PEM" else content.encode())
    key.chmod(mode)
    done = run(tmp_path, "node", "keys", "--tls-key", str(key))
    assert (done.status, len(done.err.splitlines())) == (1, 1)
    assert done.err.startswith(f"waypost: {key}: {fix}")
    assert "PRIVATE" not in done.err + done.out


async def test_all_addresses_are_listened_on(tmp_path: Path, fake_llama: Path, small_gguf: Path) -> None:
    port = free_port()
    async with tls_agent(tmp_path, fake_llama, small_gguf, listen=f"*:{port}", access=["open"]) as node:
        assert node.url.endswith(f":{port}")
        connector = only(next((tmp_path / "state").glob("tls-*.crt")))
        async with aiohttp.ClientSession(connector=connector) as session:
            hosts = ["127.0.0.1", "[::1]"] if _has_ipv6() else ["127.0.0.1"]
            for host in hosts:
                async with session.get(f"https://{host}:{port}/health") as response:
                    assert response.status == 200


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


async def test_its_status_can_be_asked_for_by_its_own_file(tmp_path: Path, fake_llama: Path, small_gguf: Path) -> None:
    asked = ("node", "status", "--config", str(tmp_path / "waypost.toml"), "--json")
    port = free_port()
    async with tls_agent(tmp_path, fake_llama, small_gguf, listen=f"*:{port}", access=["open"]):
        done = await asyncio.to_thread(run, tmp_path, *asked)
        assert (done.status, json.loads(done.out)["status"]) == (0, "ready")
        (tmp_path / "other.key").write_bytes(_another(tmp_path))
        (tmp_path / "other.key").chmod(0o600)
        done = await asyncio.to_thread(run, tmp_path, *asked, "--tls-key", str(tmp_path / "other.key"))
        assert (done.status, done.out, "Traceback" in done.err) == (2, "", False)
        assert done.err.startswith(f"waypost: https://127.0.0.1:{port}/health cannot be reached")


async def test_a_published_node_says_what_to_do_where_nothing_says_where_it_is(
    tmp_path: Path, fake_llama: Path, small_gguf: Path
) -> None:
    told = {"registry": [f"sqlite:///{tmp_path}/r.db"], "access": ["open"], "llama_server": str(fake_llama)}
    done = run(tmp_path, *options(tmp_path, {"small": {"uri": str(small_gguf)}}, **told)[2:])
    assert done.status == 1
    assert "waypost: --registry needs --public-url: an advert says where gateways reach this node" in done.err
    assert repr(socket.gethostname()) in done.err
