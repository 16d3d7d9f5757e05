"""Checks of the way to a server, below HTTP: its name, its addresses, TLS; and the clock.

The requests of hfclient report each of these as one error. Here each is tried on its own, so that the report can say which one
fails, also if only one of several addresses does.
"""

from __future__ import annotations

import datetime
import email.utils
import errno
import functools
import os
import selectors
import socket
import ssl
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import certifi

from hfclient.credentials import Secret, is_loopback, origin_of
from hfclient.doctor.results import NO_ANSWER, Finding, failed, ok, skipped, warning
from hfclient.transport.ca_bundle import HINT, certificates
from hfclient.transport.proxies import address_for, proxy_for

__all__ = ["Route", "clock"]

_MAX_ADDRESSES = 6
_SOON = 14  # days before the end of a certificate
_MAX_SKEW = 60.0  # seconds
_DEFAULT_PORTS = {"http": 80, "https": 443}
_Address = tuple[int, Any]  # family, and what connect() takes


class Route:
    """The way to one server; each method is a check, in this order.

    Args:
        url: A URL of the server.
        proxy: The caller's proxy; None for the environment's.
        seconds: Time limit of each check.
    """

    def __init__(self, url: str, proxy: str | None, seconds: float) -> None:
        parts = urlsplit(origin_of(url))
        self.scheme, self.host = parts.scheme, parts.hostname or ""
        self.port = parts.port or _DEFAULT_PORTS[parts.scheme]
        self._url, self._given = url, proxy
        self._seconds = seconds * 0.8
        self._addresses: list[_Address] = []
        self._working: _Address | None = None

    def dns(self) -> Finding:
        """Look up the name of the server, or of the proxy, which looks up the server's."""
        host, port = self._target()
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            what = f"the proxy {host}" if self.proxy else host
            reason = (error.strerror if isinstance(error, OSError) else None) or "it is not a valid name"
            return failed(
                f"{what} has no address: {reason}",
                "Check the spelling of the host, and that this machine has DNS (a VPN or a container may lack it); in a network "
                "with a proxy set HTTPS_PROXY.",
                blocks=True,
            )
        self._addresses = list(dict.fromkeys((int(family), address) for family, _, _, _, address in found))[:_MAX_ADDRESSES]
        families = [name for kind, name in ((socket.AF_INET, "IPv4"), (socket.AF_INET6, "IPv6")) if any(f == kind for f, _ in self._addresses)]
        return ok(f"{'the proxy ' if self.proxy else ''}{host} has {len(self._addresses)} address{'es' if len(self._addresses) != 1 else ''} ({', '.join(families)})")

    def connection(self) -> Finding:
        """Connect to every address at once."""
        host, port = self._target()
        if not self._addresses:
            return skipped("the name was not looked up")
        results = _connect(self._addresses, min(5.0, self._seconds))
        place = f"{'the proxy ' if self.proxy else ''}{host}, port {port}"
        working = [address for address, code in results.items() if code == 0]
        silent = [address for address, code in results.items() if code is None]
        if working:
            self._working = working[0]
            if silent:
                kinds = {"IPv6" if family == socket.AF_INET6 else "IPv4" for family, _ in silent}
                return warning(
                    f"{place}: {len(silent)} of {len(results)} addresses do not answer ({', '.join(sorted(kinds))}), so that new "
                    "connections wait",
                    "Repair IPv6 of this machine or its network, or switch it off." if kinds == {"IPv6"} else "Check the firewall, and the DNS entries.",
                )
            return ok(f"{place} accepts connections")
        codes = {code for code in results.values() if code}
        if errno.ECONNREFUSED in codes:
            return failed(f"{place} refuses connections: nothing listens there", self._start_it(), blocks=True)
        if silent:
            return failed(
                f"{place} does not answer: packets are dropped, or the host is down",
                "Check the host and the port, the firewall and the VPN; in a network with a proxy set HTTPS_PROXY.",
                blocks=True,
            )
        reason = os.strerror(min(codes)) if codes else "no address"
        return failed(f"{place} cannot be reached: {reason}", NO_ANSWER, blocks=True)

    def tls(self) -> Finding:
        """Make a TLS connection, and look at the certificate."""
        if self.scheme != "https":
            is_open = not is_loopback(self.host) and not self.host.endswith((".local", ".internal")) and "." in self.host
            return skipped("the URL has http, not https" + (": messages and cookies are not encrypted" if is_open else ""))
        if self.proxy:
            return skipped("through a proxy; the next check shows it")
        if self._working is None:
            return skipped("no connection")
        where = certificates()
        paths: dict[str, Any] = {"capath": where} if where and Path(where).is_dir() else {"cafile": where or certifi.where()}
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, **paths)
        family, address = self._working
        try:
            with socket.socket(family, socket.SOCK_STREAM) as plain:
                plain.settimeout(min(4.0, self._seconds / 2))
                plain.connect(address)
                with context.wrap_socket(plain, server_hostname=self.host) as secure:
                    version, certificate = secure.version(), secure.getpeercert() or {}
        except ssl.SSLCertVerificationError as error:
            return self._untrusted(error)
        except OSError as error:
            if self._speaks_http():
                return failed(f"port {self.port} speaks plain http, not TLS", f"Use {origin_of(self._url).replace('https:', 'http:', 1)}{'' if self.port != 443 else ':443'} as the URL.", blocks=True)
            if isinstance(error, TimeoutError):
                return failed("TLS fails: no answer to the handshake", NO_ANSWER, blocks=True)
            reason = (error.reason if isinstance(error, ssl.SSLError) else error.strerror) or "the connection ends in the handshake"
            return failed(f"TLS fails: {reason}", "Check the TLS settings of the server: hfclient needs TLS 1.2 or later.", blocks=True)
        return _described(version or "TLS", certificate)

    @functools.cached_property
    def proxy(self) -> Secret:
        """The proxy on the way; empty without one."""
        return proxy_for(self._url, self._given)

    def _speaks_http(self) -> bool:
        """Whether the port answers a plain HTTP request."""
        try:
            with socket.create_connection((self.host, self.port), timeout=min(2.0, self._seconds / 3)) as plain:
                plain.sendall(f"HEAD / HTTP/1.1\r\nHost: {self.host}\r\nConnection: close\r\n\r\n".encode("ascii", "replace"))
                answer = plain.recv(64)
        except OSError:
            return False
        # A TLS server may answer such a request in plain text, too: with status 400.
        return answer.startswith(b"HTTP/") and b" 400" not in answer[:16]

    def _target(self) -> tuple[str, int]:
        if not self.proxy:
            return self.host, self.port
        parts = urlsplit(f"//{address_for(self._url, self.proxy).partition(' through the proxy ')[2]}")
        return parts.hostname or "", parts.port or 80

    def _start_it(self) -> str:
        if self.proxy:
            return "Start the proxy, correct HTTPS_PROXY, or unset it."
        if is_loopback(self.host):
            inside = " In a container, localhost is the container itself: use the host's name." if Path("/.dockerenv").exists() else ""
            return f"Start the server, or correct the port of the URL.{inside}"
        return "Check the port of the URL, and that the server runs."

    def _untrusted(self, error: ssl.SSLCertVerificationError) -> Finding:
        code = error.verify_code
        now = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
        if code in (9, 10):
            state = "is not valid yet" if code == 9 else "has expired"
            return failed(f"the certificate of {self.host} {state} (here it is {now})", "Renew it at the server; or set the clock of this machine.", blocks=True)
        if code in (18, 19):
            return failed(f"the certificate of {self.host} is signed by itself, or by an unknown authority", _trust(), blocks=True)
        if code in (62, 64):
            return failed(f"the certificate is for another host than {self.host}", "Use the name that is in the certificate, or correct the server's.", blocks=True)
        return failed(f"the certificate of {self.host} is not trusted: {error.verify_message}", _trust(), blocks=True)


