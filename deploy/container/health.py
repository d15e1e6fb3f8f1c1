"""Whether what runs in this container is well: `python -m deploy.container.health PORT`, the image's HEALTHCHECK.

Ends with 0 where `GET /health` on loopback says 200 (ready) or 202 (able, no model loaded), else with 1 and a line that
says why. HTTPS is tried where HTTP finds none: on loopback nobody else answers, so that its certificate is not looked
at. Not here: what /health means (the node's and the gateway's own).
"""

from __future__ import annotations

import http.client
import ssl
import sys

LIMIT_S = 4.0  # below the HEALTHCHECK's own, so that this tells why
_WELL = (200, 202)


def main() -> int:
    """Print what was found."""
    (port,) = sys.argv[1:]
    try:
        status = _status(int(port))
    except (OSError, http.client.HTTPException) as error:
        print(f"no answer from /health on port {port}: {error}")
        return 1
    print(f"/health says {status}")
    return 0 if status in _WELL else 1


def _status(port: int) -> int:
    """Raises OSError or HTTPException."""
    plain = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    try:
        return _asked(plain)
    except (ConnectionResetError, http.client.BadStatusLine):  # the latter also where the server just hangs up
        return _asked(http.client.HTTPSConnection("127.0.0.1", port, timeout=LIMIT_S, context=_unchecked()))


def _asked(connection: http.client.HTTPConnection) -> int:
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status
    finally:
        connection.close()


def _unchecked() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


if __name__ == "__main__":
    sys.exit(main())
