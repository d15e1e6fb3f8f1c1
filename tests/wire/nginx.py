"""A real nginx before the same upstream, set up as one would set it up for an API.

Not here: what it decides of each row (test_nginx).
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from tests.programs import free_port, until

PROGRAM = shutil.which("nginx")
_SETTINGS = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/errors.txt info;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size 32m;
        location = /health {{ default_type application/json; return 200 "{{}}"; }}
        location / {{
            proxy_pass {upstream}; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
        }}
    }}
}}
"""


@contextlib.asynccontextmanager
async def nginx(folder: Path, upstream: str) -> AsyncIterator[int]:
    """It runs; its port."""
    assert PROGRAM is not None
    port, settings = free_port(), folder / "nginx.conf"
    settings.write_text(_SETTINGS.format(folder=folder, port=port, upstream=upstream))
    words = (PROGRAM, "-p", str(folder), "-e", str(folder / "errors.txt"), "-c", str(settings))
    process = await asyncio.create_subprocess_exec(*words, stderr=asyncio.subprocess.DEVNULL)
    try:
        await until((folder / "pid").exists, lambda: "nginx")
        yield port
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 90)
