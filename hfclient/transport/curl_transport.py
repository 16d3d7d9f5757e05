"""The transport that impersonates a browser: libcurl through curl_cffi, for sites behind a bot check.

`curl_multi.py` drives libcurl. Each multi handle has one owner at a time and holds one connection; when a body has
been read to its end, its multi handle waits here for the next request to the same origin.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from hfclient.credentials import Secret, origin_of
from hfclient.errors import ConnectError, InvalidInputError, MissingDependencyError, Unsupported
from hfclient.process.forks import reset_after_fork
from hfclient.transport.ca_bundle import certificates
from hfclient.transport.content_encoding import decoded
from hfclient.transport.curl_multi import Multi, Transfer, UploadReader, WriteBuffer
from hfclient.transport.curl_selftest import incompatibility
from hfclient.transport.deadline import Deadline
from hfclient.transport.proxies import address_for, as_url, proxy_for
from hfclient.transport.request import Request, check_headers, safe_url
from hfclient.transport.response import Response, add_address

__all__ = ["ImpersonateTransport"]

_IDLE_HANDLES = 64  # connections kept, as many as the default transport keeps
# Seconds that a connection must have been idle after its first response before a request that cannot be repeated uses it.
_SILENCE = 0.005
_NO_CONNECT_LIMIT_MS = 2_000_000_000  # more than libcurl's default of 300 s; `Timeouts.connect` applies
_BUFFER = 64 * 1024
_ENCODINGS = "gzip, deflate, br, zstd"
_URL_SAFE = "!#$%&'()*+,/:;=?@[]~"  # as in requests: quoted characters stay as they are


def _load() -> Any:
    """Return the package curl_cffi if it is installed and does what `curl_multi.py` needs."""
    try:
        import curl_cffi
    except ImportError as exc:
        raise MissingDependencyError(
            'impersonate= needs the package curl_cffi: pip install "hfclient[impersonate]"'
        ) from exc
    package: Any = curl_cffi  # its private parts have no types
    if trouble := incompatibility(package):
        raise MissingDependencyError(
            f"curl_cffi {package.__version__} does not do what hfclient needs: {trouble}; versions 0.15 to 0.17 are known to "
            'work: pip install "hfclient[impersonate]"'
        )
    return package


class ImpersonateTransport:
    """Sends requests with libcurl, as a browser would: TLS handshake, HTTP/2, order of headers.

    Any number of threads may use one. Nothing is opened before the first request, and after a fork the child starts
    with connections of its own. Headers of a request win over those of the browser.

    Args:
        impersonate: The browser: a family such as ``"chrome"``, ``"firefox"``, ``"safari"`` (its newest release that
            the installed curl_cffi knows), or one release such as ``"chrome131"``.
        proxy: URL of a proxy for all requests; ``""`` uses none, None follows the environment (`proxies.py`).

    Raises:
        MissingDependencyError: curl_cffi is not installed, or is a version without the functions that are needed.
        InvalidInputError: The installed curl_cffi knows no such browser; the message lists those it knows.
    """

    has_browser_headers = True
    """The session sends no User-Agent of its own: it would not fit the handshake."""

    def __init__(self, impersonate: str = "chrome", *, proxy: str | None = None) -> None:
        self._curl_cffi = _load()
        self._impersonate = impersonate
        self._target = _browser(self._curl_cffi, impersonate)
        self._proxy = None if proxy is None else as_url(proxy)
        self._idle: list[Multi] = []
        self._era = 0  # counts calls of close(): connections from before it are not kept
        reset_after_fork(self._reset_after_fork)

    def __repr__(self) -> str:
        return f"ImpersonateTransport({self._impersonate!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {"impersonate": self._impersonate, "proxy": self._proxy}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def open(self, request: Request, headers: Mapping[str, str], deadline: Deadline) -> Response:
        """Send *request*; see `Transport.open`."""
        _refuse_green_threads()
        url = _full_url(request)
        check_headers(headers)
        proxy = proxy_for(url, self._proxy)
        deadline.address = address_for(request.url, proxy)
        transfer = Transfer(
            self._curl_cffi,
            self._take(origin_of(url), 0.0 if request.retryable or request.body is None else _SILENCE),
            deadline,
            return_multi=self._return_multi,
            via_proxy=bool(proxy),
        )
        try:
            with deadline.clock.cancellation.waking(transfer.abort):
                status, fields = transfer.send(lambda *sinks: self._prepare(request, url, proxy, headers, *sinks))
        except BaseException as error:
            transfer.close()
            if isinstance(error, ConnectError):
                add_address(error, deadline.address)
            raise
        body = decoded(transfer, fields) if _wants_it_plain(headers) else transfer
        return Response(status, fields, body, method=request.method, url=safe_url(request.url), deadline=deadline)

    def close(self) -> None:
        """Close idle connections; the next request opens new ones."""
        self._era += 1
        self._idle = []  # dropping the last reference closes a connection

    def _prepare(
        self, request: Request, url: str, proxy: Secret, headers: Mapping[str, str], curl: Any, head: WriteBuffer, body: WriteBuffer
    ) -> UploadReader | None:
        """Set up the easy handle for *request*."""
        opt, setopt = self._curl_cffi.CurlOpt, curl.setopt
        curl.impersonate(self._target, default_headers=True)
        setopt(opt.URL, url)
        # On plain http the browser profile's "HTTP/2" would request an upgrade.
        setopt(opt.HTTP_VERSION, self._curl_cffi.CurlHttpVersion.V2TLS)
        setopt(opt.NOSIGNAL, 1)
        setopt(opt.QUICK_EXIT, 1)  # closing does not wait for a slow resolver
        setopt(opt.BUFFERSIZE, _BUFFER)
        setopt(opt.CONNECTTIMEOUT_MS, _NO_CONNECT_LIMIT_MS)  # `Deadline` is used instead
        setopt(opt.SUPPRESS_CONNECT_HEADERS, 1)
        setopt(opt.PROXY, proxy.reveal())
        setopt(opt.NOPROXY, "")  # has been checked already
        if url.startswith("https:"):
            bundle = _certificates()
            folder = Path(bundle).is_dir()
            setopt(opt.CAPATH if folder else opt.CAINFO, bundle)
            setopt(opt.PROXY_CAPATH if folder else opt.PROXY_CAINFO, bundle)
        setopt(opt.HEADERDATA, head)
        setopt(opt.WRITEDATA, body)
        upload = None
        lines = [b"Expect:"]
        if request.body is not None or request.method in ("POST", "PUT", "PATCH"):
            upload = UploadReader(request.body or b"")
            setopt(opt.POST, 1)
            setopt(opt.READDATA, upload)
            setopt(opt.POSTFIELDSIZE_LARGE, upload.size)
            if not upload.size:
                setopt(opt.FRESH_CONNECT, 1)  # without a body libcurl would send it twice
            if not any(name.lower() == "content-type" for name in headers):
                lines.append(b"Content-Type:")
        if request.method == "HEAD":
            setopt(opt.NOBODY, 1)
        elif request.method != ("GET" if upload is None else "POST"):
            setopt(opt.CUSTOMREQUEST, request.method)
        # libcurl decodes the encodings that the headers of the profile or of the caller accept. If a body is compressed
        # unasked, libcurl could not detect that its end is missing.
        if not _wants_it_plain(headers):
            setopt(opt.ACCEPT_ENCODING, _ENCODINGS)
        setopt(opt.HTTPHEADER, lines + [_header_line(name, value) for name, value in headers.items()])
        return upload

    # Both are atomic steps without a lock: a signal handler may close a stream
    # in the middle of either.

    def _take(self, origin: str, silence: float) -> Multi:
        """Return a kept connection to *origin*, or a new one if none is usable.

        Args:
            origin: The origin of the request.
            silence: Minimum seconds since its first response.
        """
        for multi in reversed(self._idle.copy()):  # the last one used is most likely still open
            if multi.origin == origin:
                try:
                    self._idle.remove(multi)
                except ValueError:  # another thread took it
                    continue
                if multi.era == self._era and multi.is_quiet(silence):
                    return multi
        return Multi(self._curl_cffi, origin, self._era)

    def _return_multi(self, multi: Multi) -> None:
        if multi.era == self._era:
            idle = self._idle
            idle.append(multi)
            if len(idle) > _IDLE_HANDLES:
                with contextlib.suppress(IndexError):  # other threads took them
                    idle.pop(0)

    def _reset_after_fork(self) -> None:
        """Forget the parent's connections without closing them."""
        self._idle = []


