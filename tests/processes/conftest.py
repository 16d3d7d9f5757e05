"""The chat wing's server and clients, and a stage on which several readers are kept waiting for each other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chat.conftest import _short_pauses, client, make_client, ui
from tests.processes.helpers import Stage

__all__ = ["_short_pauses", "client", "make_client", "stage", "ui"]


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A `Stage` of the test's own."""
    with Stage() as running:
        yield running
