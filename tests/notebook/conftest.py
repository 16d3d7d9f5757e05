"""Fixtures: a chat-ui with answers of the test's own, and one real kernel for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chat.replay import ChatUI
from tests.notebook.kernel import Kernel


@pytest.fixture
def ui() -> Iterator[ChatUI]:
    """A `ChatUI` of the test's own."""
    with ChatUI() as running:
        yield running


@pytest.fixture(scope="module")
def one_kernel() -> Iterator[Kernel]:
    """A kernel; `kernel` connects it to the server of a test."""
    with Kernel() as running:
        yield running


@pytest.fixture
def kernel(one_kernel: Kernel, ui: ChatUI) -> Kernel:
    """A kernel with a ``client`` of the test's server."""
    made = one_kernel.run(f"import hfclient\nclient = hfclient.Client({ui.url!r}, token='', session='')")
    assert made.status == "ok"
    return one_kernel
