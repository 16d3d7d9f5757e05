"""Fixtures: the server and clients of the chat tests, and a chat-ui whose answers wait for each other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chat.conftest import _short_pauses, client, make_client, resume, ui
from tests.processes.helpers import PromptedChatUI

__all__ = ["_short_pauses", "client", "make_client", "prompted", "resume", "ui"]


@pytest.fixture
def prompted() -> Iterator[PromptedChatUI]:
    """A `PromptedChatUI` for one test."""
    with PromptedChatUI() as running:
        yield running
