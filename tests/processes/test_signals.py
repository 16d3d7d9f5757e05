"""Ctrl-C, SIGTERM and the end of the interpreter, at every stage of a call: in real processes."""

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
from tests.processes.helpers import Script, Stage, needs_signals, run_script, text_for
from tests.server import json_answer

pytestmark = needs_signals

TRANSPORTS = pytest.mark.parametrize("browser", [None, "chrome"], ids=["plain", "impersonate"])

SOON = 15.0
"""Seconds in which a process is gone, on a busy machine too; what it waits for would take 30 or more."""

# Tells how the call ended, and lets the exception out.
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
    """The process ended as Python does after Ctrl-C, with one traceback and no other word."""
    assert status == -signal.SIGINT
    assert err.startswith("Traceback")
    assert err.count("Traceback") == 1
    assert err.endswith("KeyboardInterrupt\n")


@TRANSPORTS
def test_ctrl_c_in_mid_stream(stage: Stage, browser: str | None) -> None:
    """What had come is kept, KeyboardInterrupt goes on its way, and the generation is stopped on the server."""
    with Script(CALL, url=stage.url, browser=browser, prompt="endless one") as script:
        assert [script.line(), script.line(), script.line()] == ["ready", "token", "token"]
        status, out, err, took = interrupted(script)
    assert f"KeyboardInterrupt '{text_for('endless one', 1)}more " in out
    check_ctrl_c(status, err)
    assert took < SOON
    assert len(stage.stops_for("endless one")) == 1


@TRANSPORTS
def test_ctrl_c_before_the_headers(stage: Stage, browser: str | None) -> None:
    """Also while the server has not said a word: the run that may have begun there is stopped by its id."""
    with Script(CALL, url=stage.url, browser=browser, prompt="mute one") as script:
        assert script.line() == "ready"
        stage.wait_for_prompt("mute one")
        status, out, err, took = interrupted(script)
    stage.go.set()
    assert out == "KeyboardInterrupt None\n"
    check_ctrl_c(status, err)
    assert took < SOON
    assert len(stage.stops_for("mute one")) == 1


def test_ctrl_c_while_a_retry_waits(stage: Stage) -> None:
    """A pause between two tries ends at once; nothing was sent, so nothing is stopped."""
    stage.always("models", json_answer({"message": "later"}, 503))
    with Script(CALL, url=stage.url, browser=None, prompt="count one") as script:
        assert script.line() == "ready"
        wait_until(lambda: stage.count("models") == 1)
        time.sleep(0.05)  # for the pause to begin
        status, out, err, took = interrupted(script)
    assert out == "KeyboardInterrupt None\n"
    check_ctrl_c(status, err)
    assert took < SOON
    assert (stage.count("models"), stage.count("send"), stage.stops) == (1, 0, [])


def test_ctrl_c_and_on(stage: Stage) -> None:
    """Whoever catches KeyboardInterrupt goes on with the same conversation; a second Ctrl-C in a second stream works, too."""
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
    with Script(code, url=stage.url) as script:
        for number in range(2):
            while script.line() != "token":
                pass
            script.process.send_signal(signal.SIGINT)
            while (line := script.line()) == "token":
                pass
            assert line == f"kept endless-{number}.0 True"
        assert script.end() == (0, f"{text_for('count last')}\n", "")
    assert [len(stage.stops_for(f"endless {number}")) for number in range(2)] == [1, 1]


@pytest.mark.parametrize(("browser", "handler"), [(None, "default"), (None, "exits"), ("chrome", "exits")])
def test_sigterm(stage: Stage, browser: str | None, handler: str) -> None:
    """The default handler ends the process where it stands; one that raises SystemExit leaves like Ctrl-C does."""
    install = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
    code = (install if handler == "exits" else "") + CALL
    with Script(code, url=stage.url, browser=browser, prompt="endless one") as script:
        assert [script.line(), script.line(), script.line()] == ["ready", "token", "token"]
        status, out, err, took = interrupted(script, signal.SIGTERM)
    assert (took < SOON, err) == (True, "")
    if handler == "exits":
        assert status == 7
        assert "SystemExit 'endless-one.0 more " in out
        assert len(stage.stops_for("endless one")) == 1
    else:
        assert status == -signal.SIGTERM
        assert stage.stops == []


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
def test_the_interpreter_ends(stage: Stage, way: str) -> None:
    """With a stream that is open, wherever it is held, Python ends soon, with its own status and without a word.

    The generation is stopped, since nobody is left to read it.
    """
    way, _, browser = way.partition(", ")
    code = f"from hfclient import Client\nclient = Client({{url}}, token='', impersonate={{browser}})\n{ENDS[way]}\n"
    status, out, err = run_script(code, url=stage.url, browser="chrome" if browser else None, options=("-X", "dev"))
    assert (status, out, err) == (3 if way == "exit in a loop" else 0, "", "")
    assert len(stage.stops_for("endless one")) == 1
    assert stage.count("delete") == (way == "module")


def test_a_killed_process(stage: Stage, make_client: Callable[..., Client]) -> None:
    """After SIGKILL nobody stops the run; another process picks it up by what was saved of the conversation."""
    code = """
import json
from hfclient import Client
stream = Client({url}, token="", cookies="hf-chat=mine").conversation().send("hold this")
next(stream)
print(json.dumps(stream.conversation.to_dict()), flush=True)
stream.text
"""
    with Script(code, url=stage.url) as script:
        state = json.loads(script.line())
        os.kill(script.process.pid, signal.SIGKILL)
        assert script.end()[0] == -signal.SIGKILL
    assert stage.stops == []
    text = text_for("hold this")
    assert stage.chat.newest is not None
    stage.chat.newest.log = log_of(STARTED, token(text), final(text), FINISHED)
    other = make_client(base_url=stage.url, cookies="hf-chat=mine")
    assert other.restore(state).attach(state["generation_id"]).text == text


def test_threads_go_on_while_the_process_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon thread that begins an answer just then does not keep the others from being left."""

    class Stream:
        left = False

        def close_at_exit(self, budget: float) -> None:
            self.left = True

    class Growing(weakref.WeakSet[Stream]):
        looks = 0

        def __iter__(self) -> Iterator[Stream]:
            self.looks += 1
            if self.looks == 1:
                raise RuntimeError("Set changed size during iteration")  # what CPython says
            return super().__iter__()

    stream = Stream()
    monkeypatch.setattr(background, "_open", Growing([stream]))
    background._at_exit()
    assert stream.left
