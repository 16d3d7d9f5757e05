"""Fixtures for all tests: a scripted server, both transports, and an environment without anybody's credentials."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hfclient.transport import Transport
from tests.server import Server

_PRIVATE = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_DISABLE_IMPLICIT_TOKEN", "HF_ENDPOINT", "NETRC"}
_CERTIFICATES = {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No token, cookie, login or proxy of whoever runs the tests gets into them."""
    for name in list(os.environ):
        if name in _PRIVATE | _CERTIFICATES or name.startswith("HFCLIENT_") or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    for name in ("HOME", "USERPROFILE", "HF_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "no-such-token"))


@pytest.fixture
def server() -> Iterator[Server]:
    """A `Server` of the test's own."""
    with Server() as running:
        yield running


@pytest.fixture
def other_server() -> Iterator[Server]:
    """A second one: another origin."""
    with Server() as running:
        yield running


TRANSPORTS = ("plain", "impersonate")


def make_transport(name: str, **options: Any) -> Transport:
    """Return a new transport of that name."""
    if name == "plain":
        from hfclient.transport.plain import PlainTransport

        return PlainTransport(**options)
    from hfclient.transport.impersonate import ImpersonateTransport

    return ImpersonateTransport(**options)


@pytest.fixture(params=TRANSPORTS)
def transport_name(request: pytest.FixtureRequest) -> str:
    """Each transport's name in turn, for tests that make their own."""
    return str(request.param)


@pytest.fixture
def transport(transport_name: str) -> Iterator[Transport]:
    """Each transport in turn, closed at the end."""
    opened = make_transport(transport_name)
    yield opened
    opened.close()
