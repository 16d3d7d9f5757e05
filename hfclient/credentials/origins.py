"""Origins, hosts and paths, which decide to which URLs a secret is sent."""

from __future__ import annotations

import base64
import contextlib
import functools
import re
from urllib.parse import unquote, urlsplit, urlunsplit

from hfclient.credentials.secret import Secret
from hfclient.errors import InvalidInputError

__all__ = [
    "HUB_URL",
    "HUGGING_CHAT",
    "ROUTER_URL",
    "base_path",
    "cookie_host",
    "domain_matches",
    "host_origin",
    "is_deployment",
    "is_hugging_face",
    "is_loopback",
    "is_space",
    "normalize_url",
    "origin_of",
    "path_matches",
    "server_key",
    "without_user_info",
]

HUGGING_CHAT = "https://huggingface.co/chat"
HUB_URL = "https://huggingface.co"
"""The Hub, which lists the models and their providers."""
ROUTER_URL = "https://router.huggingface.co/v1"
"""Hugging Face's router, which picks the provider."""

_HUGGING_FACE = ("huggingface.co", "hf.co")
# Any user can deploy a container here: a token is sent to those that the caller named, not to those that a link names.
_DEPLOYMENTS = ("huggingface.cloud",)
_SPACES = ("hf.space",)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_ASCII_NAME = re.compile(r"[a-z0-9._-]+")
_NUMERIC = re.compile(r"(?:(?:0x)?[0-9a-f]*\.){0,3}(?:0x[0-9a-f]*|[0-9]+)")
_NOT_IN_URLS = re.compile(r"[\\\x00-\x20\x7f]")
# Without user name, query and fragment, which may hold a secret; the path has nothing that could change the host.
_SIMPLE_URL = re.compile(r"(https?://[A-Za-z0-9.:\[\]-]+)(?:/[A-Za-z0-9._~/:%=,+-]*)?")
_NOT_IN_HOSTS = re.compile(r"[%^`{|}<>\"']")  # HTTP libraries treat these differently


def origin_of(url: str) -> str:
    """Return scheme, host and port of *url*, in lower case, without a default port: cookies and tokens are bound to it.

        >>> origin_of("HTTPS://user:pw@HuggingFace.co:443/chat")
        'https://huggingface.co'
        >>> origin_of("https://b\u00fccher.example")
        'https://xn--bcher-kva.example'

    Raises:
        InvalidInputError: *url* is not an absolute http(s) URL.
    """
    # Each request calls this for few hosts, so the result is cached; not for URLs that may hold a secret.
    simple = _SIMPLE_URL.fullmatch(url)
    return _read_origin(url) if simple is None else _known_origin(simple[1])


def _read_origin(url: str) -> str:
    parts = port = None
    with contextlib.suppress(ValueError):  # not chained: its text has a part of the URL, which may be a password
        parts = urlsplit(url)
        port = parts.port or 0
    if parts is None or port is None:
        raise InvalidInputError("not a usable URL: its host or its port cannot be read")
    if _NOT_IN_URLS.search(parts.netloc) or _NOT_IN_URLS.search(url.strip(" ").partition("?")[0].replace(" ", "")):
        # HTTP libraries disagree about the end of the host here, and a secret could reach another host.
        raise InvalidInputError("not a usable URL: it has a backslash or an invisible character")
    if ":" not in (parts.hostname or "") and _NOT_IN_HOSTS.search(parts.hostname or ""):  # IPv6 has zones behind a %
        raise InvalidInputError("not a usable URL: its host has characters that a host cannot have")
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise InvalidInputError("a URL must begin with http:// or https:// and name a host")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else _ascii_host(parts.hostname)
    return f"{parts.scheme}://{host}" + (f":{port}" if port and port != _DEFAULT_PORTS[parts.scheme] else "")


_known_origin = functools.lru_cache(maxsize=64)(_read_origin)


def _ascii_host(host: str) -> str:
    """Return *host* in lower case, as in a Host header: an internationalized name in its ASCII form (UTS 46).

    Raises:
        InvalidInputError: It is not a valid host name.
    """
    found = host if host.isascii() else _idna(host)
    if _NUMERIC.fullmatch(found):
        import socket  # most hosts are names

        with contextlib.suppress(OSError):
            return socket.inet_ntoa(socket.inet_aton(found))  # 127.1, as libcurl and browsers read it
    return found


def _idna(host: str) -> str:
    found = ""
    try:
        import idna

        found = idna.encode(host, uts46=True).decode()
    except (ImportError, UnicodeError):
        # IDNA 2003 allows symbols, as browsers do; IDNA 2008 does not.
        with contextlib.suppress(UnicodeError):
            found = host.encode("idna").decode().lower()
    if not _ASCII_NAME.fullmatch(found):
        raise InvalidInputError("not a usable URL: its host is not a valid internationalized name")
    return found


