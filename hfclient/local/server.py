"""The embedded server: started in threads of this process, or served until a signal comes.

waitress serves: it hands each piece of an answer to the socket in the thread that made it (measured: under a
millisecond from event to client, however small the piece), and its threads are daemons. A stream keeps one of them for
as long as it lasts, so their number grows with the streams.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType, NoneType, TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hfclient.credentials import SESSION_COOKIE, AnonymousSession, Secret, is_this_machine
from hfclient.errors import Cancelled, InvalidInputError, LocalServerError, MissingDependencyError
from hfclient.redaction.logs import guard_logger
from hfclient.transport import Cancellation

if TYPE_CHECKING:
    from typing_extensions import Self

    from hfclient.local.generation import Runs
    from hfclient.local.store import Store
    from hfclient.local.upstream import Upstream

__all__ = ["LocalServer", "serve"]

_log = logging.getLogger("hfclient.local")

_FIRST_THREADS, _SPARE_THREADS, _MOST_THREADS = 8, 4, 512
_HAS_POLL = hasattr(select, "poll")  # select() fails in a process with many open files
_LIMIT = (
    64 * 1024 * 1024
)  # bytes of a request that are read at all; from 15 MiB on the answer is a 413 in chat-ui's words
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (compared with, not bound to)


class LocalServer:
    """A chat-ui-compatible server in threads of this process.

        with LocalServer() as server:
            client = Client(server.url)

    Answers come from a small model on this machine, or from any OpenAI-compatible API. Conversations are kept in SQLite,
    each bound to the session cookie that it was created with; there is no login.

    Args:
        host: Address to listen on. All who can reach it can use the server; for any but loopback that is said in the log.
        port: Port to listen on; 0 takes a free one.
        upstream: Base URL of an OpenAI-compatible API (or an object that answers, see `hfclient.local.upstream`); None
            runs the small model.
        model: With *upstream* the model to offer first; without it the path of a GGUF file to run instead of the small
            model.
        database: SQLite file that keeps the conversations; None keeps them in memory.
        api_key: The upstream's key.
        base_path: Path below which everything lives, such as ``"/chat"``.
        allowed_hosts: Further names by which the server may be addressed, if it stands behind a proxy. IP addresses,
            ``localhost`` and this machine's name always may.
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
        for name, value, kinds in (
            *(("host", host, str), ("port", port, int), ("base_path", base_path, str)),
            *(("model", model, (str, NoneType)), ("api_key", api_key, (str, NoneType))),
            ("database", database, (str, os.PathLike, NoneType)),
        ):
            if not isinstance(value, kinds) or isinstance(value, bool):
                raise InvalidInputError(f"{name} cannot be of type {type(value).__name__}")
        if not (upstream is None or isinstance(upstream, str) or hasattr(upstream, "answer")):
            raise InvalidInputError(f"upstream is a URL, or an object that answers, not {type(upstream).__name__}")
        if isinstance(allowed_hosts, str) or not isinstance(allowed_hosts, Iterable):
            raise InvalidInputError("allowed_hosts are several names, such as [\"chat.example\"]")
        self._host = host[1:-1] if host.startswith("[") and host.endswith("]") else host  # as IPv6 stands in a URL
        self._bound = ""
        self._port = port
        self._given_upstream = upstream
        self._model = model
        self._database = database
        self._api_key = api_key
        self._base_path = _checked_base(base_path)
        self._allowed_hosts = tuple(allowed_hosts)
        self._session = Secret(os.urandom(16).hex())
        self._sessions = {_hash(self._session)}
        self._lock = threading.Lock()
        self._running: _Running | None = None

    def __repr__(self) -> str:
        return f"<LocalServer {self.url if self._running else 'not running'}>"

    def start(self) -> Self:
        """Start listening and return; at once if it runs already. It can be started again after `close`.

        Raises:
            MissingDependencyError: flask, waitress or xllamacpp is not installed.
            LocalServerError: The port is taken, the weights are missing, or the database cannot be used. Checked in the
                order that costs least: the model is loaded last.
        """
        with self._lock:
            if self._running is not None:
                return self
            self._running = self._start()
        if self.open_to is not None:
            _log.warning(
                "the server at %s has neither login nor encryption: everyone who can reach this machine can use it; on this "
                "machine its address is %s; host 127.0.0.1 (the default) keeps others out",
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
        from hfclient.local.generation import Runs
        from hfclient.local.parts import Parts
        from hfclient.local.store import Store

        with contextlib.ExitStack() as undo:
            listener, self._bound = _listen(self._host, self._port)
            undo.callback(listener.close)
            store = Store(self._database)
            undo.callback(store.close)
            upstream = self._open_upstream()
            undo.callback(upstream.close)
            runs = Runs(store)
            hosts = {self._host, *self._allowed_hosts} - {"", *_ANY_ADDRESS}
            app = create_app(Parts(store, runs, upstream), base_path=self._base_path, hosts=hosts, sessions=self._sessions)
            running = _Running(app, listener, store, runs, upstream)
            undo.pop_all()
            return running

    def _open_upstream(self) -> Upstream:
        given = self._given_upstream
        if given is None:
            from hfclient.local.model import LlamaUpstream

            return LlamaUpstream(Path(self._model).expanduser() if self._model else None)
        if isinstance(given, str):
            from hfclient.local.upstream import OpenAIUpstream

            return OpenAIUpstream(given, api_key=self._api_key, model=self._model)
        return given

    @property
    def url(self) -> str:
        """The base URL for a client, such as ``"http://127.0.0.1:53219"``.

        Raises:
            LocalServerError: It is not running.
        """
        return f"http://{self._address(self._need_running().port)}{self._base_path}"

    def _address(self, port: int) -> str:
        return _in_url(_ANY_ADDRESS.get(self._bound, self._host), port)

    @property
    def open_to(self) -> str | None:
        """The address on which other machines reach the server, such as ``"http://0.0.0.0:3000"``; None if none can."""
        if is_this_machine(self._bound):  # a name may stand for any address: what was bound to tells
            return None
        host = self._bound if self._bound in _ANY_ADDRESS else self._host
        return f"http://{_in_url(host, self._need_running().port)}{self._base_path}"

    @property
    def session(self) -> Secret:
        """The session cookie of the user who runs the server: it finds what other runs with the same database kept."""
        return self._session

    def adopt(self, session: Secret) -> None:
        """Let another session cookie be the same user, unless it has conversations of its own in the database.

        Raises:
            LocalServerError: It is not running.
        """
        owner = _hash(session)
        if not self._need_running().store.knows(owner):
            self._sessions.add(owner)

    @property
    def upstream_url(self) -> str | None:
        """Base URL of the OpenAI-compatible API that answers; None if it is no URL that answers.

        Raises:
            LocalServerError: It is not running.
        """
        return self._need_running().upstream.url

    @property
    def upstream_key(self) -> Secret | None:
        """What `upstream_url` wants as a bearer token; None for nothing.

        Raises:
            LocalServerError: It is not running.
        """
        key: Secret | None = getattr(self._need_running().upstream, "key", None)
        return key

    def _need_running(self) -> _Running:
        if self._running is None:
            raise LocalServerError("the server is not running; start() it, or use it in a with statement")
        return self._running

    def close(self) -> None:
        """Stop: answers that are being written are kept as interrupted, their readers cut off; idempotent."""
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
        """Block until the server has stopped, or for *seconds*; tell whether it has stopped."""
        running = self._running
        if running is None:
            return True
        running.thread.join(seconds)
        return not running.thread.is_alive()


class _Running:
    """What a server that runs holds."""

    def __init__(self, app: Any, listener: socket.socket, store: Store, runs: Runs, upstream: Upstream) -> None:
        import waitress

        self.port: int = listener.getsockname()[1]
        self.upstream = upstream
        self.store = store
        self._runs = runs
        self._pid = os.getpid()
        self._map: dict[int, Any] = {}
        waitress_log = logging.getLogger("waitress")
        if not waitress_log.handlers:  # it warns of what is usual here; whoever configures logging still gets it
            waitress_log.addHandler(logging.NullHandler())
        for name in ("waitress", "waitress.queue"):  # they tell the paths that callers asked for
            guard_logger(name)
        pool = _Pool(app)
        self._server = waitress.create_server(
            pool,
            map=self._map,
            sockets=[listener],
            threads=_FIRST_THREADS,
            connection_limit=2 * _MOST_THREADS,
            max_request_body_size=_LIMIT,
            asyncore_use_poll=_HAS_POLL,
            ident=None,
            clear_untrusted_proxy_headers=True,
        )
        pool.grow = self._server.task_dispatcher.set_thread_count
        self._stopping = False
        self.thread = threading.Thread(target=self._loop, name="hfclient-server", daemon=True)
        self.thread.start()

    def _loop(self) -> None:
        from waitress import wasyncore

        while not self._stopping:
            wasyncore.loop(timeout=1.0, map=self._map, use_poll=_HAS_POLL, count=1)

    def close(self) -> None:
        if os.getpid() != self._pid:
            return  # a forked child has neither the threads nor a right to the parent's sockets and files
        self._runs.close()
        self._stopping = True
        self._server.pull_trigger()
        self.thread.join(5.0)
        # Only now, with no loop beside us: connections first, so that no thread of the pool pulls the trigger again,
        # whose descriptor may by then be somebody else's.
        for channel in list(self._server.active_channels.values()):
            channel.handle_close()
        self._server.task_dispatcher.shutdown(timeout=5)
        self._server.close()
        self.upstream.close()
        self.store.close()


class _Pool:
    """The application as waitress calls it, with as many threads as there are answers in the making, and some to spare.

    An answer that breaks off (the server goes down) ends without its last chunk, so that its reader knows.
    """

    def __init__(self, app: Callable[[Any, Any], Iterable[bytes]]) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._busy = 0
        self._threads = _FIRST_THREADS
        self.grow: Callable[[int], object] = lambda count: None

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        with self._lock:
            self._busy += 1
            if self._busy + _SPARE_THREADS > self._threads and self._threads < _MOST_THREADS:
                self._threads *= 2
                self.grow(self._threads)
        try:
            return _Answer(self._app(environ, start_response), self._done)
        except BaseException:
            self._done()
            raise

    def _done(self) -> None:
        with self._lock:
            self._busy -= 1


class _Answer:
    """The pieces of one answer."""

    def __init__(self, pieces: Iterable[bytes], done: Callable[[], None]) -> None:
        self._whole = pieces
        self._pieces = iter(pieces)
        self._done = done

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._pieces)
        except ConnectionAbortedError:
            from waitress.channel import ClientDisconnected

            raise ClientDisconnected from None  # which waitress takes for a reader that left, and says nothing

    def close(self) -> None:
        self._done()
        if close := getattr(self._whole, "close", None):
            close()


