"""Fixtures for all tests: a scripted server, both transports, and an environment without credentials or ignored signals."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from hfclient.redaction import masking
from hfclient.transport import Transport, deadline, scope
from tests.clock import FakeTime, Pauses
from tests.server import Server
from tests.silence import install

# A slow machine fails no test of properties.
settings.register_profile("hfclient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("hfclient")

_PRIVATE = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_DISABLE_IMPLICIT_TOKEN", "HF_ENDPOINT", "NETRC"}
_IGNORED_BY_PYTHON = {getattr(signal, name) for name in ("SIGPIPE", "SIGXFSZ") if hasattr(signal, name)}
_CERTIFICATES = {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"}


def pytest_configure(config: pytest.Config) -> None:
    """Keep the user's logins and sessions out of code that runs outside of `_clean_environment`, and the reverse."""
    home = tempfile.mkdtemp(prefix="hfclient-tests-")
    atexit.register(_remove, home, os.getpid())  # workers of xdist do not run their cleanups
    os.environ["HFCLIENT_HOME"] = home


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector from visiting all collected tests again and again: they live until the end."""
    gc.disable()
    result = yield
    gc.freeze()
    gc.enable()
    return result


def _remove(folder: str, process: int) -> None:
    if os.getpid() == process:  # a forked child leaves it to its parent
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Remove the user's tokens, cookies, logins and proxies from the environment of tests."""
    for name in list(os.environ):
        if name in _PRIVATE | _CERTIFICATES or name.startswith("HFCLIENT_") or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    for name in ("HOME", "USERPROFILE", "HF_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "no-such-token"))


@pytest.fixture(autouse=True)
def _no_known_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret of one test, perhaps an ordinary word, is not masked in the errors of the next."""
    monkeypatch.setattr(masking, "_memory", masking._Memory())


@pytest.fixture(autouse=True, scope="session")
def _no_ignored_signals() -> Iterator[None]:
    """Let processes that tests start receive signals, also if the tests run under nohup or in the background of a script.

    A signal that is ignored here is ignored in a child, too, which then never ends. A handler that does nothing is not inherited:
    a new program begins with the default. A forked child keeps the handler; there the tests send Ctrl-C.
    """
    ignored = {number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN}
    ignored -= _IGNORED_BY_PYTHON  # subprocess restores the default in children
    for number in ignored:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else _do_nothing)
    blocked = signal.pthread_sigmask(signal.SIG_SETMASK, []) if hasattr(signal, "pthread_sigmask") else None
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    if blocked:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _do_nothing(*_: object) -> None:
    pass


@pytest.fixture
def server() -> Iterator[Server]:
    """A `Server` of the test's own."""
    with Server() as running:
        yield running


@pytest.fixture
def other_server() -> Iterator[Server]:
    """A second `Server`, with another origin."""
    with Server() as running:
        yield running


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    """The time of deadlines; it stands still until the test advances it."""
    fake = FakeTime()
    for module in (deadline, scope):
        monkeypatch.setattr(module, "time", fake)
    return fake


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Pauses:
    """The pauses before retries and between polls last until the test ends them."""
    return Pauses(monkeypatch)


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits for bytes end when the server says that it sends no more, and not by time; see `tests.silence`."""
    install(monkeypatch)


TRANSPORTS = ("plain", "impersonate")
"""The transports of a client."""


def make_transport(name: str, **options: Any) -> Transport:
    """Return a new transport of that name."""
    if name == "plain":
        from hfclient.transport.requests_transport import RequestsTransport

        return RequestsTransport(**options)
    if name == "aiohttp":
        from tests.green_transport import GreenTransport

        return GreenTransport(**options)
    from hfclient.transport.curl_transport import ImpersonateTransport

    return ImpersonateTransport(**options)


@pytest.fixture(params=TRANSPORTS)
def transport_name(request: pytest.FixtureRequest) -> str:
    """Each transport's name in turn, for tests that create their own."""
    return str(request.param)


@pytest.fixture
def transport(transport_name: str) -> Iterator[Transport]:
    """Each transport in turn, closed at the end."""
    opened = make_transport(transport_name)
    yield opened
    opened.close()
