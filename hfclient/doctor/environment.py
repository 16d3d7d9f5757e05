"""Checks of the environment: variables, the folder of settings, saved logins, proxies, certificates."""

from __future__ import annotations

import os
import ssl
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from hfclient.credentials import HUGGING_CHAT, ROUTER_URL, is_loopback, origin_of
from hfclient.credentials.secret_files import DamagedFile, SecretsFile, settings_folder
from hfclient.credentials.tokens import read_token_file
from hfclient.doctor.results import Finding, counted, failed, ok, shown_path, warning
from hfclient.errors import InvalidInputError
from hfclient.transport.ca_bundle import VARIABLES as CERTIFICATES
from hfclient.transport.proxies import proxy_for

__all__ = ["certificates", "proxies", "settings", "shown_url", "url_problem", "variables"]

_OWN = (
    "HFCLIENT_BASE_URL",
    "HFCLIENT_COOKIE",
    "HFCLIENT_HOME",
    "HFCLIENT_INFERENCE_KEY",
    "HFCLIENT_INFERENCE_URL",
    "HFCLIENT_SESSION",
    "HFCLIENT_UPSTREAM_KEY",
)
_HUB = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_DISABLE_IMPLICIT_TOKEN", "HF_TOKEN_PATH", "HF_HOME", "HF_ENDPOINT")
_HOSTS = ("huggingface.co", "hf.co", "router.huggingface.co")
_PAGES = ("/conversation", "/models", "/settings", "/login", "/r/", "/api/v2", "/api/models", "/healthcheck", "/__data.json")
"""Paths of a chat-ui that are copied with its base URL from a browser or a document."""


def variables() -> Finding:
    """Look at the variables that hfclient reads, and for contradictions among them."""
    problems = [*_misspelt(), *_tokens()]
    if problem := url_problem(os.environ.get("HFCLIENT_BASE_URL", "")):
        problems.append((f"HFCLIENT_BASE_URL: {problem[0]}", problem[1]))
    if os.environ.get("HFCLIENT_INFERENCE_KEY") and not os.environ.get("HFCLIENT_INFERENCE_URL"):
        problems.append(("HFCLIENT_INFERENCE_KEY is not used without HFCLIENT_INFERENCE_URL", "Set HFCLIENT_INFERENCE_URL to the server of the key."))
    if (endpoint := os.environ.get("HF_ENDPOINT")) and not _is_url(endpoint):
        problems.append(("HF_ENDPOINT is not a URL", "Set it to a URL such as https://huggingface.co, or unset it."))
    names = [name for name in (*_OWN, *_HUB) if os.environ.get(name)]
    names += [f"{name} (not used by hfclient {why})" for name, why in _UNUSED.items() if os.environ.get(name)]
    detail = f"set: {', '.join(names)}" if names else "none is set"
    if problems:
        return warning(f"{'; '.join(text for text, _ in problems)} ({detail})", problems[0][1])
    return ok(detail)


_UNUSED = {
    "OPENAI_API_KEY": "by itself: set HFCLIENT_INFERENCE_KEY",
    "OPENAI_BASE_URL": "by itself: set HFCLIENT_INFERENCE_URL",
    "HF_API_TOKEN": "; it reads HF_TOKEN",
    "HUGGINGFACEHUB_API_TOKEN": "; it reads HF_TOKEN",
    "HUGGINGFACE_API_KEY": "; it reads HF_TOKEN",
}


def _misspelt() -> list[tuple[str, str]]:
    import difflib

    found = []
    for name in os.environ:
        meant = difflib.get_close_matches(name, _OWN, 1, 0.7) if name.startswith("HFCLIENT_") and name not in _OWN else ()
        if meant:  # other programs may use the prefix, too
            found.append((f"{name} is not a variable of hfclient", f"Rename it to {meant[0]}."))
    return found


