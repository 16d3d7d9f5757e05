"""Fixtures of the services that tests of whole deployments use; see tests/services.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests import services


@pytest.fixture
def redis_server() -> Iterator[services.RedisServer]:
    """A redis-server of the test's own: it may be stopped and started again."""
    with services.RedisServer() as running:
        yield running


@pytest.fixture(scope="module")
def postgres() -> Iterator[services.PostgreSQL]:
    """A PostgreSQL server that the tests of a module share: each project has tables of its own."""
    with services.PostgreSQL() as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A Chromium that the tests of a module share: Playwright's ``Browser``."""
    with services.browser() as running:
        yield running


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    """A page of a new user, who has no cookies: Playwright's ``Page``."""
    context = chromium.new_context()
    context.set_default_timeout(services.STARTING * 1000)
    yield context.new_page()
    context.close()
