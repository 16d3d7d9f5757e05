"""A small Django project for the tests of `hfclient.web.django`. `set_up` configures Django, whose settings are one for the process."""

from __future__ import annotations

import os

import pytest


def set_up() -> None:
    """Configure Django with the settings of this project."""
    pytest.importorskip("django")
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.web.django_site.settings")
    django.setup()
