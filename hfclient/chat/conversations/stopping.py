"""Telling the server to stop, without making anybody wait for it."""

from __future__ import annotations

import atexit
import logging
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from hfclient.chat.servers.service import ChatService
from hfclient.errors import HFClientError
from hfclient.transport import Timeouts

__all__ = ["STOP_BUDGET", "in_background", "leave_at_exit", "send_stop", "stop_in_background", "try_stop"]

STOP_BUDGET = 2.0
"""Seconds that a stop may take in all."""

_T = TypeVar("_T")

_log = logging.getLogger("hfclient")
_on_their_way: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


class _Leaving(Protocol):
    def _leave_for_good(self, budget: float) -> None:
        """Stop what is generated for nobody, within *budget* seconds."""


_open: weakref.WeakSet[_Leaving] = weakref.WeakSet()


def leave_at_exit(stream: _Leaving) -> None:
    """Have ``stream._leave_for_good`` called when the process ends, if there still is a stream then."""
    _open.add(stream)


@atexit.register
def _at_exit() -> None:
    """A process that ends leaves its answers, as long as it can: no thread starts while the interpreter is taken apart.

    It waits for the stops that are on their way, too (after Ctrl-C, say); all in all for no more than their budget.
    """
    end = time.monotonic() + STOP_BUDGET
    for stream in _members(_open):
        if (left := end - time.monotonic()) > 0:
            try:
                stream._leave_for_good(left)
            except Exception as error:  # noqa: BLE001 (nobody is left to tell)
                _log.debug("leaving a stream at the end of the process: %s", type(error).__name__)
    for told in _members(_on_their_way):
        told.join(max(0.0, end - time.monotonic()))


def _members(known: weakref.WeakSet[_T]) -> list[_T]:
    while True:
        try:
            return list(known)
        except RuntimeError:  # a daemon thread has just added one
            continue


def send_stop(
    service: ChatService, conversation_id: str, generation_id: str | None, seen: int, budget: float = STOP_BUDGET
) -> None:
    """Stop a run whose reader has had *seen* UTF-16 units of its text; raises what `Session.send` does."""
    timeouts = Timeouts(connect=budget / 2, idle=budget, total=budget)
    service.session.send(service.endpoints.stop(conversation_id, generation_id or "", seen, timeouts)).close()


def stop_in_background(
    service: ChatService, conversation_id: str, generation_id: str | None, seen: int
) -> threading.Thread | None:
    """Do that in the returned thread; what fails is logged. None if no thread can be waited for any more."""
    return in_background(try_stop, service, conversation_id, generation_id, seen)


def in_background(call: Callable[..., object], *args: Any) -> threading.Thread | None:
    """Call it in the returned thread, which the end of the process waits for; here and now if none can begin any more.

    A finalizer or a signal handler may have interrupted a thread that holds a lock which a request needs, so neither of
    them may send one itself.
    """
    if sys.is_finalizing():  # a stream that only now is found to be garbage; a thread would never begin
        return None
    thread = threading.Thread(target=call, args=args, name="hfclient-stop", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # since Python 3.12, once the main thread has ended
        call(*args)
        return None
    _on_their_way.add(thread)
    return thread


def try_stop(
    service: ChatService, conversation_id: str, generation_id: str | None, seen: int, budget: float = STOP_BUDGET
) -> None:
    """Do it here and now; what fails is logged."""
    try:
        send_stop(service, conversation_id, generation_id, seen, budget)
    except HFClientError as error:
        _log.info("the generation could not be stopped: %s", error.message)
