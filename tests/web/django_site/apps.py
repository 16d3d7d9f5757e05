"""The app of the tests."""

from __future__ import annotations

from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "tests.web.django_site"
    label = "site"
    default_auto_field = "django.db.models.BigAutoField"
