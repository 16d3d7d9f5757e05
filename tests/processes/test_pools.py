"""Pools of processes and threads with one client, as in Celery, Django and scripts."""

from __future__ import annotations

import itertools
import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from hfclient import Client
from hfclient.errors import ConversationBusy, GenerationError
from hfclient.events import FinalAnswer, Token
from tests.processes import pool_tasks
from tests.processes.helpers import HAS_FDS, PromptedChatUI, run_script, text_for
from tests.server import PATIENCE

MakeClient = Callable[..., Client]
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture
def any_client(prompted: PromptedChatUI, make_client: MakeClient, transport_name: str) -> Client:
    """A client over each transport."""
    return make_client(transport_name, base_url=prompted.url)


# Processes


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(method, marks=pytest.mark.skipif(method not in multiprocessing.get_all_start_methods(), reason="not here"))
        for method in ("spawn", "forkserver", "fork")
    ],
)
def test_pools_of_processes(prompted: PromptedChatUI, make_client: MakeClient, method: str) -> None:
    """A client that has been used pickles as its configuration; events, replies and errors are pickled on the way back."""
    client = make_client(base_url=prompted.url, cookies="hf-chat=mine")
    conversation = client.conversation()
    conversation.ask("count one")
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        replies = [pool.submit(pool_tasks.ask, client, f"count {number}") for number in range(3)]
        events = pool.submit(pool_tasks.stream, client, "count events")
        state = pool.submit(pool_tasks.continue_conversation, client, conversation.to_dict(), "count two")
        failing = pool.submit(pool_tasks.ask, client, "fail")
        assert [reply.result(PATIENCE).text for reply in replies] == [text_for(f"count {number}") for number in range(3)]
        received = events.result(PATIENCE)
        assert [type(received[1]), type(received[-2])] == [Token, FinalAnswer]
        with pytest.raises(GenerationError, match="tired") as caught:
            failing.result(PATIENCE)
        assert caught.value.partial is not None
        assert caught.value.partial.text == text_for("fail", 20)
        chat = prompted.chats[state.result(PATIENCE)["id"]]
    assert [message["content"] for message in chat.users] == ["count one", "count two"]
    assert chat.users[1]["ancestors"][:-1] == chat.users[0]["ancestors"] + [chat.users[0]["id"]]
    assert {request.headers["cookie"] for _, request in prompted.seen} == {"hf-chat=mine"}


def test_a_pool_forked_while_in_use(prompted: PromptedChatUI, any_client: Client) -> None:
    """As Celery's prefork: workers are forked from a process whose client is in use."""
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("this system cannot fork")
    work_client[:] = [any_client]
    held = any_client.chat("hold this")
    next(held)
    with multiprocessing.get_context("fork").Pool(3) as pool:
        prompts = [f"count {number}" for number in range(6)]
        assert pool.map(ask_inherited, prompts, chunksize=1) == [text_for(prompt) for prompt in prompts]
        pool.close()
        pool.join()
    prompted.go.set()
    assert held.text == text_for("hold this")
    assert prompted.stops == []
    work_client.clear()


work_client: list[Client] = []


def ask_inherited(prompt: str) -> str:
    return work_client[0].chat(prompt).text


# Threads


def test_32_threads_on_one_client(prompted: PromptedChatUI, any_client: Client) -> None:
    """All stream at the same time; each gets every token of its own answer, and no other."""
    prompted.together = 32
    prompts = [f"count {number}" for number in range(32)]

    def count(prompt: str) -> tuple[int, str]:
        pieces = list(any_client.chat(prompt).iter_text())
        return len(pieces), "".join(pieces)

    with ThreadPoolExecutor(32) as pool:
        assert list(pool.map(count, prompts)) == [(40, text_for(prompt)) for prompt in prompts]
        before = prompted.connections
        prompted.together = 0
        assert list(pool.map(count, prompts)) == [(40, text_for(prompt)) for prompt in prompts]
    assert before == prompted.connections == 32  # each was reused


def test_one_conversation_in_many_threads(prompted: PromptedChatUI, any_client: Client) -> None:
    """Their messages are sent one after the other: the conversation is one line, and each thread gets its own answer."""
    conversation = any_client.conversation()
    prompts = [f"count {number}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda prompt: conversation.ask(prompt).text, prompts)) == [text_for(p) for p in prompts]
    messages = prompted.chat.messages
    assert sorted(message["content"] for message in prompted.chat.users) == prompts
    assert [len(message["ancestors"]) for message in messages] == list(range(17))
    assert all(later["ancestors"][-1] == earlier["id"] for earlier, later in itertools.pairwise(messages))


def test_busy_conversations(prompted: PromptedChatUI, any_client: Client) -> None:
    """While one thread reads, others get `ConversationBusy` after their ``wait=``."""
    conversation = any_client.conversation()
    stream = conversation.send("hold this")
    with ThreadPoolExecutor(4) as pool:
        waits = [pool.submit(conversation.send, f"count {number}", wait=number / 10) for number in range(3)]
        for waiting in waits:
            with pytest.raises(ConversationBusy):
                waiting.result(PATIENCE)
        patient = pool.submit(conversation.ask, "count last", wait=PATIENCE)
        prompted.go.set()
        assert stream.text == text_for("hold this")
        assert patient.result(PATIENCE).text == text_for("count last")
    assert [message["content"] for message in prompted.chat.users] == ["hold this", "count last"]


def test_first_calls_of_several_threads(prompted: PromptedChatUI, make_client: MakeClient, transport_name: str) -> None:
    """The first calls of a client may come from several threads at once: they share one session and one anonymous cookie."""
    client = make_client(transport_name, base_url=prompted.url)
    barrier = threading.Barrier(8)

    def first(number: int) -> str:
        barrier.wait(PATIENCE)
        return client.chat(f"count {number}").text

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(first, range(8))) == [text_for(f"count {number}") for number in range(8)]
    assert len({request.headers["cookie"] for kind, request in prompted.seen if kind == "send"}) == 1


# Many calls

LONG = """
import gc, os, threading
from hfclient import Client
client = Client({url}, token="", impersonate={browser})
def fds():
    for thread in threading.enumerate()[1:]:  # stops on their way
        thread.join()
    client.close()  # idle connections: how many there are is a matter of chance
    gc.collect()
    return len(os.listdir("/proc/self/fd"))
def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
def calls(count):
    for number in range(count):
        if number % 3:
            client.models.list(fresh=True)
            continue
        stream = client.chat("few words")
        if number % 30 == 0:
            next(stream)
            stream.cancel()
        elif number % 30 == 3:
            del stream
        else:
            assert stream.text == "few-words.0 few-words.1 ", stream.text
calls(90)
before = fds(), memory()
calls(500)
after = fds(), memory()
print(after[0] - before[0], (after[1] - before[1]) // 2**20)
"""


@pytest.mark.skipif(not HAS_FDS, reason="needs /proc")
@pytest.mark.parametrize("browser", [None, "chrome"], ids=["plain", "impersonate"])
def test_500_calls(prompted: PromptedChatUI, browser: str | None) -> None:
    """Reads, whole answers, cancelled and garbage-collected ones: no descriptor is left open, and memory does not grow."""
    status, out, err = run_script(LONG, url=prompted.url, browser=browser)
    assert (status, err) == (0, "")
    descriptors, megabytes = map(int, out.split())
    assert descriptors == 0
    assert megabytes <= 6
    assert (prompted.count("send"), prompted.count("models")) == (30 + 167, 60 + 333 + 1)