def _trust() -> str:
    return f"I{HINT[1:]}. A proxy that inspects TLS has such a certificate: its operators have the file."


def _described(version: str, certificate: dict[str, Any]) -> Finding:
    ends = certificate.get("notAfter")
    days = int((ssl.cert_time_to_seconds(ends) - time.time()) // 86400) if isinstance(ends, str) else None
    issuer = dict(pair for group in certificate.get("issuer", ()) for pair in group)
    detail = f"{version}, certificate by {issuer.get('organizationName') or issuer.get('commonName') or 'unknown'}"
    if days is not None and days < _SOON:
        return warning(f"{detail}, which ends in {days} days", "Renew the certificate at the server.")
    return ok(f"{detail}, valid for {days} days" if days is not None else detail)


def _connect(addresses: list[_Address], seconds: float) -> dict[_Address, int | None]:
    """Return the error code of a connection to each address: 0 for success, None without an answer."""
    results: dict[_Address, int | None] = dict.fromkeys(addresses)
    opened: list[socket.socket] = []
    try:
        with selectors.DefaultSelector() as waiting:
            for family, address in addresses:
                try:
                    sock = socket.socket(family, socket.SOCK_STREAM)
                except OSError as error:  # the system has no IPv6
                    results[family, address] = error.errno
                    continue
                opened.append(sock)
                sock.setblocking(False)
                code = sock.connect_ex(address)
                if code in (0, errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", 0)):
                    waiting.register(sock, selectors.EVENT_WRITE, (family, address))
                else:
                    results[family, address] = code
            end = time.monotonic() + seconds
            while waiting.get_map() and (left := end - time.monotonic()) > 0:
                for key, _ in waiting.select(left):
                    ready: Any = key.fileobj
                    results[key.data] = ready.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    waiting.unregister(ready)
    finally:
        for sock in opened:
            sock.close()
    return results


def clock(date: str | None, at: float) -> Finding:
    """Compare this machine's clock with the server's.

    Args:
        date: The header Date of an answer.
        at: Time here when the answer came, in seconds since 1970.
    """
    try:
        there = email.utils.parsedate_to_datetime(date or "").timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return skipped("the server sends no usable Date")
    ahead = at - there
    if abs(ahead) <= _MAX_SKEW:
        return ok(f"as the server's, to {max(1, round(abs(ahead)))} s")
    minutes, seconds = divmod(round(abs(ahead)), 60)
    hours, minutes = divmod(minutes, 60)
    amount = f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
    return warning(
        f"this machine's clock is {amount} {'ahead of' if ahead > 0 else 'behind'} the server's",
        "Set the clock (NTP): certificates, logins and tokens depend on it. If it is right, the server's is wrong.",
    )
