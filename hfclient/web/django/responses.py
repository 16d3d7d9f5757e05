"""`stream_response`: answers as responses of Django, under WSGI and ASGI."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

from hfclient.web.admission import Watched
from hfclient.web.bodies import Body, sse
from hfclient.web.django.conf import read_options
from hfclient.web.django.connections import without_connections
from hfclient.web.django.locks import CacheLock
from hfclient.web.errors import InvalidRequest
from hfclient.web.source import SourceLike, needs_no_body

__all__ = ["astream_response", "stream_response"]

_log = logging.getLogger("hfclient.web")
_WAIT = 1.0
_warned = threading.Event()


def stream_response(
    request: HttpRequest,
    source: SourceLike,
    *,
    body: Callable[..., Body] = sse,
    lock: CacheLock | None = None,
    wait: float | None = _WAIT,
    headers: Mapping[str, str] | None = None,
    on_close: Callable[[], object] | None = None,
    **options: Any,
) -> HttpResponseBase:
    """Return a response that streams an answer, under WSGI and ASGI, from a sync view or a coroutine.

        def ask(request):
            prompt = read_prompt(request)
            return stream_response(request, lambda: get_client().chat(prompt))

    When the browser leaves, also while the model is silent, the answer is left as its ``on_close`` says. Under ASGI nothing blocks the
    event loop. GZipMiddleware does not collect the pieces.

    A request that repeats an earlier one (it has ``Last-Event-ID``) gets a 204, after which a browser stops, and *source* is not called:
    the prompt is not sent twice. A follower of a run continues instead, unless the browser has its last event: see `follow`.

    Args:
        request: The request of the view.
        source: A function that returns a stream, called in another thread; what `Guard.watch` returns, whose ``RateLimit`` header fields are
            added; or a stream, or a follower of a run.
        body: `sse`, `hfclient.web.ndjson` or `hfclient.web.text`.
        lock: A `conversation_lock` of the cache. It is acquired, unless it is held already, and released when the response is closed.
            In a coroutine acquire it before, with ``await lock.aacquire()``, or use `astream_response`.
        wait: Seconds to wait for the first event, so that a refusal raises here and becomes the status of the response; later ones are
            events of the stream. None does not wait, nor does a coroutine (see `astream_response`).
        headers: Further headers.
        on_close: Called once when the response has ended or was closed, in any thread.
        options: Of *body*: ``format``, ``heartbeat``, ``retry``, ``problem``, ``details``; see `sse`.

    Raises:
        HFClientError: A refusal that came within *wait* seconds; `ProblemMiddleware` turns it into a response.
        ConversationBusy: The lock is held by another process.
    """
    return _respond(request, source, body, lock, wait, headers, on_close, options, in_loop=_is_in_loop())


async def astream_response(
    request: HttpRequest,
    source: SourceLike,
    *,
    body: Callable[..., Body] = sse,
    lock: CacheLock | None = None,
    wait: float | None = _WAIT,
    headers: Mapping[str, str] | None = None,
    on_close: Callable[[], object] | None = None,
    **options: Any,
) -> HttpResponseBase:
    """Return what `stream_response` returns; in a coroutine this waits for a refusal, and for the lock, without blocking the loop."""
    # In a thread of its own. Under gevent that is a greenlet in the thread of the loop, which looks as if it were in the loop.
    call = sync_to_async(_respond, thread_sensitive=False)
    response: HttpResponseBase = await call(request, source, body, lock, wait, headers, on_close, options, in_loop=False)
    return response


def _respond(
    request: HttpRequest,
    source: SourceLike,
    body: Callable[..., Body],
    lock: CacheLock | None,
    wait: float | None,
    headers: Mapping[str, str] | None,
    on_close: Callable[[], object] | None,
    options: dict[str, Any],
    *,
    in_loop: bool,
) -> HttpResponseBase:
    release = _Release(lock, without_connections(on_close) if on_close is not None else None)
    try:
        if needs_no_body(source, request.headers.get("Last-Event-ID")):
            if (close := getattr(source, "close", None)) is not None:
                close()
            release()
            return HttpResponse(status=204)
        if lock is not None and not lock.held:
            if in_loop:
                raise InvalidRequest("in a coroutine acquire the lock before: await lock.aacquire(), or await astream_response(...)")
            lock.acquire()
        if isinstance(source, Watched) and not in_loop and request.method != "HEAD":
            release.also(source.close)
            source.admit()
        opened = without_connections(source) if callable(source) else source
        made = body(opened, wait=None if in_loop or request.method == "HEAD" else wait, on_close=release, **{**_defaults(), **options})
    except BaseException:
        release()
        raise
    fields = {**made.headers, **(source.headers() if isinstance(source, Watched) else {}), **(headers or {})}
    is_asgi = hasattr(request, "scope")
    if not is_asgi:
        _check_worker(request)
    response = StreamingHttpResponse(_AsyncPieces(made) if is_asgi else made, status=made.status, headers=fields)
    # GZipMiddleware would collect the pieces; it, and nginx, leave a response alone that has an encoding.
    response.headers.setdefault("Content-Encoding", "identity")
    if not in_loop:
        _release_connections()
    return response


def _release_connections() -> None:
    """Close the connections to databases of this thread that are in no transaction.

    Django closes them at the end of the response, and a stream may last an hour: a hundred open tabs would be all that PostgreSQL admits.
    """
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


class _AsyncPieces:
    """A body as Django takes one under ASGI: an asynchronous iterable, closed with the response."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self.close = body.close

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._body.asgi()


class _Release:
    """Releases what the response holds, then calls the application's function; once."""

    def __init__(self, lock: CacheLock | None, on_close: Callable[[], object] | None) -> None:
        release = None if lock is None else without_connections(lambda: _release(lock))
        self._calls = [call for call in (release, on_close) if call is not None]

    def also(self, call: Callable[[], object]) -> None:
        """Call *call*, too, before the others."""
        self._calls.insert(0, call)

    def __call__(self) -> None:
        while self._calls:
            self._calls.pop(0)()


def _release(lock: CacheLock) -> None:
    """Release *lock* without blocking an event loop, in which a body may be closed."""
    if _is_in_loop():
        threading.Thread(target=without_connections(lock.release), name="hfclient-release", daemon=True).start()
    else:
        lock.release()


def _defaults() -> dict[str, Any]:
    """Return the options of all bodies, from ``HFCLIENT``."""
    options = read_options()
    return {name: options[name] for name in ("details", "heartbeat") if name in options}


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _check_worker(request: HttpRequest) -> None:
    """Log a warning, once, if this process handles one request at a time."""
    if request.META.get("wsgi.multithread") is False and "SERVER_SOFTWARE" in request.META and not _warned.is_set():
        _warned.set()
        _log.warning(
            "this worker handles one request at a time, and none while an answer is streamed; use threads (gunicorn --worker-class gthread "
            "--threads 16), gevent, or an ASGI server"
        )
