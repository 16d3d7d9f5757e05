"""The embedded server: `LocalServer` runs in threads of this process, `serve` until a signal."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from attrs import frozen

from hfclient.arguments.argument_types import check_arguments
from hfclient.credentials import SESSION_COOKIE, AnonymousSession, Secret, is_loopback
from hfclient.errors import Cancelled, InvalidInputError, LocalServerError, MissingDependencyError
from hfclient.transport import Cancellation

if TYPE_CHECKING:
    from typing_extensions import Self

    from hfclient.local.backend import Backend
    from hfclient.local.upstream import Upstream
    from hfclient.local.waitress_server import WaitressServer

__all__ = ["LocalServer", "serve"]

_log = logging.getLogger("hfclient.local")

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (only compared)


class LocalServer:
    """A chat-ui-compatible server in threads of this process.

        with LocalServer() as server:
            client = Client(server.url)

    A small model on this machine generates the answers, or any OpenAI-compatible API. Conversations are stored in SQLite;
    each belongs to the session cookie that created it. The server has no login.

    Args:
        host: Address to listen on. Every client that can reach it can use the server; an address other than loopback logs a
            warning.
        port: Port to listen on; 0 takes a free one.
        upstream: Base URL of an OpenAI-compatible API (or an object, see `hfclient.local.upstream`); None runs the small
            model.
        model: With *upstream* the default model; without it the path of a GGUF file to run instead of the small model.
        database: SQLite file for the conversations; None stores them in memory.
        api_key: API key of the upstream.
        base_path: Path prefix of all URLs, such as ``"/chat"``.
        allowed_hosts: Further host names to accept, for a server behind a proxy. IP addresses, ``localhost`` and this
            machine's name are always accepted.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        upstream: str | Upstream | None = None,
        model: str | None = None,
        database: str | os.PathLike[str] | None = None,
        api_key: str | None = None,
        base_path: str = "",
        allowed_hosts: Iterable[str] = (),
    ) -> None:
        check_arguments(LocalServer.__init__, locals())
        if not (upstream is None or isinstance(upstream, str) or hasattr(upstream, "answer")):
            raise InvalidInputError(f"upstream is a URL or an object with a method answer(), not {type(upstream).__name__}")
        self._host = host[1:-1] if host.startswith("[") and host.endswith("]") else host  # IPv6 as in a URL
        self._bound = ""
        self._port = port
        self._given_upstream = upstream
        self._model = model
        self._database = database
        self._api_key = api_key
        self._base_path = _checked_base(base_path)
        self._allowed_hosts = tuple(allowed_hosts)
        self._session = Secret(os.urandom(16).hex())
        self._user_sessions = {_hash(self._session)}
        self._lock = threading.Lock()
        self._running: _Running | None = None

    def __repr__(self) -> str:
        return f"<LocalServer {self.url if self._running else 'not running'}>"

    def start(self) -> Self:
        """Start listening and return; does nothing if it is running. It can be started again after `close`.

        Raises:
            MissingDependencyError: flask, waitress or xllamacpp is not installed.
            LocalServerError: The port is in use, the weights are missing, or the database cannot be used. The model is loaded
                last, after the other checks.
        """
        with self._lock:
            if self._running is not None:
                return self
            self._running = self._start()
        if self.open_to is not None:
            _log.warning(
                "the server at %s has neither login nor encryption: every machine that can reach it can use it; on this "
                "machine its address is %s; to accept only local connections, use host 127.0.0.1 (the default)",
                self.open_to,
                self.url,
            )
        return self

    def _start(self) -> _Running:
        try:
            import flask  # noqa: F401
            import waitress  # noqa: F401
        except ImportError as missing:
            raise MissingDependencyError(
                f'the embedded server needs the package {missing.name}: pip install "hfclient[local]"'
            ) from None
        from hfclient.local.app import create_app
        from hfclient.local.backend import Backend
        from hfclient.local.generations import Generations
        from hfclient.local.sqlite_store import Store
        from hfclient.local.waitress_server import WaitressServer

        with contextlib.ExitStack() as undo:
            listener, self._bound = _listen(self._host, self._port)
            undo.callback(listener.close)
            store = Store(self._database)
            undo.callback(store.close)
            upstream = self._open_upstream()
            undo.callback(upstream.close)
            backend = Backend(store, Generations(), upstream)
            hosts = {self._host, *self._allowed_hosts} - {"", *_ANY_ADDRESS}
            app = create_app(backend, base_path=self._base_path, hosts=hosts, user_sessions=self._user_sessions)
            running = _Running(WaitressServer(app, listener), backend, os.getpid())
            undo.pop_all()
            return running

    def _open_upstream(self) -> Upstream:
        given = self._given_upstream
        if given is None:
            from hfclient.local.llama_cpp import LlamaUpstream

            return LlamaUpstream(Path(self._model).expanduser() if self._model else None)
        if isinstance(given, str):
            from hfclient.local.upstream import OpenAIUpstream

            return OpenAIUpstream(given, api_key=self._api_key, model=self._model)
        return given

    @property
    def url(self) -> str:
        """The base URL for a client, such as ``"http://127.0.0.1:53219"``.

        Raises:
            LocalServerError: The server is not running.
        """
        return f"http://{self._address(self._need_running().http.port)}{self._base_path}"

    def _address(self, port: int) -> str:
        return _in_url(_ANY_ADDRESS.get(self._bound, self._host), port)

    @property
    def open_to(self) -> str | None:
        """The URL for other machines, such as ``"http://0.0.0.0:3000"``; None if only this machine can reach the server."""
        if is_loopback(self._bound):  # the bound address counts: a name may resolve to any address
            return None
        host = self._bound if self._bound in _ANY_ADDRESS else self._host
        return f"http://{_in_url(host, self._need_running().http.port)}{self._base_path}"

    @property
    def session(self) -> Secret:
        """The session cookie of the user who runs the server; it has access to that user's conversations in the database."""
        return self._session

    def allow_session(self, session: Secret) -> None:
        """Give another session cookie access to that user's conversations, unless it has conversations of its own.

        Raises:
            LocalServerError: The server is not running.
        """
        owner = _hash(session)
        if not self._need_running().backend.store.knows(owner):
            self._user_sessions.add(owner)

    @property
    def upstream_url(self) -> str | None:
        """Base URL of the OpenAI-compatible API that answers; None if *upstream* is an object without a URL.

        Raises:
            LocalServerError: The server is not running.
        """
        return self._need_running().backend.upstream.url

    @property
    def upstream_key(self) -> Secret | None:
        """API key (bearer token) of `upstream_url`, or None.

        Raises:
            LocalServerError: The server is not running.
        """
        key: Secret | None = getattr(self._need_running().backend.upstream, "key", None)
        return key

    def _need_running(self) -> _Running:
        if self._running is None:
            raise LocalServerError("the server is not running; call start(), or use a with statement")
        return self._running

    def close(self) -> None:
        """Stop; answers in progress are stored as interrupted and their responses cut off. Idempotent."""
        with self._lock:
            running, self._running = self._running, None
        if running is not None:
            running.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def wait(self, seconds: float | None = None) -> bool:
        """Block until the server has stopped, or for *seconds*; return whether it has stopped."""
        running = self._running
        if running is None:
            return True
        running.http.thread.join(seconds)
        return not running.http.thread.is_alive()


