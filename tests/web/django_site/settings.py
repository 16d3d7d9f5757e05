"""Settings of the tests' project. A server in a process of its own gets its options from the environment (`SITE`, JSON)."""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any

_site: dict[str, Any] = json.loads(os.environ.get("SITE", "{}"))

SECRET_KEY = "of the tests"
ALLOWED_HOSTS = ["127.0.0.1", "testserver"]
ROOT_URLCONF = "tests.web.django_site.urls"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "hfclient.web.django",
    "tests.web.django_site",
]
MIDDLEWARE = [
    "django.middleware.gzip.GZipMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "hfclient.web.django.middleware.ProblemMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASES = {
    "default": _site.get("database")
    or {"ENGINE": "django.db.backends.sqlite3", "NAME": os.path.join(tempfile.gettempdir(), f"hfclient-site-{os.getpid()}.sqlite3")}
}
CACHES = {"default": _site.get("cache") or {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
STATIC_URL = "static/"
USE_TZ = True
DEBUG = _site.get("debug", False)
LOGGING_CONFIG = None
HFCLIENT = _site.get("hfclient", {})