def _browser(curl_cffi: Any, name: str) -> str:
    """Return libcurl's name for *name*: the newest release of a family, or the name itself."""
    known = [str(browser.value) for browser in curl_cffi.BrowserType]
    target = name
    if family := re.fullmatch(r"([a-z]+)(_[a-z]+)?", name):
        release = re.compile(rf"{family[1]}(\d+){family[2] or ''}")
        releases = [(int(found[1]), browser) for browser in known if (found := release.fullmatch(browser))]
        target = max(releases)[1] if releases else name
    curl = curl_cffi.Curl()
    try:
        if not name.isascii() or curl.impersonate(target):
            families = sorted({re.sub(r"\d+[a-z]?(_\d+)?", "", browser) for browser in known})
            raise InvalidInputError(
                f"curl_cffi {curl_cffi.__version__} cannot impersonate {name!r}; it knows {', '.join(families)} (the "
                f"newest of each) and {', '.join(known)}"
            )
    finally:
        curl.close()
    return target


def _full_url(request: Request) -> str:
    """Return the URL with its query, encoded as requests encodes it."""
    query = urlencode({key: str(value) for key, value in request.params.items() if value is not None})
    try:
        parts = urlsplit(request.url)
        netloc = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode()
    except ValueError as exc:
        raise InvalidInputError(f"the request cannot be sent: {type(exc).__name__}") from exc
    path, own = quote(parts.path or "/", safe=_URL_SAFE), quote(parts.query, safe=_URL_SAFE)
    return urlunsplit((parts.scheme, netloc, path, "&".join(filter(None, (own, query))), ""))


def _wants_it_plain(headers: Mapping[str, str]) -> bool:
    return any(name.lower() == "accept-encoding" and value == "identity" for name, value in headers.items())


def _header_line(name: str, value: str) -> bytes:
    # libcurl sends an empty value for a name with a semicolon; with a colon it would omit the header.
    return "".join((name, ": ", value) if value.strip() else (name, ";")).encode("latin-1")


def _certificates() -> str:
    """Return the path of the trusted certificates, the same as in requests."""
    import certifi

    return certificates() or certifi.where()


def _refuse_green_threads() -> None:
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("socket"):
        raise Unsupported(
            "impersonate= would freeze every greenlet while it waits, because gevent cannot see into libcurl; "
            "use the default transport (leave impersonate= out)"
        )
