"""The agent of a made-up release: `waypost` as far as an upgrade knows it; `waypost_release.py` beside it says which.

`MANNER` is how it behaves: `well`; `mute` never says that it is ready; `crash` ends at once, `refuse` too, with the
status of wrong options; `broken` cannot even say its version; `choosy` takes no configuration. `GET /hold` is answered
once there is a file `go` in its folder, by a process that was told to stop too.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
import tomllib
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from waypost_release import MANNER, VERSION


def main() -> int:
    words = sys.argv[1:]
    if MANNER == "broken":
        raise RuntimeError("this release is broken")
    if words == ["--version"]:
        print(f"waypost {VERSION}")
        return 0
    config = tomllib.loads(Path(words[words.index("--config") + 1]).read_text())["node"]
    if words[:2] == ["node", "keys"]:
        if MANNER == "choosy":
            print("waypost: waypost.toml: [node] has no option 'listen'", file=sys.stderr)
        return 2 if MANNER == "choosy" else 0
    return _serve(config) if words[:2] == ["node", "serve"] else _status(config)


def _status(config: dict[str, str]) -> int:
    try:
        with urllib.request.urlopen(f"http://{config['listen']}/health", timeout=20) as answer:
            print(answer.read().decode())
            return 0
    except urllib.error.HTTPError as error:
        print(error.read().decode())
        return 1
    except OSError as error:
        print(f"waypost: it cannot be reached ({error})", file=sys.stderr)
        return 2


def _serve(config: dict[str, str]) -> int:
    if MANNER in ("crash", "refuse"):
        print("waypost: no", file=sys.stderr)
        return 1 if MANNER == "crash" else 2

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/hold":
                while not Path("go").exists():
                    time.sleep(0.02)
            status = 503 if self.path == "/health" and MANNER == "mute" else 200
            body = json.dumps({"status": "starting" if status == 503 else "ready", "version": VERSION}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # what runs ends before the process does: it drains
        allow_reuse_address = True

    host, _, port = config["listen"].partition(":")
    server = Server((host, int(port)), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"{VERSION} serves", flush=True)
    server.serve_forever(poll_interval=0.05)
    server.server_close()
    return 0
