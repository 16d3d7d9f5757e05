"""The trusted certificates: certifi's list, unless the environment names another one."""

from __future__ import annotations

import os
from pathlib import Path

from hfclient.errors import ConnectError

__all__ = ["HINT", "VARIABLES", "certificates"]

VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
"""Environment variables that may name a file (the first two: or a folder) of certificates; the first that is set counts."""

HINT = "if it should be trusted, set REQUESTS_CA_BUNDLE or SSL_CERT_FILE to a file with its certificate, or its issuer's"


def certificates() -> str | None:
    """Return the path of the trusted certificates, or None for the usual ones.

    Raises:
        ConnectError: A variable names a path that does not exist, so no certificate could be verified.
    """
    for name in VARIABLES:
        if path := os.environ.get(name):
            if not Path(path).exists():
                raise ConnectError(f"TLS failed: {name} names {path}, which does not exist", sent=False)
            return path
    return None
