"""The WSGI server: waitress, with as many threads as there are responses in progress.

waitress writes each piece of a response to the socket in the thread that produced it (measured: less than a millisecond from
event to client, for pieces of any size), and its threads are daemons. A stream occupies one thread until it ends.
"""

from __future__ import annotations

import logging
import select
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any

import waitress
from waitress import wasyncore
from werkzeug.wsgi import ClosingIterator

from hfclient.redaction.logs import install_log_filter

__all__ = ["WaitressServer"]

_FIRST_THREADS, _SPARE_THREADS, _MAX_THREADS = 8, 4, 512
_HAS_POLL = hasattr(select, "poll")  # select() fails in a process with many open files
_MAX_BODY = 64 * 1024 * 1024  # bytes of a request; from 15 MiB on the application answers with 413, as chat-ui does


class WaitressServer:
    """Serves *app* on *listener* in threads of this process."""

    def __init__(self, app: Any, listener: socket.socket) -> None:
        self.port: int = listener.getsockname()[1]
        self._map: dict[int, Any] = {}
        waitress_log = logging.getLogger("waitress")
        if not waitress_log.handlers:  # its warnings are normal here; an application that configures logging gets them
            waitress_log.addHandler(logging.NullHandler())
        for name in ("waitress", "waitress.queue"):  # they log the paths of requests
            install_log_filter(name)
        application = _ThreadGrowth(app)
        self._server = waitress.create_server(
            application,
            map=self._map,
            sockets=[listener],
            threads=_FIRST_THREADS,
            connection_limit=2 * _MAX_THREADS,
            max_request_body_size=_MAX_BODY,
            asyncore_use_poll=_HAS_POLL,
            ident=None,
            clear_untrusted_proxy_headers=True,
        )
        application.set_thread_count = self._server.task_dispatcher.set_thread_count
        self._stopping = False
        self.thread = threading.Thread(target=self._loop, name="hfclient-server", daemon=True)
        self.thread.start()

    def _loop(self) -> None:
        while not self._stopping:
            wasyncore.loop(timeout=1.0, map=self._map, use_poll=_HAS_POLL, count=1)

    def close(self) -> None:
        """Stop serving and close all sockets."""
        self._stopping = True
        self._server.pull_trigger()
        self.thread.join(5.0)
        # After the loop has ended, and connections first: a worker thread that still has one would write to the trigger's
        # file descriptor, which another file may have by then.
        for channel in list(self._server.active_channels.values()):
            channel.handle_close()
        self._server.task_dispatcher.shutdown(timeout=5)
        self._server.close()


class _ThreadGrowth:
    """A WSGI application that adds worker threads while most of them are busy with *app*."""

    def __init__(self, app: Callable[[Any, Any], Iterable[bytes]]) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._busy = 0
        self._threads = _FIRST_THREADS
        self.set_thread_count: Callable[[int], object] = lambda count: None

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        with self._lock:
            self._busy += 1
            if self._busy + _SPARE_THREADS > self._threads and self._threads < _MAX_THREADS:
                self._threads *= 2
                self.set_thread_count(self._threads)
        try:
            return ClosingIterator(self._app(environ, start_response), [self._done])
        except BaseException:
            self._done()
            raise

    def _done(self) -> None:
        with self._lock:
            self._busy -= 1
