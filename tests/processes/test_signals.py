"""Ctrl-C, SIGTERM and the end of the interpreter, at every stage of a call, in real processes."""

from __future__ import annotations

import json
import os
import signal
import time
import weakref
from collections.abc import Callable, Iterator

import pytest

from hfclient import Client
from hfclient.chat.conversations import background
from tests.chat.replay import FINISHED, STARTED, final, log_of, token, wait_until
from tests.processes.helpers import PromptedChatUI, Script, needs_signals, run_script, text_for
from tests.server import json_answer

pytestmark = needs_signals

TRANSPORTS = pytest.mark.parametrize("browser", [None, "chrome"], ids=["plain", "impersonate"])

SOON = 15.0
"""Limit in seconds for the end of a process, on a busy machine too; the waits that it interrupts would take 30 or more."""

# Prints how the call ended, and re-raises the exception.
CALL = """
import sys
from hfclient import Client, Retry, events
client = Client({url}, token="", impersonate={browser}, retry=Retry(attempts=3, backoff=30))
stream = None
print("ready", flush=True)
try:
    stream = client.chat({prompt})
    for event in stream:
        if isinstance(event, events.Token):
            print("token", flush=True)
except BaseException as error:
    print(type(error).__name__, repr(stream.partial.text) if stream else None, flush=True)
    raise
"""


def interrupted(script: Script, number: int = signal.SIGINT) -> tuple[int, str, str, float]:
    """Send a signal; return status and output of the process, and how many seconds it took to end."""
    started = time.monotonic()
    script.process.send_signal(number)
    return *script.end(), time.monotonic() - started


def check_ctrl_c(status: int, err: str) -> None:
    """The process ended as Python does after Ctrl-C, with one traceback and no other output."""
    assert status == -signal.SIGINT
    assert err.startswith("Traceback")
    assert err.count("Traceback") == 1
    assert err.endswith("KeyboardInterrupt\n")


@TRANSPORTS
def test_ctrl_c_during_a_stream(prompted: PromptedChatUI, browser: str | None) -> None:
    """The text so far is kept, KeyboardInterrupt is raised, and the generation is stopped on the server."""
    with Script(CALL, url=prompted.url, browser=browser, prompt="endless one") as script:
        assert [script.line(), script.line(), script.line()] == ["ready", "token", "token"]
        status, out, err, took = interrupted(script)
    assert f"KeyboardInterrupt '{text_for('endless one', 1)}more " in out
    check_ctrl_c(status, err)
    assert took < SOON
    assert len(prompted.stops_for("endless one")) == 1


@TRANSPORTS
def test_ctrl_c_before_the_headers(prompted: PromptedChatUI, browser: str | None) -> None:
    """Before the server has answered, the generation that may have started is stopped by its id."""
    with Script(CALL, url=prompted.url, browser=browser, prompt="mute one") as script:
        assert script.line() == "ready"
        prompted.wait_for_prompt("mute one")
        status, out, err, took = interrupted(script)
    prompted.go.set()
    assert out == "KeyboardInterrupt None\n"
    check_ctrl_c(status, err)
    assert took < SOON
    assert len(prompted.stops_for("mute one")) == 1


def test_ctrl_c_while_a_retry_waits(prompted: PromptedChatUI) -> None:
    """A pause between two attempts ends at once; nothing was sent, so nothing is stopped."""
    prompted.always("models", json_answer({"message": "later"}, 503))
    with Script(CALL, url=prompted.url, browser=None, prompt="count one") as script:
        assert script.line() == "ready"
        wait_until(lambda: prompted.count("models") == 1)
        time.sleep(0.05)  # for the pause to begin
        status, out, err, took = interrupted(script)
    assert out == "KeyboardInterrupt None\n"
    check_ctrl_c(status, err)
    assert took < SOON
    assert (prompted.count("models"), prompted.count("send"), prompted.stops) == (1, 0, [])


def test_continue_after_ctrl_c(prompted: PromptedChatUI) -> None:
    """After KeyboardInterrupt the same conversation can be used; a second Ctrl-C in a second stream works, too."""
    code = """
from hfclient import Client
client = Client({url}, token="")
conversation = client.conversation()
for number in range(2):
    stream = conversation.send(f"endless {number}")
    try:
        for event in stream:
            if type(event).__name__ == "Token":
                print("token", flush=True)
    except KeyboardInterrupt:
        print("kept", stream.partial.text.split()[0], stream.partial.interrupted, flush=True)
print(conversation.ask("count last"), flush=True)
"""
    with Script(code, url=prompted.url) as script:
        for number in range(2):
            while script.line() != "token":
                pass
            script.process.send_signal(signal.SIGINT)
            while (line := script.line()) == "token":
                pass
            assert line == f"kept endless-{number}.0 True"
        assert script.end() == (0, f"{text_for('count last')}\n", "")
    assert [len(prompted.stops_for(f"endless {number}")) for number in range(2)] == [1, 1]


