"""Ticks when the process forks, is interrupted, or ends: during a wait for the body, and while the helper thread waits."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import hfclient
from hfclient import Client
from hfclient.errors import HFClientError, StreamInterrupted
from hfclient.events import Token
from tests.chat.replay import wait_until
from tests.processes.helpers import (
    PromptedChatUI,
    Script,
    in_child,
    needs_fork,
    needs_signals,
    run_script,
    succeeded,
    text_for,
)
from tests.server import PATIENCE

TICK = 0.05
MakeClient = Callable[..., Client]

TRANSPORTS = pytest.mark.parametrize("browser", [None, "chrome"], ids=["plain", "impersonate"])

# Where a process is left: at a tick of a stream, and while a call has not been answered.
WAYS = {
    "body": "events = client.chat('hold one').ticks(0.05)",
    "head": "events = hfclient.ticks(lambda: client.chat('mute one'), 0.05)",
}
START = """
import hfclient, signal, sys
from hfclient import Client
client = Client({url}, token="", impersonate={browser})
"""


def at_a_tick(events: Any) -> Any:
    """Read *events* to the first tick after a token."""
    while type(next(events)) is not Token:
        pass
    while next(events) is not None:
        pass
    return events


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_at_a_tick(prompted: PromptedChatUI, make_client: MakeClient, transport_name: str) -> None:
    """The child ends, or resumes from the log, without a wait; the parent reads on and gets each event once."""
    client = make_client(transport_name, base_url=prompted.url)
    stream = client.chat("hold one")
    events = at_a_tick(stream.ticks(TICK))

    def work() -> None:
        with contextlib.suppress(HFClientError):
            for _ in range(20):
                next(events, None)
        stream.close()
        client.close()

    child = in_child(work)
    assert succeeded(child)
    assert prompted.stops == []
    prompted.go.set()
    assert stream.partial.text
    for _ in events:
        pass
    assert stream.result().text == text_for("hold one")


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_the_helper_waits(prompted: PromptedChatUI, make_client: MakeClient, transport_name: str) -> None:
    """A child does not have the helper thread: its iterator raises at once. The parent's goes on."""
    client = make_client(transport_name, base_url=prompted.url)
    events = hfclient.ticks(lambda: client.chat("mute one"), TICK)
    assert next(events) is None
    prompted.wait_for_prompt("mute one")

    def work() -> None:
        with pytest.raises(StreamInterrupted, match="forked"):
            list(events)

    child = in_child(work)
    assert succeeded(child)
    prompted.go.set()
    assert "".join(event.text for event in events if isinstance(event, Token)) == text_for("mute one")
    assert prompted.stops == []


@needs_signals
@TRANSPORTS
@pytest.mark.parametrize("way", WAYS)
def test_ctrl_c(prompted: PromptedChatUI, browser: str | None, way: str) -> None:
    """Ctrl-C in the wait for a tick raises KeyboardInterrupt, stops the generation, and the process ends without other output."""
    code = START + WAYS[way] + "\nprint('ready', flush=True)\nfor event in events:\n    if event is None: print('tick', flush=True)\n"
    with Script(code.replace("0.05)", "0.2)"), url=prompted.url, browser=browser) as script:
        assert script.line() == "ready"
        prompted.wait_for_prompt("hold one" if way == "body" else "mute one")
        assert script.line() == "tick"
        script.process.send_signal(signal.SIGINT)
        status, _, err = script.end()
    prompted.go.set()
    assert status == -signal.SIGINT
    # It may come while a keep-alive is being decoded: then Python shows that exception, too.
    assert err.count("KeyboardInterrupt") == 1
    assert err.endswith("KeyboardInterrupt\n")
    assert "in thread" not in err
    assert "ignored" not in err
    assert len(prompted.stops) == 1


@needs_signals
@TRANSPORTS
@pytest.mark.parametrize("way", WAYS)
def test_a_signal_handler_that_closes(prompted: PromptedChatUI, browser: str | None, way: str) -> None:
    """A handler that cancels the block, below the wait for a tick, ends the loop with `Cancelled`."""
    code = (
        START
        + "with hfclient.deadline() as scope:\n    "
        + WAYS[way]
        + "\nsignal.signal(signal.SIGTERM, lambda *_: scope.cancel())\nprint('ready', flush=True)\n"
        + "try:\n    for event in events:\n        if event is None: print('tick', flush=True)\n"
        + "except hfclient.Cancelled: print('cancelled')\n"
    )
    with Script(code.replace("0.05)", "0.2)"), url=prompted.url, browser=browser) as script:
        assert script.line() == "ready"
        prompted.wait_for_prompt("hold one" if way == "body" else "mute one")
        assert script.line() == "tick"
        script.process.send_signal(signal.SIGTERM)
        status, out, err = script.end()
    prompted.go.set()
    assert (status, out.splitlines()[-1], err) == (0, "cancelled", "")
    assert len(prompted.stops) == 1


@TRANSPORTS
@pytest.mark.parametrize("way", WAYS)
def test_the_interpreter_ends_at_a_tick(prompted: PromptedChatUI, browser: str | None, way: str) -> None:
    """A program that ends at a tick, with the iterator in a global, exits without output; the generation is stopped."""
    code = START + WAYS[way] + "\nfor _ in range(20):\n    while next(events) is not None: pass\n"
    status, out, err = run_script(code, url=prompted.url, browser=browser, options=("-X", "dev"))
    prompted.go.set()
    assert (status, out, err) == (0, "", "")
    assert len(prompted.stops) == 1


def test_many_streams_and_few_threads(prompted: PromptedChatUI, make_client: MakeClient) -> None:
    """Fifty streams at a tick have no helper threads."""
    client = make_client(base_url=prompted.url)
    streams = [client.chat(f"hold {number}", on_close="detach") for number in range(50)]
    events = [at_a_tick(stream.ticks(TICK)) for stream in streams]
    assert [thread for thread in threading.enumerate() if thread.name == "hfclient-ticks"] == []
    started = time.monotonic()
    for one in events:
        one.close()
    wait_until(lambda: not any(stream._state == "reading" for stream in streams))
    assert time.monotonic() - started < PATIENCE
