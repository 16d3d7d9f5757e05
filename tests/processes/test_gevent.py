"""Processes patched by gevent: greenlets stream at the same time, each with its own deadlines."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from tests.processes.helpers import PromptedChatUI, Script, run_script, text_for

pytest.importorskip("gevent", reason="gevent has no wheel for this Python")

BEFORE = """
from gevent import monkey
monkey.patch_all()
from hfclient import Client, Timeouts, Unsupported, TransportTimeout, events
import gevent
client = Client({url}, token="")
"""
# As gunicorn's gevent worker does with an application that was loaded before the fork (--preload).
AFTER = """
import warnings
from hfclient import Client, Timeouts, Unsupported, TransportTimeout, events
client = Client({url}, token="")
from gevent import monkey
warnings.simplefilter("ignore")
monkey.patch_all()
import gevent
"""

when_patched = pytest.mark.parametrize("start", [BEFORE, AFTER], ids=["patched first", "patched late"])


@when_patched
def test_greenlets_interleave(prompted: PromptedChatUI, start: str) -> None:
    """Eight greenlets stream at once: the server sends no second half before all have the first."""
    prompted.together = 8
    code = """
heard = []
def read(name):
    text = ""
    for event in client.chat(f"count {name}"):
        if isinstance(event, events.Token):
            text += event.text
            heard.append(name)
    return text
greenlets = [gevent.spawn(read, name) for name in "abcdefgh"]
gevent.joinall(greenlets, timeout=30)
print([greenlet.value for greenlet in greenlets])
print(sum(one != two for one, two in zip(heard, heard[1:])))
"""
    status, out, err = run_script(start + code, url=prompted.url)
    assert (status, err) == (0, "")
    texts, changes = out.splitlines()
    assert ast.literal_eval(texts) == [text_for(f"count {name}") for name in "abcdefgh"]
    assert int(changes) > 7  # they did not read one after the other
    assert sum(1 for kind, _ in prompted.seen if kind == "stop") == 0


@when_patched
def test_each_greenlet_has_its_own_deadlines_and_stops(prompted: PromptedChatUI, start: str) -> None:
    """Greenlets that start together have their own deadlines, wait at the same time, and can be cancelled one by one."""
    code = """
from hfclient import Cancelled
order = []
def wait(number):
    seconds = 1 + number / 16
    order.append("begins")
    try:
        client.chat(f"mute {number}", timeouts=Timeouts(total=seconds)).text
    except TransportTimeout as error:
        order.append("ends")
        return error.deadline == "total" and abs(error.seconds - seconds) < 0.001
def endless():
    try:
        return stream.text
    except Cancelled as error:
        return error.partial.text
client.models.list()
greenlets = [gevent.spawn(wait, number) for number in range(8)]
stream = client.chat("endless one")
reader = gevent.spawn(endless)
gevent.joinall(greenlets, timeout=30)
print([greenlet.value for greenlet in greenlets], order == ["begins"] * 8 + ["ends"] * 8)
gevent.spawn(stream.cancel)
reader.join(30)
print(reader.value[:11], "more more" in reader.value)
"""
    status, out, err = run_script(start + code, url=prompted.url)
    prompted.go.set()
    assert (status, err) == (0, "")
    assert out.splitlines() == [f"{[True] * 8} True", "endless-one True"]
    assert len(prompted.stops_for("endless one")) == 1


def test_the_end_of_a_process() -> None:
    """The last collection, when the greenlets have gone, prints nothing."""
    code = """
from gevent import monkey
monkey.patch_all()
import gevent
from hfclient.process.garbage_collection import in_gc_finalizer
gevent.sleep(0)
assert not in_gc_finalizer()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_killing_a_greenlet_stops_its_answer(prompted: PromptedChatUI) -> None:
    """After a `gevent.Timeout` or a kill, as after any exception, the generation is stopped."""
    code = """
heard = []
def read(prompt):
    for event in client.chat(prompt):
        if isinstance(event, events.Token):
            heard.append(prompt)
killed = gevent.spawn(read, "endless killed")
other = gevent.spawn(read, "hold other")
while not {"endless killed", "hold other"} <= set(heard):
    gevent.sleep(0.01)
killed.kill()
try:
    with gevent.Timeout(1.5):
        read("endless late")
except gevent.Timeout:
    print("late")
print(killed.dead, other.dead)
other.kill()
"""
    status, out, err = run_script(BEFORE + code, url=prompted.url)
    assert (status, out, err) == (0, "late\nTrue False\n", "")
    assert [len(prompted.stops_for(prompt)) for prompt in ("endless killed", "endless late", "hold other")] == [1, 1, 1]


@when_patched
def test_ticks(prompted: PromptedChatUI, start: str) -> None:
    """Greenlets that read with ticks get them while their server is silent, also before the head of the answer; others run meanwhile."""
    code = """
import hfclient
ticks, texts = {}, {}
def read(prompt, events):
    texts[prompt] = ""
    ticks[prompt] = 0
    for event in events:
        ticks[prompt] += event is None
        if isinstance(event, events_module.Token):
            texts[prompt] += event.text
events_module = events
greenlets = [gevent.spawn(read, f"hold {name}", client.chat(f"hold {name}").ticks(0.05)) for name in "abc"]
pending = gevent.spawn(read, "mute", hfclient.ticks(lambda: client.chat("mute one"), 0.05))
while not (len(ticks) == 4 and all(count > 2 for count in ticks.values())):
    gevent.sleep(0.01)
pending.kill()
print("ticked")
gevent.joinall(greenlets, timeout=30)
print([texts[f"hold {name}"] for name in "abc"])
"""
    with Script(start + code, url=prompted.url) as script:
        assert script.line() == "ticked"
        prompted.go.set()
        status, out, err = script.end()
    assert (status, err) == (0, "")
    assert ast.literal_eval(out) == [text_for(f"hold {name}") for name in "abc"]


def test_killing_a_greenlet_at_a_tick(prompted: PromptedChatUI) -> None:
    """A greenlet that is killed in the wait for an event, or for a tool's function, stops its answer and leaves no greenlet."""
    code = """
def read(prompt):
    for event in client.chat(prompt).ticks(0.05):
        if event is None:
            ticked.append(prompt)
ticked = []
killed = gevent.spawn(read, "hold killed")
while not ticked:
    gevent.sleep(0.01)
killed.kill()
print(killed.dead)
"""
    status, out, err = run_script(BEFORE + code, url=prompted.url)
    assert (status, out, err) == (0, "True\n", "")
    assert len(prompted.stops_for("hold killed")) == 1


def test_curl_cffi_is_rejected(prompted: PromptedChatUI) -> None:
    """curl_cffi would block every greenlet while one waits: it is an error before anything is sent."""
    code = """
client = Client({url}, token="", impersonate="chrome")
try:
    client.chat("count one")
except Unsupported as error:
    print("default transport" in str(error))
"""
    status, out, err = run_script(BEFORE + code, url=prompted.url)
    assert (status, out, err) == (0, "True\n", "")
    assert prompted.requests == []
