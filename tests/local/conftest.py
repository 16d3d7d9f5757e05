"""Fixtures: the embedded server over a scripted upstream, and its callers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("flask", reason="the embedded server needs the extra: local")
pytest.importorskip("waitress", reason="the embedded server needs the extra: local")

from hfclient.local import LocalServer
from tests.local.caller import Caller
from tests.local.upstream import ScriptedUpstream


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    """An upstream that answers "Hello, world!" without a script."""
    with ScriptedUpstream() as running:
        yield running


@pytest.fixture
def chat(upstream: ScriptedUpstream) -> Iterator[LocalServer]:
    """The embedded server, conversations in memory."""
    with LocalServer(upstream=upstream.url) as running:
        yield running


@pytest.fixture
def new_caller(chat: LocalServer) -> Iterator[Callable[[], Caller]]:
    """Make callers, each with a session of its own."""
    made: list[Caller] = []

    def make() -> Caller:
        made.append(Caller(chat.url))
        return made[-1]

    yield make
    for caller in made:
        caller.close()


@pytest.fixture
def caller(new_caller: Callable[[], Caller]) -> Caller:
    """One anonymous session."""
    return new_caller()
