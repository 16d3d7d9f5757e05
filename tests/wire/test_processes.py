"""Threads, forks and pickles of a transport."""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import signal
import sys
import threading
import time
import types
from collections import Counter

import pytest

from hfclient.errors import HFClientError, InvalidInputError, MissingDependencyError, Unsupported
from hfclient.transport import Timeouts, Transport
from tests.conftest import make_transport
from tests.processes.helpers import in_child, needs_fork, succeeded
from tests.server import PATIENCE, UNTIL_GONE, Server, chunked, plain
from tests.wire.helpers import PATIENT, send


def test_many_threads(transport: Transport, server: Server) -> None:
    """Sixteen threads share one transport; each gets its own responses, and connections are reused."""
    server.on("*", [lambda request: plain(request.target)])
    failures: list[str] = []

    def work(number: int) -> None:
        for turn in range(10):
            path = f"/{number}/{turn}"
            if (got := send(transport, f"{server.url}{path}").read()) != path.encode():
                failures.append(f"{path}: {got!r}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert failures == []
    assert Counter(request.path for request in server.requests).most_common(1)[0][1] == 1
    assert (len(server.requests), server.connections <= 16) == (160, True)


def test_a_stream_may_change_threads(transport: Transport, server: Server) -> None:
    """One thread opens, another reads, a third closes: only one at a time is required."""
    server.on("/s", chunked(b"one", 0.05, b"two"))
    response = send(transport, f"{server.url}/s", stream=True)
    got: list[bytes] = []
    for step in (lambda: got.append(response.read()), response.close):
        thread = threading.Thread(target=step)
        thread.start()
        thread.join(PATIENCE)
    assert got == [b"onetwo"]


def test_no_threads_are_left(transport: Transport, server: Server) -> None:
    """Neither a stream nor its transport starts a thread."""
    server.on("/s", chunked(b"one", b"two"))
    before = set(threading.enumerate())
    send(transport, f"{server.url}/s", stream=True).read()
    assert {thread for thread in threading.enumerate() if "Thread-" not in thread.name} <= before  # without the server's


@needs_fork
def test_fork_with_idle_connections(transport: Transport, server: Server) -> None:
    """Two children and their parent use one transport; each has connections of its own."""
    server.on("*", [lambda request: plain(request.target)])
    assert send(transport, f"{server.url}/before").read() == b"/before"

    def work(name: str) -> None:
        for turn in range(3):
            path = f"/{name}/{turn}"
            assert send(transport, f"{server.url}{path}").read() == path.encode()
        transport.close()
        gc.collect()

    children = [in_child(lambda name=name: work(name)) for name in ("a", "b")]  # type: ignore[misc]
    work("parent")
    assert succeeded(*children)
    assert send(transport, f"{server.url}/after").read() == b"/after"
    owners: dict[int, set[str]] = {}
    for request in server.requests:
        name = request.path.split("/")[1]
        owners.setdefault(request.connection, set()).add("parent" if name in ("before", "after") else name)
    assert all(len(names) == 1 for names in owners.values())
    assert len(owners) >= 3


@needs_fork
@pytest.mark.parametrize("meddle", ["nothing", "close", "abort", "drop", "read"])
def test_fork_with_an_open_stream(transport: Transport, server: Server, meddle: str) -> None:
    """A child may use or drop its copy of a stream; the parent's stream is not affected."""
    go = threading.Event()
    server.on("/s", chunked(b"one", go, b"two"))
    server.on("/other", plain(b"ok"))
    held = [send(transport, f"{server.url}/s", stream=True)]
    assert held[0]._body.read_some() == b"one"

    def child() -> None:
        if meddle == "close":
            held[0].close()
        elif meddle == "abort":
            held[0].abort()
        elif meddle == "drop":
            held.clear()
            gc.collect()
        elif meddle == "read":
            with contextlib.suppress(HFClientError):
                raise AssertionError(held[0]._body.read_some())
        assert send(transport, f"{server.url}/other").read() == b"ok"

    assert succeeded(in_child(child))
    go.set()
    assert held[0].read() == b"two"
    assert send(transport, f"{server.url}/other").read() == b"ok"


@needs_fork
def test_fork_while_another_thread_reads(transport: Transport, server: Server) -> None:
    """A fork during another thread's read, and the child's normal exit, do not affect that read."""
    go, sent = threading.Event(), threading.Event()
    server.on("/s", chunked(b"one", lambda _: sent.set(), go, b"two"))
    got: list[bytes] = []
    response = send(transport, f"{server.url}/s", stream=True)
    reader = threading.Thread(target=lambda: got.append(response.read()))
    reader.start()
    assert sent.wait(PATIENCE)
    assert succeeded(in_child(gc.collect))
    go.set()
    reader.join(PATIENCE)
    assert got == [b"onetwo"]


def test_pickling(transport_name: str, server: Server) -> None:
    """A transport pickles as its configuration, and the copy works."""
    server.on("/s", plain(b"ok"))
    opened = make_transport(transport_name, proxy=None)
    assert send(opened, f"{server.url}/s").read() == b"ok"
    again = pickle.loads(pickle.dumps(opened))
    assert send(again, f"{server.url}/s").read() == b"ok"
    assert repr(again) == repr(opened)
    for one in (opened, again):
        one.close()


def test_nothing_before_first_use(transport_name: str) -> None:
    """Creating a transport opens no file, socket or thread."""
    make_transport(transport_name).close()  # the import below may open files
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    threads = set(threading.enumerate())  # those of earlier tests may end meanwhile
    opened = [make_transport(transport_name) for _ in range(5)]
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert after <= before
    assert set(threading.enumerate()) <= threads
    for one in opened:
        one.close()


def test_sockets_do_not_accumulate(transport: Transport, server: Server) -> None:
    """A hundred streams that are closed early leave no descriptor open."""
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc")
    server.on("/s", chunked(b"one", 0.001, b"two"))
    for _ in range(5):
        send(transport, f"{server.url}/s").read()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(100):
        response = send(transport, f"{server.url}/s")
        response._body.read_some()
        response.close()
    deadline = time.monotonic() + PATIENCE
    while len(os.listdir("/proc/self/fd")) > before + 10 and time.monotonic() < deadline:
        time.sleep(0.01)  # the server closes its sockets in its own threads
    assert len(os.listdir("/proc/self/fd")) <= before + 10


def test_interrupted_by_a_signal(transport: Transport, server: Server) -> None:
    """Ctrl-C ends a waiting read at once, and the transport can be used again."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_kill"):
        pytest.skip("signals arrive in the main thread")
    go = threading.Event()
    main = threading.main_thread().ident or 0
    server.on("/s", chunked(b"one", go, 0.05, lambda _: signal.pthread_kill(main, signal.SIGUSR1), UNTIL_GONE))
    server.on("/other", plain(b"ok"))
    response = send(transport, f"{server.url}/s", stream=True)
    assert response._body.read_some() == b"one"

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012 (the signal comes in the second)
            go.set()
            response._body.read_some()
    finally:
        signal.signal(signal.SIGUSR1, old)
    response.close()
    assert send(transport, f"{server.url}/other").read() == b"ok"


def _fake_gevent(monkeypatch: pytest.MonkeyPatch, patched: bool) -> None:
    monkey = types.ModuleType("gevent.monkey")
    monkey.is_module_patched = lambda name: patched and name == "socket"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gevent", types.ModuleType("gevent"))
    monkeypatch.setitem(sys.modules, "gevent.monkey", monkey)


def test_gevent(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process patched by gevent libcurl would block every greenlet: an error with a hint is raised."""
    server.on("/s", plain(b"ok"))
    opened = make_transport("impersonate")
    _fake_gevent(monkeypatch, patched=False)
    assert send(opened, f"{server.url}/s").read() == b"ok"
    _fake_gevent(monkeypatch, patched=True)
    with pytest.raises(Unsupported, match="default transport"):
        send(opened, f"{server.url}/s")
    opened.close()
    plain_one = make_transport("plain")
    assert send(plain_one, f"{server.url}/s").read() == b"ok"
    plain_one.close()


def test_without_curl_cffi(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without curl_cffi the error has the command that installs it."""
    monkeypatch.setitem(sys.modules, "curl_cffi", None)
    with pytest.raises(MissingDependencyError, match=r"pip install .hfclient\[impersonate\]."):
        make_transport("impersonate")


def test_an_incompatible_curl_cffi(monkeypatch: pytest.MonkeyPatch) -> None:
    """A curl_cffi without the functions that are used is an error when the transport is created."""
    old = types.ModuleType("curl_cffi")
    old.lib, old.__version__ = types.SimpleNamespace(), "0.5.0"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "curl_cffi", old)
    with pytest.raises(MissingDependencyError, match=r"0\.5\.0.*0\.15"):
        make_transport("impersonate")


@pytest.mark.parametrize("name", ["netscape", "chrome1", "", "chrome_", "größe", "chrome;131"])
def test_unknown_browser(name: str) -> None:
    """An unknown browser is an error that lists the known ones."""
    with pytest.raises(InvalidInputError, match="chrome") as caught:
        make_transport("impersonate", impersonate=name)
    assert "firefox" in str(caught.value)


@pytest.mark.parametrize("name", ["chrome", "firefox", "safari", "edge", "safari_ios", "chrome_android", "chrome131"])
def test_browsers(server: Server, name: str) -> None:
    """A browser's name stands for its newest release; a single release for itself."""
    server.on("/s", plain(b"ok"))
    opened = make_transport("impersonate", impersonate=name)
    assert send(opened, f"{server.url}/s", timeouts=Timeouts(total=PATIENT.total)).read() == b"ok"
    assert "Mozilla/5.0" in server.last.headers["user-agent"]
    assert not {"upgrade", "http2-settings"} & set(server.last.headers)
    opened.close()
