"""The app ``"hfclient.web.django"``, with the label ``hfclient``."""

from __future__ import annotations

from django.apps import AppConfig
from django.conf import settings

__all__ = ["HFClientConfig"]


class HFClientConfig(AppConfig):
    """Registers the system checks, and hides secrets of ``HFCLIENT`` from pages that show all settings."""

    name = "hfclient.web.django"
    label = "hfclient"
    verbose_name = "hfclient"

    def ready(self) -> None:
        from hfclient.web.django import checks, clients  # noqa: F401 (registers the checks; follows changes of the setting)
        from hfclient.web.django.conf import hidden

        if isinstance(getattr(settings, "HFCLIENT", None), dict):
            # The debug page hides values by their names, and has no name for cookies, or for a password in a URL.
            settings.HFCLIENT = hidden(settings.HFCLIENT)
