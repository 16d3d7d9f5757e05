"""A small Django project for the tests of `hfclient.web.django`. `set_up` configures Django, whose settings are one for the process."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest


def set_up() -> None:
    """Configure Django with the settings of this project."""
    pytest.importorskip("django")
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.web.django_site.settings")
    django.setup()


@pytest.fixture
def django_database() -> Iterator[None]:
    """The tables of the project, in a file of this process; empty at the end of the test."""
    from django.core.management import call_command
    from django.db import connections

    _create_tables()
    yield
    call_command("flush", interactive=False, verbosity=0)
    connections.close_all()


@functools.cache
def _create_tables() -> None:
    from django.conf import settings
    from django.core.management import call_command

    if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        path = Path(settings.DATABASES["default"]["NAME"])
        path.unlink(missing_ok=True)
        atexit.register(_remove, path, os.getpid())
    call_command("migrate", run_syncdb=True, verbosity=0)


def _remove(path: Path, process: int) -> None:
    if os.getpid() == process:  # a forked child leaves it to its parent
        with contextlib.suppress(OSError):
            path.unlink()