def normalize_url(url: str) -> str:
    """Return *url* with scheme, host and port as `origin_of` writes them, so that all HTTP libraries read the same host.

    >>> normalize_url("HTTP://B\u00fccher.example:80/A")
    'http://xn--bcher-kva.example/A'
    """
    origin = origin_of(url)
    if url.startswith(origin) and url[len(origin) : len(origin) + 1] in ("", "/", "?", "#"):
        return url
    return origin + re.sub(r"^[^/]*//[^/?#]*", "", url.strip(" "))


def host_origin(url: str) -> str:
    """Return the origin of *url* for the Origin header, with the host of the Host header.

    HTTP libraries omit the final dot of an absolute DNS name in Host, and a server compares the two headers.

    >>> host_origin("http://chat.example.:3000/chat")
    'http://chat.example:3000'

    Reference: RFC 6454, section 6.2
    """
    scheme, _, rest = origin_of(url).partition("://")
    host, colon, port = rest.rpartition(":") if re.search(r":\d+$", rest) else (rest, "", "")
    return f"{scheme}://{host.rstrip('.')}{colon}{port}"


def cookie_host(url: str) -> str:
    """Return the host of *url* for cookies: lower case, ASCII, without port, brackets and final dot."""
    return (urlsplit(origin_of(url)).hostname or "").rstrip(".")


def without_user_info(url: str) -> tuple[str, Secret | None]:
    """Return *url* without user name and password, and the value of the Authorization header for those.

    >>> without_user_info("https://us%40er:pw@host/chat")
    ('https://host/chat', Secret('***'))
    >>> without_user_info("https://host/chat?a=b@c")
    ('https://host/chat?a=b@c', None)
    """
    if "@" not in url:
        return url, None
    parts = None
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
    if parts is None:
        raise InvalidInputError("not a usable URL")
    user_info, found, host = parts.netloc.rpartition("@")
    if not found:
        return url, None
    user, _, password = user_info.partition(":")
    basic = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode("utf-8", "replace")).decode()
    return urlunsplit(parts._replace(netloc=host)), Secret(f"Basic {basic}")


def base_path(chat_url: str) -> str:
    """Return the start of all paths of the chat server.

    >>> base_path("https://huggingface.co/chat")
    '/chat/'
    """
    return urlsplit(chat_url).path.rstrip("/") + "/"


def server_key(chat_url: str) -> str:
    """Return the normalized base URL of a chat server: the key of its saved login.

    >>> server_key("HTTPS://HuggingFace.co:443/chat/")
    'https://huggingface.co/chat'
    """
    return origin_of(chat_url) + urlsplit(chat_url).path.rstrip("/")


def is_hugging_face(url: str) -> bool:
    """Whether *url* belongs to one of Hugging Face's own sites, over TLS."""
    return _is_below(url, _HUGGING_FACE)


def is_deployment(url: str) -> bool:
    """Whether *url* belongs to a deployment of a user on Hugging Face's machines, over TLS."""
    return _is_below(url, _DEPLOYMENTS)


def is_space(url: str) -> bool:
    """Whether *url* belongs to a Space: a user's app, for which Hugging Face requires a token if it is private."""
    return _is_below(url, _SPACES)


def _is_below(url: str, sites: tuple[str, ...]) -> bool:
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts.scheme == "https" and any(host == site or host.endswith("." + site) for site in sites)


@functools.lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether *host* is a name or an address of the loopback interface (127.0.0.0/8, ``::1``) in any notation."""
    host = host.lower().rstrip(".").strip("[]")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    import ipaddress  # requests to Hugging Face do not need it

    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _is_short_loopback(host)
    mapped = getattr(address, "ipv4_mapped", None)  # ::ffff:127.0.0.1
    return address.is_loopback or (mapped is not None and mapped.is_loopback)


def _is_short_loopback(host: str) -> bool:
    """Whether *host* is a loopback address in the notations of ``inet_aton``: ``127.1``, ``0x7f000001``."""
    if not host[:1].isdigit():
        return False
    import socket

    try:
        return socket.inet_aton(host)[0] == 127
    except (OSError, ValueError):
        return False


def domain_matches(domain: str, host: str, *, host_only: bool = False) -> bool:
    """Whether a cookie of *domain* is sent to *host*.

    Args:
        domain: As in a cookie file: ``"huggingface.co"``, ``".huggingface.co"``; empty matches any host.
        host: As `cookie_host` returns it.
        host_only: The cookie does not extend to subdomains.

    Reference: RFC 6265, section 5.1.3
    """
    domain = domain.lower().lstrip(".")
    if not domain.isascii():
        with contextlib.suppress(InvalidInputError):
            domain = _ascii_host(domain)
    if not domain or domain == host or (domain == "localhost.local" and host == "localhost"):
        return True  # the standard library's cookie jars append .local to names without a dot
    if host_only or "." not in domain or not host.endswith("." + domain):
        return False
    return not _is_address(host)


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdecimal()


def path_matches(cookie_path: str, path: str) -> bool:
    """Whether a cookie of *cookie_path* is sent to *path*.

    Reference: RFC 6265, section 5.1.4
    """
    if not cookie_path.startswith("/"):
        return True
    return path == cookie_path or path.startswith(cookie_path.rstrip("/") + "/")
