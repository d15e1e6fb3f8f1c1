"""The relays that bench.relay holds ours against, each set up for speed as its own documentation advises.

Not here: our own (relay_ours), how they come onto this machine (scripts/peers.sh).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from bench.relay_certificate import NAME
from bench.relay_load import Door
from bench.relay_programs import NotToBeHad, program
from bench.relay_scene import ROOT, Running, Scene, Start
from tests.programs import free_port

_NGINX = """
daemon off; worker_processes 1; worker_rlimit_nofile 20000; user root; pid {folder}/nginx.pid; error_log stderr crit;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream engine {{
    server 127.0.0.1:{engine}; keepalive 512; keepalive_requests 1000000000; keepalive_timeout 1h;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=8192{tls}; keepalive_requests 1000000000; keepalive_timeout 1h;
    {certificate}
    location / {{
      proxy_pass {scheme}://engine; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
      proxy_read_timeout 1h; {pin}
    }}
  }}
}}
"""
_CHECKED = (
    "proxy_ssl_protocols TLSv1.3; proxy_ssl_verify on; proxy_ssl_trusted_certificate {file}; proxy_ssl_name {name};"
)
_HAPROXY = """
global
  nbthread 1
defaults
  mode http
  option http-no-delay
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend clients
  bind 127.0.0.1:{port} backlog 8192
  default_backend engine
backend engine
  http-reuse always
  server engine 127.0.0.1:{engine}
"""


@asynccontextmanager
async def direct(scene: Scene) -> AsyncIterator[Running]:
    """No hop at all: the ceiling of clients and engine on this machine."""
    yield Running(Door(scene.port), ())


@asynccontextmanager
async def bare(scene: Scene) -> AsyncIterator[Running]:
    port = free_port()
    words = (sys.executable, "-m", "bench.relay_hop", "--port", str(port), "--upstream", str(scene.port))
    async with program(words, scene.folder, port, env={"PYTHONPATH": str(ROOT)}) as running:
        yield Running(Door(port), (running.pid,))


def nginx(*, tls: bool = False, upstream_tls: bool = False) -> Start:
    """With TLS to its clients, or to the engine."""

    @asynccontextmanager
    async def start(scene: Scene) -> AsyncIterator[Running]:
        port, file = free_port(), scene.certificate.file
        settings = _NGINX.format(
            folder=scene.folder, port=port, engine=scene.tls_port if upstream_tls else scene.port,
            tls=" ssl" if tls else "", scheme="https" if upstream_tls else "http",
            certificate=f"ssl_certificate {file}; ssl_certificate_key {file}; ssl_protocols TLSv1.3;" if tls else "",
            pin=_CHECKED.format(file=file, name=NAME) if upstream_tls else "",
        )  # fmt: skip
        written = _written(scene.folder / f"nginx-{port}.conf", settings)
        async with program((_there("nginx"), "-c", written), scene.folder, port) as running:
            yield Running(Door(port, tls=scene.trusting() if tls else None), (running.pid,))

    return start


@asynccontextmanager
async def haproxy(scene: Scene) -> AsyncIterator[Running]:
    port = free_port()
    written = _written(scene.folder / f"haproxy-{port}.cfg", _HAPROXY.format(port=port, engine=scene.port))
    async with program((_there("haproxy"), "-db", "-f", written), scene.folder, port) as running:
        yield Running(Door(port), (running.pid,))


def version(name: str) -> Callable[[], str]:
    """What the program says of itself."""

    def ask() -> str:
        said = subprocess.run((_there(name), "-v"), capture_output=True, check=True, text=True)
        found = re.search(r"(?:version |nginx/)(\S+)", said.stdout + said.stderr)
        return found[1] if found else "unknown"

    return ask


def _there(name: str) -> str:
    found = shutil.which(name, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    if found is None:
        raise NotToBeHad(f"no {name} here; scripts/peers.sh installs it")
    return found


def _written(file: Path, text: str) -> Path:
    file.write_text(text)
    return file