def _tokens() -> list[tuple[str, str]]:
    """Compare the tokens that are found; none of them gets into a text."""
    env = os.environ
    first, second = env.get("HF_TOKEN", "").strip(), env.get("HUGGING_FACE_HUB_TOKEN", "").strip()
    found = []
    for name, token in (("HF_TOKEN", first), ("HUGGING_FACE_HUB_TOKEN", second)):
        if token.lower().startswith(("'", '"', "bearer ")):
            found.append((f"{name} has more than the token: a quote, or the word Bearer", f"Set {name} to the token alone."))
        elif token and not token.startswith("hf_"):
            found.append((f"{name} does not begin with hf_, as tokens of the Hub do", "Take a token from https://huggingface.co/settings/tokens"))
    if first and second and first != second:
        found.append(("HF_TOKEN and HUGGING_FACE_HUB_TOKEN differ; HF_TOKEN counts", "Unset one of them."))
    stored = (read_token_file(env) or "").strip()
    if stored and (first or second) and stored != (first or second):
        used = "HF_TOKEN" if first else "HUGGING_FACE_HUB_TOKEN"
        found.append((f"{used} and the file of huggingface_hub have different tokens; {used} counts", f"Unset {used}, or log in again: hf auth login"))
    if env.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").lower() in ("1", "on", "yes", "true") and (first or second or stored):
        found.append(("HF_HUB_DISABLE_IMPLICIT_TOKEN is set, so the token that was found is not used", "Unset it, or pass token=."))
    return found


def url_problem(url: str) -> tuple[str, str] | None:
    """Return what is wrong with the base URL of a chat server, and the remedy; None if nothing is seen."""
    if not url:
        return None
    has_query = "?" in url or "#" in url
    url = shown_url(url)
    try:
        origin_of(url)
    except InvalidInputError as error:
        is_private = is_loopback(url.partition(":")[0].partition("/")[0]) or "." not in url.partition("/")[0]
        guess = f"http{'' if is_private else 's'}://{url}" if "://" not in url else None
        if guess is None or not _is_url(guess):
            return error.message, "Write it like https://huggingface.co/chat"
        more = url_problem(guess)
        return error.message, more[1] if more else f"Write {guess}"
    parts = urlsplit(url)
    host, path = parts.hostname or "", parts.path.rstrip("/")
    if has_query:
        return "a base URL has no query and no fragment", f"Use {url}"
    if host in _HOSTS[:2] and not path:
        return f"{host} alone is the Hub, not HuggingChat", f"Use {HUGGING_CHAT}"
    if host == _HOSTS[2] or path.endswith("/v1"):
        return "this is the URL of an inference server", f'Use inference_url="{url}", and for chat {HUGGING_CHAT}'
    import difflib

    if host not in _HOSTS and (near := difflib.get_close_matches(host, _HOSTS[:2], 1, 0.85)):
        return f"{host} looks like {near[0]}", f"Use {url.replace(host, near[0], 1)}"
    for page in _PAGES:
        if (place := f"{path}/".find(f"{page.rstrip('/')}/")) >= 0:
            return f"the path {path} is a page of a chat-ui, not its base", f"Use {parts.scheme}://{parts.netloc}{path[:place]}"
    return None


def shown_url(url: str) -> str:
    """Return *url*, which may not be one, without user name, password, query and fragment."""
    scheme, mark, rest = url.partition("?")[0].partition("#")[0].rpartition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}"


def _is_url(text: str) -> bool:
    try:
        origin_of(text)
    except InvalidInputError:
        return False
    return True


# Files


def settings() -> Finding:
    """Look at the folder of saved logins and sessions."""
    folder = settings_folder()
    if folder is None:
        return warning("this user has no home folder, so that no login and no session is kept", "Set HFCLIENT_HOME to a folder.")
    shown = shown_path(folder)
    problems = []
    for name, key in (("logins.json", "logins"), ("sessions.json", "sessions")):
        if problem := _file_problem(folder / name, key):
            problems.append(problem)
    logins = [_described(place, entry) for place, entry in _entries(folder / "logins.json", "logins").items()]
    sessions = len(_entries(folder / "sessions.json", "sessions"))
    have = [*([f"logins: {', '.join(logins)}"] if logins else []), *([counted(sessions, "anonymous session")] if sessions else [])]
    detail = f"{shown} has {'; '.join(have) or 'no saved login and no session'}"
    if problems:
        worst = next((problem for problem in problems if problem.status == "failed"), problems[0])
        return Finding(worst.status, f"{worst.detail} ({detail})", worst.remedy)
    if not _is_writable(folder):
        return warning(
            f"{shown} cannot be written: logins are not saved, and each process is another anonymous user",
            f"Make it writable (chmod u+rwx {shown}), or set HFCLIENT_HOME to a folder that is.",
        )
    return ok(detail if folder.exists() else f"{shown} does not exist yet; a login or a chat creates it")


