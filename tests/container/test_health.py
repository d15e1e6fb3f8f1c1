"""The images' healthcheck, asked as a container engine asks it, beside servers that say what it has to tell apart."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.certificate import self_signed
from node.tls_key import TlsKey
from relay.tls import server_context
from tests.programs import ROOT, free_port


@pytest.mark.parametrize(("status", "well"), [(200, True), (202, True), (503, False), (404, False), (301, False)])
def test_what_health_says_is_the_status(status: int, well: bool) -> None:
    with _server(status) as port:
        ended = _check(port)
    assert (ended.returncode == 0, ended.stdout) == (well, f"/health says {status}\n")


def test_where_nobody_listens_it_says_so() -> None:
    ended = _check(free_port())
    assert ended.returncode == 1 and ended.stdout.startswith("no answer from /health on port")


@pytest.mark.parametrize(("status", "well"), [(200, True), (503, False)])
def test_a_node_that_serves_tls_itself_is_asked_so(status: int, well: bool, tmp_path: Path) -> None:
    key = TlsKey.load_or_create(tmp_path / "tls.key")
    chain = tmp_path / "chain.pem"
    chain.write_bytes(self_signed(key, ["node1"], datetime.datetime.now(datetime.UTC)))
    with _server(status, (chain, tmp_path / "tls.key")) as port:
        ended = _check(port)
    assert (ended.returncode == 0, ended.stdout) == (well, f"/health says {status}\n")


def _check(port: int) -> subprocess.CompletedProcess[str]:
    words = (sys.executable, "-m", "deploy.container.health", str(port))
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True)


@contextlib.contextmanager
def _server(status: int, tls: tuple[Path, Path] | None = None) -> Iterator[int]:
    """Answers GET /health so, and nothing else; the port it has."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 500)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        context = server_context()
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
