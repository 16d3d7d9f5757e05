"""Settings. Everything that a deployment changes comes from the environment; README.md lists the variables."""

import os
import secrets
from pathlib import Path
from urllib.parse import unquote, urlsplit

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(os.environ.get("CHAT_DATA", BASE_DIR / "data"))
DATA_DIR.mkdir(parents=True, exist_ok=True)


def _secret_key() -> str:
    """Return the key of the environment, else one that is made at the first start and kept."""
    path = DATA_DIR / "secret_key"
    if not os.environ.get("DJANGO_SECRET_KEY") and not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(50))
    return os.environ.get("DJANGO_SECRET_KEY") or path.read_text()


def _database() -> dict[str, object]:
    """Return the database of ``DATABASE_URL`` (``postgres://user:password@host:5432/name``), else a file of SQLite."""
    if url := os.environ.get("DATABASE_URL"):
        parts = urlsplit(url)
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": unquote(parts.path.lstrip("/")),
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": unquote(parts.hostname or ""),
            "PORT": parts.port or "",
        }
    # Writers wait for each other instead of failing.
    options = {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA journal_mode=WAL;"}
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": DATA_DIR / "chat.sqlite3", "OPTIONS": options}


SECRET_KEY = _secret_key()
DEBUG = os.environ.get("DJANGO_DEBUG") == "1"
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]").split(",")
CSRF_TRUSTED_ORIGINS = [origin for origin in os.environ.get("TRUSTED_ORIGINS", "").split(",") if origin]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = os.environ.get("HTTPS") == "1"

INSTALLED_APPS = [
    "chat",
    "hfclient.web.django",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "chat.middleware.ContentSecurityPolicy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "hfclient.web.django.middleware.ProblemMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
ASGI_APPLICATION = "config.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
            ]
        },
    }
]
DATABASES = {"default": _database()}
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]
LOGIN_URL, LOGIN_REDIRECT_URL, LOGOUT_REDIRECT_URL = "login", "home", "login"
LANGUAGE_CODE, TIME_ZONE, USE_TZ = "en", "UTC", True
STATIC_URL = "static/"
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000_000

# The chat server (see chat/clients.py), where running answers are kept, and what a user may ask.
REDIS_URL = os.environ.get("REDIS_URL")
HFCLIENT = {
    "client": "chat.clients.new_client",
    "relay": {"store": REDIS_URL or "memory://", "recover": "chat.clients.recover", "max_followers": 20},
    "guard": {"store": REDIS_URL or "memory://", "requests": os.environ.get("CHAT_LIMIT", "30/minute")},
}
CHAT_MCP = [name for name in os.environ.get("CHAT_MCP", "").split(",") if name]
"""Names of MCP servers of the chat server, whose tools all answers may use."""
CHAT_ACCOUNTS = os.environ.get("CHAT_ACCOUNTS", "one")
"""``one`` account of the chat server for all users, or one for each ``user``."""