def _file_problem(path: Path, key: str) -> Finding | None:
    try:
        mode = path.stat().st_mode
        SecretsFile(path, key, lambda entry: entry["cookies"]).read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except DamagedFile as damage:
        if damage.newer:
            return failed(f"{shown_path(path)} was written by a later release of hfclient", "Update hfclient: pip install --upgrade hfclient")
        again = "log in again: hfclient login" if key == "logins" else "the next chat begins a new session"
        return failed(f"{shown_path(path)} is damaged", f"Delete the file; {again}")
    except OSError as error:
        return failed(f"{shown_path(path)} cannot be read: {error.strerror}", f"Make it readable for this user: chmod 600 {shown_path(path)}")
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        return warning(f"other users of this machine may read {shown_path(path)}", f"Run: chmod 600 {shown_path(path)}")
    return None


def _entries(path: Path, key: str) -> Mapping[str, Mapping[str, object]]:
    try:
        return SecretsFile(path, key, lambda entry: entry["cookies"]).read()
    except (OSError, DamagedFile):
        return {}


def _described(place: str, entry: Mapping[str, object]) -> str:
    saved = entry.get("saved_at")
    if not isinstance(saved, (int, float)) or saved <= 0:
        return place
    days = int((time.time() - saved) // 86400)
    return f"{place} (saved {'today' if days <= 0 else f'{days} days ago'})"


def _is_writable(folder: Path) -> bool:
    """Whether files can be made in *folder*, or the folder itself."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


# Network


def proxies(url: str | None, given: str | None = None) -> Finding:
    """Say which proxy the environment, or the caller, chooses for *url* and for the router.

    Args:
        url: The chat server.
        given: The caller's proxy.
    """
    chosen = []
    for place in dict.fromkeys(filter(None, (url, ROUTER_URL))):
        proxy = proxy_for(place, given)
        if proxy:
            parts = urlsplit(proxy.reveal())  # may have a password
            chosen.append(f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''} for {urlsplit(place).hostname}")
    detail = ", ".join(chosen) or "none for these servers"
    if given is not None:
        return ok(detail)
    both = {name: [os.environ.get(case) for case in (name, name.upper())] for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy")}
    if names := [name.upper() for name, values in both.items() if any(values)]:
        detail += f" ({', '.join(names)})"
    for name, (lower, upper) in both.items():
        if lower and upper and lower != upper:
            return warning(f"{name} and {name.upper()} differ: {detail}", "Set both to the same value, or unset one.")
    return ok(detail)


def certificates() -> Finding:
    """Look at the file of trusted certificates."""
    for name in CERTIFICATES:
        path = os.environ.get(name)
        if not path:
            continue
        shown = shown_path(path)
        remedy = f"Correct {name}, or unset it to trust the usual certificates."
        place = Path(path)
        if not place.exists():
            return failed(f"{name} names {shown}, which does not exist, so that no https server can be verified", remedy)
        try:
            context = ssl.create_default_context(capath=path) if place.is_dir() else ssl.create_default_context(cafile=path)
        except (OSError, ssl.SSLError) as error:
            return failed(f"{name} names {shown}, which cannot be used: {getattr(error, 'reason', None) or error.strerror}", remedy)
        count = len(context.get_ca_certs())
        if not count and not place.is_dir():
            return failed(f"{name} names {shown}, which has no certificate of an authority", remedy)
        return ok(f"{name} names {shown}" + (f", {counted(count, 'certificate')}" if count else ""))
    return ok("the usual ones (certifi)")