def _in_url(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _listen(host: str, port: int) -> tuple[socket.socket, str]:
    """Return a socket that listens, and on which address; being the first thing done, it also tells that the port is ours."""
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
        if os.name == "posix":  # elsewhere it would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise LocalServerError(
            f"cannot listen on port {port} of {host or 'this machine'}: {error.strerror or error}; choose another port, or 0 "
            "for any that is free"
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
    """Serve until SIGINT or SIGTERM comes, then return; says on stderr where it listens.

    Args:
        host, port, upstream, model, api_key, base_path, allowed_hosts: As for `LocalServer`.
        database: SQLite file that keeps the conversations, ``":memory:"`` for none; None takes
            ``$XDG_DATA_HOME/hfclient/chats.sqlite3`` (or ``~/.local/share/...``), readable by its owner only.

    Raises:
        MissingDependencyError: A package is not installed.
        LocalServerError: The port is taken, the weights are missing, or the database cannot be used.
    """
    if database is None:
        from hfclient.local.store import default_path

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
    enough = Cancellation()  # an Event has a lock, which the thread may hold that the signal interrupts
    with _on_signals(enough.cancel), server:
        for url in {server.url, server.url.replace("//127.0.0.1:", "//localhost:")}:
            # As this user's clients will send it: then they find their conversations on whatever port it is served next.
            cookies, _ = AnonymousSession.find(url).begin()
            if SESSION_COOKIE in cookies:
                server.adopt(cookies[SESSION_COOKIE])
        sys.stderr.write(f"hfclient serves chat-ui's protocol at {server.open_to or server.url} (Ctrl-C ends it)\n")
        sys.stderr.flush()
        while not enough.requested:
            with contextlib.suppress(Cancelled):
                enough.pause(0.5)  # Windows delivers no signal to a thread that waits for ever
            if not enough.requested and server.wait(0):
                raise LocalServerError("the server's thread has died; its log says why")


@contextlib.contextmanager
def _on_signals(call: Callable[[], None]) -> Iterator[None]:
    """Call *call* for SIGINT and SIGTERM while the block runs; only the main thread can have that."""
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
