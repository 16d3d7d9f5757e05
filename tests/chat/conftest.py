"""Clients of a `ChatUI`, with deadlines that end a broken test and short pauses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hfclient import Client
from hfclient.chat.conversations import resume as resuming
from hfclient.chat.conversations import run, run_tracker
from hfclient.chat.conversations import stream as chat_stream
from hfclient.transport import Retry, Timeouts
from tests.chat.gateway import Gateway
from tests.chat.replay import ChatUI
from tests.conftest import make_transport
from tests.server import PATIENCE

PATIENT = Timeouts(connect=PATIENCE, first_token=PATIENCE, idle=PATIENCE, total=2 * PATIENCE)
"""Deadlines that no test is meant to meet."""


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "_POLL", 0.01)
    monkeypatch.setattr(resuming, "_MAX_PAUSE", 0.01)
    monkeypatch.setattr(run, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(run_tracker, "_POLL", 0.01)
    monkeypatch.setattr(run_tracker, "_PAUSE", 0.01)
    monkeypatch.setattr(run_tracker, "_JITTER", 0.01)
    monkeypatch.setattr(run_tracker, "_STOP_MARK", 0.0)
    monkeypatch.setattr(chat_stream, "_SILENCE", 0.1)
    for stop in (run.Run.stop, run.Run.try_stop):  # a stop in the background is lost when its time is over
        monkeypatch.setattr(stop, "__defaults__", (PATIENCE,))


@pytest.fixture
def ui() -> Iterator[ChatUI]:
    """A `ChatUI` of the test's own."""
    with ChatUI() as running:
        yield running


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A chat-ui behind a gateway, for one test."""
    with Gateway() as running:
        yield running


MakeClient = Callable[..., Client]
GIVES_UP = pytest.mark.parametrize("resume", [0.0], ids=["gives up"])
"""For tests whose client gives up resuming, or looking for a message, after two attempts."""


@pytest.fixture
def resume() -> float:
    """Seconds for which clients resume: no test is meant to wait for their end, see `GIVES_UP`."""
    return PATIENCE


@pytest.fixture
def make_client(ui: ChatUI, resume: float) -> Iterator[MakeClient]:
    """Make clients of `ui`; they are closed at the end."""
    made: list[Client] = []

    def make(transport_name: str = "plain", **options: Any) -> Client:
        options = {"token": "", "timeouts": PATIENT, "retry": Retry(attempts=2, backoff=0.01, resume=resume), **options}
        url = options.pop("base_url", ui.url)
        made.append(Client(url, transport=make_transport(transport_name), **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(make_client: MakeClient) -> Client:
    """A client over the default transport, for what is the same on every transport."""
    return make_client()


@pytest.fixture
def any_client(make_client: MakeClient, transport_name: str) -> Client:
    """A client over each transport in turn."""
    return make_client(transport_name)