@frozen
class _Running:
    """The parts of a running server."""

    http: WaitressServer
    backend: Backend
    pid: int

    def close(self) -> None:
        if os.getpid() != self.pid:
            return  # a forked child has no threads, and the sockets and files belong to the parent
        self.backend.generations.close()
        self.http.close()
        self.backend.upstream.close()
        self.backend.store.close()


def _in_url(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _listen(host: str, port: int) -> tuple[socket.socket, str]:
    """Return a listening socket and its address."""
    try:
        if not 0 <= port <= 65535:  # getaddrinfo would take it modulo 65536
            raise OverflowError("a port is a number from 0 to 65535")
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError, OverflowError) as error:
        raise LocalServerError(f"cannot listen on port {port} of {host!r}: {error}") from error
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # on Windows it would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise LocalServerError(
            f"cannot listen on port {port} of {host or 'this machine'}: {error.strerror or error}; choose another port, or 0 "
            "for a free one"
        ) from error
    return listener, str(address[0])


def _hash(cookie: Secret) -> str:
    return hashlib.sha256(cookie.reveal().encode()).hexdigest()


def _checked_base(base_path: str) -> str:
    base = base_path.strip("/")
    if not base:
        return ""
    if urlsplit(f"/{base}").path != f"/{base}" or not base.isascii() or any(ch.isspace() or ch == "%" for ch in base):
        raise InvalidInputError(f'base_path is a plain path such as "/chat", not {base_path!r}')
    return f"/{base}"


def serve(
    host: str = "127.0.0.1",
    port: int = 3000,
    upstream: str | Upstream | None = None,
    model: str | None = None,
    database: str | os.PathLike[str] | None = None,
    api_key: str | None = None,
    base_path: str = "",
    allowed_hosts: Iterable[str] = (),
) -> None:
    """Serve until SIGINT or SIGTERM, then return; prints its URL on stderr.

    Args:
        host, port, upstream, model, api_key, base_path, allowed_hosts: As for `LocalServer`.
        database: SQLite file for the conversations, or ``":memory:"``; None takes
            ``$XDG_DATA_HOME/hfclient/chats.sqlite3`` (or ``~/.local/share/...``), readable by its owner only.

    Raises:
        MissingDependencyError: A package is not installed.
        LocalServerError: The port is in use, the weights are missing, or the database cannot be used.
    """
    if database is None:
        from hfclient.local.sqlite_store import default_path

        database = default_path()
    server = LocalServer(
        host,
        port,
        upstream=upstream,
        model=model,
        database=database,
        api_key=api_key,
        base_path=base_path,
        allowed_hosts=allowed_hosts,
    )
    stop = Cancellation()  # not an Event: the interrupted thread may hold its lock
    with _on_signals(stop.cancel), server:
        for url in {server.url, server.url.replace("//127.0.0.1:", "//localhost:")}:
            # The stored session of this user's clients, so that they find their conversations again on another port.
            cookies, _ = AnonymousSession.find(url).load_or_create()
            if SESSION_COOKIE in cookies:
                server.allow_session(cookies[SESSION_COOKIE])
        sys.stderr.write(f"hfclient serves chat-ui's protocol at {server.open_to or server.url} (press Ctrl-C to stop)\n")
        sys.stderr.flush()
        while not stop.requested:
            with contextlib.suppress(Cancelled):
                stop.pause(0.5)  # on Windows a wait without a limit is not interrupted by signals
            if not stop.requested and server.wait(0):
                raise LocalServerError("the server's thread has died; see the log")


@contextlib.contextmanager
def _on_signals(call: Callable[[], None]) -> Iterator[None]:
    """Call *call* for SIGINT and SIGTERM during the block; does nothing outside the main thread, as Python requires."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handler(number: int, frame: FrameType | None) -> None:
        call()

    before = [(number, signal.signal(number, handler)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield
    finally:
        for number, old in before:
            signal.signal(number, old)