@pytest.mark.parametrize(("browser", "handler"), [(None, "default"), (None, "exits"), ("chrome", "exits")])
def test_sigterm(prompted: PromptedChatUI, browser: str | None, handler: str) -> None:
    """The default handler ends the process at once; a handler that raises SystemExit works like Ctrl-C."""
    install = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
    code = (install if handler == "exits" else "") + CALL
    with Script(code, url=prompted.url, browser=browser, prompt="endless one") as script:
        assert [script.line(), script.line(), script.line()] == ["ready", "token", "token"]
        status, out, err, took = interrupted(script, signal.SIGTERM)
    assert (took < SOON, err) == (True, "")
    if handler == "exits":
        assert status == 7
        assert "SystemExit 'endless-one.0 more " in out
        assert len(prompted.stops_for("endless one")) == 1
    else:
        assert status == -signal.SIGTERM
        assert prompted.stops == []


ENDS = {
    "module": "stream = client.chat('endless one', temporary=True); next(stream); next(stream)",
    "cycle": "stream = client.chat('endless one'); next(stream); held = [stream]; held.append(held); del stream",
    "daemon": "import threading\nbegun = threading.Event()\n"
    "def work():\n    for event in client.chat('endless one'): begun.set()\n"
    "threading.Thread(target=work, daemon=True).start()\nbegun.wait(30)",
    "thread left": "import threading\n"
    "def work():\n    for event in client.chat('endless one'):\n        if type(event).__name__ == 'Token': return\n"
    "threading.Thread(target=work).start()",
    "unread": "stream = client.chat('endless one')",
    "exit in a loop": "import sys\nfor event in client.chat('endless one'):\n    sys.exit(3)",
}


@pytest.mark.parametrize("way", [*ENDS, "daemon, impersonate", "module, impersonate"])
def test_the_interpreter_ends(prompted: PromptedChatUI, way: str) -> None:
    """With an open stream, wherever it is referenced, Python exits soon, with its own status and without output.

    The generation is stopped, since it has no reader.
    """
    way, _, browser = way.partition(", ")
    code = f"from hfclient import Client\nclient = Client({{url}}, token='', impersonate={{browser}})\n{ENDS[way]}\n"
    status, out, err = run_script(code, url=prompted.url, browser="chrome" if browser else None, options=("-X", "dev"))
    assert (status, out, err) == (3 if way == "exit in a loop" else 0, "", "")
    assert len(prompted.stops_for("endless one")) == 1
    assert prompted.count("delete") == (way == "module")


def test_a_killed_process(prompted: PromptedChatUI, make_client: Callable[..., Client]) -> None:
    """After SIGKILL the generation is not stopped; another process attaches to it with the saved state of the conversation."""
    code = """
import json
from hfclient import Client
stream = Client({url}, token="", cookies="hf-chat=mine").conversation().send("hold this")
next(stream)
print(json.dumps(stream.conversation.to_dict()), flush=True)
stream.text
"""
    with Script(code, url=prompted.url) as script:
        state = json.loads(script.line())
        os.kill(script.process.pid, signal.SIGKILL)
        assert script.end()[0] == -signal.SIGKILL
    assert prompted.stops == []
    text = text_for("hold this")
    assert prompted.chat.newest is not None
    prompted.chat.newest.log = log_of(STARTED, token(text), final(text), FINISHED)
    other = make_client(base_url=prompted.url, cookies="hf-chat=mine")
    assert other.restore(state).attach(state["generation_id"]).text == text


def test_threads_during_the_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon thread that starts an answer at exit does not keep the others from being closed."""

    class Stream:
        left = False

        def _close_at_exit(self, budget: float) -> None:
            self.left = True

    class Growing(weakref.WeakSet[Stream]):
        looks = 0

        def __iter__(self) -> Iterator[Stream]:
            self.looks += 1
            if self.looks == 1:
                raise RuntimeError("Set changed size during iteration")  # CPython's message
            return super().__iter__()

    stream = Stream()
    monkeypatch.setattr(background, "_open", Growing([stream]))
    background._at_exit()
    assert stream.left
