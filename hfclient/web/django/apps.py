"""The app ``"hfclient.web.django"``, with the label ``hfclient``."""

from __future__ import annotations

from pathlib import Path

from django.apps import AppConfig, apps
from django.conf import settings

__all__ = ["HFClientConfig"]


class HFClientConfig(AppConfig):
    """Registers the system checks, hides secrets of ``HFCLIENT`` from pages that show all settings, and adds the static files."""

    name = "hfclient.web.django"
    label = "hfclient"
    verbose_name = "hfclient"

    def ready(self) -> None:
        from hfclient.web.django import checks, clients  # noqa: F401 (registers the checks; follows changes of the setting)
        from hfclient.web.django.conf import hidden

        if isinstance(getattr(settings, "HFCLIENT", None), dict):
            # The debug page hides values by their names, and has no name for cookies, or for a password in a URL.
            settings.HFCLIENT = hidden(settings.HFCLIENT)
        static = Path(__file__).parents[1] / "static"
        if apps.is_installed("django.contrib.staticfiles") and static not in map(Path, _folders()):
            # They lie in hfclient.web, which serves Flask, too, and so not where AppDirectoriesFinder looks.
            settings.STATICFILES_DIRS = [*settings.STATICFILES_DIRS, static]


def _folders() -> list[str]:
    """Return the folders of static files; an entry may be a pair of prefix and folder."""
    return [entry[1] if isinstance(entry, (list, tuple)) else entry for entry in settings.STATICFILES_DIRS]
