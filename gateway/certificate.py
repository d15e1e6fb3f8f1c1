"""TLS towards clients: the certificate that `--tls-certificate` names. Not here: TLS towards nodes (tls)."""

from __future__ import annotations

import ssl
from pathlib import Path

from relay.tls import server_context

__all__ = ["CertificateError", "load"]


class CertificateError(ValueError):
    """A file that cannot be used; the text names the option and the fix."""


def load(file: Path) -> ssl.SSLContext:
    """TLS 1.2 or later with that certificate chain and private key (PEM, both in one file). Raises CertificateError."""
    context = server_context()

    def no_password() -> str:
        raise CertificateError(f"--tls-certificate {file}: the private key is encrypted; write it there in the clear")

    try:
        context.load_cert_chain(file, password=no_password)
    except ssl.SSLError as error:
        text = "does not hold a certificate chain and the private key that belongs to it; put both there as PEM"
        raise CertificateError(f"--tls-certificate {file} {text}") from error
    except OSError as error:
        text = "name a PEM file of the certificate chain and its private key"
        raise CertificateError(f"--tls-certificate {file}: {error.strerror}; {text}") from error
    return context
