"""The rows of bench.relay: what each one is, how it is set up, and how much is asked of it.

Not here: starting them (relay_peers, relay_ours).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from bench import relay_gateways as gateways
from bench import relay_ours as ours
from bench import relay_peers as peers
from bench.relay_phases import Load
from bench.relay_scene import Start

REFERENCE = "nginx"  # what ratios are to, but for the rows with TLS
DIRECT = "direct"
_FULL = Load()
_TLS = replace(_FULL, crowd=1000)
_MIDDLE = replace(_FULL, streams=64, crowd=1000)  # at 256 streams it cannot keep up


@dataclass(frozen=True)
class Target:
    """One row. `what` says how it is set up."""

    name: str
    what: str
    start: Start
    load: Load = _FULL
    version: Callable[[], str] = ours.version
    against: str = REFERENCE  # the target that it is held against


_HEAVY = replace(_FULL, streams=16, eager=16, crowd=64)  # at more it answers hardly any

TARGETS = (
    Target(DIRECT, "no hop: what these clients and this engine do at most on this machine", peers.direct),
    Target("bare-asyncio", "bench/relay_hop.py on uvloop: bytes handed on, nothing understood", peers.bare),
    Target(
        "nginx", "1 worker, proxy_buffering off, 512 kept upstream connections, keepalive_requests unbounded, no log",
        peers.nginx(), version=peers.version("nginx"),
    ),
    Target(
        "haproxy", "nbthread 1, http-reuse always, http-no-delay (without it tokens wait for up to 200 ms), no log",
        peers.haproxy, version=peers.version("haproxy"),
    ),
    Target("gateway", "waypost gateway serve: API keys, routed by a signed advert to a proven node", ours.gateway()),
    Target("node", "waypost node serve: API keys; an external engine, so a connection for each request", ours.node()),
    Target("both", "gateway before node; CPU and memory of the two together", ours.both),
    Target("gateway-x2", "the gateway with --workers 2; CPU and memory of all its processes", ours.gateway(workers=2)),
    Target(
        "nginx-tls", "as nginx, TLS to its clients",
        peers.nginx(tls=True), _TLS, peers.version("nginx"), "nginx-tls",
    ),
    Target("gateway-tls", "as gateway, TLS to its clients", ours.gateway(tls=True), _TLS, against="nginx-tls"),
    Target(
        "nginx-tls-up", "as nginx, TLS to the engine, its certificate checked",
        peers.nginx(upstream_tls=True), _TLS, peers.version("nginx"), "nginx-tls-up",
    ),
    Target(
        "gateway-tls-up", "as gateway, TLS to the node, held to its advert's key",
        ours.gateway(upstream_tls=True), _TLS, against="nginx-tls-up",
    ),
    Target(
        "node-tls-up", "as node, TLS to the engine, on kept connections",
        ours.node(upstream_tls=True), _TLS, against="nginx-tls-up",
    ),
    Target(
        "portkey", "start-server.js --headless, @hono/node-server 1.13.8; provider and host in each request's headers",
        gateways.portkey, _MIDDLE, gateways.portkey_version,
    ),
    Target(
        "litellm", "--num_workers 1, LITELLM_LOG=ERROR, LITELLM_MODE=PRODUCTION, a master key, no callback or database",
        gateways.litellm, _HEAVY, gateways.litellm_version,
    ),
)  # fmt: skip
