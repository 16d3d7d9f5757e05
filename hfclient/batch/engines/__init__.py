"""Engines: what runs the calls of a batch. Greenlets over one event loop, threads, or an executor."""

from __future__ import annotations

import functools
import importlib.util
import logging
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from hfclient.batch.calls import Call
from hfclient.batch.jobs import Job, Outcome
from hfclient.batch.pacing.pace import Pace
from hfclient.errors import HFClientError
from hfclient.transport.proxies import proxy_for
from hfclient.transport.requests_transport import RequestsTransport
from hfclient.transport.retry_after import watching

if TYPE_CHECKING:
    from hfclient.inference import InferenceClient
    from hfclient.transport import Retry, Timeouts
    from hfclient.transport.aiohttp_transport import AiohttpTransport

_log = logging.getLogger("hfclient")

__all__ = ["Engine", "engine_for", "run_job", "take"]


class Engine(Protocol):
    """Runs jobs. All methods are called by one thread, the one that iterates the batch."""

    def submit(self, jobs: Iterable[Job]) -> None:
        """Run *jobs*, each when the pace admits it."""

    def finished(self, seconds: float | None = None) -> list[Job]:
        """Return the jobs that have ended since the last call; wait for one, at most *seconds*. The list may be empty at any time.

        If Ctrl-C comes meanwhile, :meth:`close` returns them.

        Raises:
            HFClientError: The pace has stopped, and all jobs that ran have been returned.
        """

    def close(self) -> list[Job]:
        """Cancel the jobs that run, forget those that have not started, and return the ones that have ended meanwhile.

        After Ctrl-C in the middle of it, it can be called again, and returns them then.
        """


def engine_for(call: Call, pace: Pace, workers: int, *, timeouts: Timeouts, retry: Retry) -> Engine:
    """Return the engine for *call*: greenlets over aiohttp where they do the same as the client's transport, else threads.

    Threads run the functions of the caller (tools, ``on_event``), and whatever the caller chose for the connections:
    impersonation, a transport object, a SOCKS proxy, requests with a replaced adapter (as in tests with the package responses), and
    gevent.
    """
    if not call.needs_threads and (transport := _transport_for(call)) is not None:
        from hfclient.batch.engines.green import GreenEngine

        return GreenEngine(call, pace, transport=transport, timeouts=timeouts, retry=retry)
    from hfclient.batch.engines.threads import ThreadEngine

    return ThreadEngine(call.with_client(transport=None, timeouts=timeouts, retry=retry), pace, workers)


def _transport_for(call: Call) -> AiohttpTransport | None:
    """Return the transport for greenlets, or None if they cannot be used."""
    client: InferenceClient | None = getattr(call, "client", None)
    given = None if client is None or client.on_event is not None else client.transport
    if client is None or not isinstance(given, RequestsTransport) or not given.is_plain or _has_gevent():
        return None
    proxy = None if given.proxy is None else "".join(given.proxy)
    if proxy_for(client.base_url, proxy).startswith("socks"):
        return None
    if not all(importlib.util.find_spec(name) is not None for name in ("aiohttp", "greenlet")):
        _log_once()
        return None
    from hfclient.transport.aiohttp_transport import AiohttpTransport

    return AiohttpTransport(proxy=proxy)


def _has_gevent() -> bool:
    """Return whether gevent has replaced threads by greenlets of its own."""
    patched = getattr(sys.modules.get("gevent.monkey"), "is_module_patched", None)
    return patched is not None and bool(patched("threading"))


@functools.cache
def _log_once() -> None:
    _log.info("the batch runs in threads; with the extra (pip install hfclient[batch]) it needs a third of the processor's time")


def take(jobs: list[Job]) -> list[Job]:
    """Remove and return all of *jobs*, to which other threads may append. Ctrl-C, which comes at a call, loses none."""
    count = len(jobs)
    taken = jobs[:count]
    del jobs[:count]
    return taken


def run_job(run: Callable[[Any], Any], job: Job) -> None:
    """Run *job* once; its outcome is in the job."""
    job.error = job.refusal
    if job.error is not None:
        return
    job.attempts += 1
    started = time.monotonic()
    watching.set(job.watch)
    try:
        value = run(job.asked)
        if type(value) is Outcome:
            job.value, job.reply = value.value, value.reply
        else:
            job.value = value
    except HFClientError as error:
        job.error = error
    except Exception as error:  # noqa: BLE001 (of the caller's own function; it must not end the others)
        job.error = HFClientError(f"{type(error).__name__}: {error}")
        job.error.__cause__ = error
    job.seconds += time.monotonic() - started
