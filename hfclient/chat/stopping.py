"""Telling the server to stop, without making anybody wait for it."""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref

from hfclient.chat.service import ChatService
from hfclient.errors import HFClientError
from hfclient.transport import Timeouts

__all__ = ["STOP_BUDGET", "send_stop", "stop_in_background"]

STOP_BUDGET = 2.0
"""Seconds that a stop may take in all."""

_log = logging.getLogger("hfclient")
_on_their_way: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


@atexit.register
def _let_stops_go() -> None:
    """A process that ends, by Ctrl-C say, waits for the stops that are on their way: they have a budget of their own."""
    end = time.monotonic() + STOP_BUDGET
    for told in list(_on_their_way):
        told.join(max(0.0, end - time.monotonic()))


def send_stop(service: ChatService, conversation_id: str, generation_id: str | None, seen: int) -> None:
    """Stop a run whose reader has had *seen* UTF-16 units of its text; raises what `ChatService.send` does."""
    timeouts = Timeouts(connect=STOP_BUDGET / 2, idle=STOP_BUDGET, total=STOP_BUDGET)
    service.send(service.endpoints.stop(conversation_id, generation_id or "", seen, timeouts)).close()


def stop_in_background(
    service: ChatService, conversation_id: str, generation_id: str | None, seen: int
) -> threading.Thread:
    """Do that in the returned thread; what fails is logged."""
    told = threading.Thread(
        target=_try_stop, args=(service, conversation_id, generation_id, seen), name="hfclient-stop", daemon=True
    )
    told.start()
    _on_their_way.add(told)
    return told


def _try_stop(service: ChatService, conversation_id: str, generation_id: str | None, seen: int) -> None:
    try:
        send_stop(service, conversation_id, generation_id, seen)
    except HFClientError as error:
        _log.info("the generation could not be stopped: %s", error.message)
