"""Checks of a chat server: whether it is one, its version, the login, and each answer that can be read."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from attrs import evolve

from hfclient import Client, errors, events
from hfclient.chat.servers.form_origin import public_origin
from hfclient.chat.wire.server_errors import not_a_chat_server
from hfclient.credentials import SESSION_COOKIE, LoginStore, is_hugging_face
from hfclient.credentials.cookies import find_cookies_with_paths
from hfclient.decoding.json_values import list_or_empty
from hfclient.doctor import answer_fields as known
from hfclient.doctor.answer_fields import compared
from hfclient.doctor.network import clock
from hfclient.doctor.other_servers import LOG_IN_THERE, identified
from hfclient.doctor.results import UPDATE, Finding, counted, failed, finding_for, ok, skipped, warning
from hfclient.transport import Request, Retry

__all__ = ["ChatChecks"]

_START = 64 * 1024  # bytes of an answer that are read to find out what it is
_SOON = 3 * 86400  # seconds before the end of a cookie
_TODAY = "0.20"
_PROMPT = "Reply with the one word: OK"


class ChatChecks:
    """The checks of one client's chat server; each method is one, and those before it have been made.

    Args:
        client: The client.
        seconds: Time limit of each check, for messages.
    """

    def __init__(self, client: Client, seconds: float) -> None:
        self._client = client
        self._seconds = seconds
        self._service = client._chat
        self._session = copy.copy(client._session)  # without the authentication of chat, and without retries
        self._session.auth, self._session.retry = None, Retry(attempts=1)
        self._base = self._service.endpoints.base
        self._release: str | None = None
        self._date: str | None = None
        self._answered_at = 0.0
        self._conversation: str | None = None

    @property
    def _is_today(self) -> bool:
        return self._release == _TODAY

    # The server

    def server(self) -> Finding:
        """Ask for the health check, and find out what the server is if the answer is not a chat-ui's.

        Reference: GET {base}/healthcheck
        """
        request = evolve(self._service.endpoints.health(), whole=None, retryable=False)
        started = time.monotonic()
        try:
            response = self._session.send(request)
            taken = time.monotonic() - started
            self._date, self._answered_at = response.headers.get("date"), time.time()
            body = response.read_start(_START)
            if body.lstrip()[:1] in (b"<", b"{"):
                raise not_a_chat_server(response.url, body.decode("utf-8", "replace"))
        except (errors.CloudflareChallenge, errors.AuthenticationError, errors.RateLimitError) as error:
            return self._refused(error)
        except errors.TransportTimeout:
            return failed(
                f"no answer within {self._seconds:g} s",
                "Look into the log of the server: it hangs, or the port belongs to another protocol than HTTP. A larger time limit tells a slow one.",
                blocks=True,
            )
        except errors.TransportError:
            raise
        except errors.HFClientError as error:
            return self._not_healthy(error)
        return ok(f"{self._base} answers in {taken * 1000:.0f} ms")

    def _refused(self, error: errors.APIStatusError) -> Finding:
        if isinstance(error, errors.CloudflareChallenge):
            if getattr(self._session.transport, "has_browser_headers", False):
                return failed(
                    "a bot check answers instead of the server, also to an impersonated browser",
                    "Pass the check in a browser on this machine and pass its cookies (cookies= or HFCLIENT_COOKIE), or impersonate another browser.",
                    blocks=True,
                )
            return evolve(finding_for(error, self._seconds), blocks=True, detail="a bot check answers instead of the server")
        if isinstance(error, errors.PasswordRequired):
            return evolve(finding_for(error, self._seconds), blocks=True)
        if isinstance(error, errors.AuthenticationError):
            # A chat-ui answers its health check without a login: this comes from what stands before it.
            where = f": it redirects to {error.location}" if error.location else f" (status {error.status_code})"
            return failed(
                f"a gateway in front of the server wants its own login{where}",
                LOG_IN_THERE,
                blocks=True,
            )
        return evolve(finding_for(error, self._seconds), blocks=True)

    def _not_healthy(self, error: errors.HFClientError) -> Finding:
        """Return the finding for a server without a health check."""
        status = getattr(error, "status_code", 0)
        if status == 407:
            return failed(error.message, 'Put them into the URL of the proxy: http://user:password@host:port in HTTPS_PROXY, or proxy="..."', blocks=True)
        if status in (502, 503, 504):
            return failed(
                f"a gateway answers with {status}: it does not reach the server behind it",
                "Start the server behind the gateway, or wait until it has started; look into the gateway's log.",
                blocks=True,
            )
        if status in (403, 404) and (hint := self._session.credentials.missing_token_hint(self._base)):
            return failed(f"the server answers with status {status}; {hint}", "Pass the token: Client(url, token=...).", blocks=True)
        if status == 403:
            return failed(
                f"the server refuses the request: {error.message} (status 403)",
                'It may accept requests of its own network only (a VPN), or of browsers: try impersonate="chrome" (--impersonate chrome).',
                blocks=True,
            )
        if getattr(error, "location", None) and "; use " in error.message:  # the server has moved
            return evolve(finding_for(error, self._seconds), blocks=True)
        try:
            self._release = self._service.version().release
        except (errors.TransportError, errors.CloudflareChallenge, errors.AuthenticationError) as reason:
            return evolve(finding_for(reason, self._seconds), blocks=True)
        except errors.HFClientError:
            what, remedy = identified(self._base, self._session, error)
            return failed(what, remedy, blocks=True)
        return ok(f"{self._base} is a chat-ui without a health check")

    def clock(self) -> Finding:
        return clock(self._date, self._answered_at)

    def version(self) -> Finding:
        """Detect the version.

        Reference: hfclient/chat/legacy/versions.py
        """
        try:
            version = self._service.version()
        except errors.NotAChatServer as error:
            what, remedy = identified(self._base, self._session, error)
            return failed(what, remedy, blocks=True)
        except errors.SessionExpired:
            raise
        except errors.AuthenticationError:
            return failed(
                "the server shows nothing without a login",
                f"Log in at {self._client.login.page} and pass its cookies, or run: {self._service.auth.login_command}",
                blocks=True,
            )
        except errors.ServerError as error:
            return failed(f"the server fails at every request: {error.message} (status {error.status_code})", "Look into the log of the server.", blocks=True)
        self._release = version.release
        lacks = [
            text
            for text, is_there in (
                ("MCP servers", version.has_mcp),
                ("answers that continue without their reader", version.outlives_connection),
            )
            if not is_there
        ]
        return ok(f"{version}" + (f", without {' and '.join(lacks)}" if lacks else ""))

    # The login

    def login(self) -> Finding:
        """Ask the server for the user.

        Reference: GET {base}/api/v2/user
        """
        client, credentials = self._client, self._service.session.credentials
        kind, ends = self._kind_of_login()
        if client.login.missing:
            have = "there is a token, and no cookie" if credentials.token else "there is no cookie for this server"
            raise errors.CredentialsError(f"{have}: to chat, this server requires a login")
        user = client.whoami()
        if user is not None:
            data = self._service.read(self._service.endpoints.user())
            finding = compared(f"logged in as {user.username or user.id}, by {kind}", (known.USER, [data]), is_today=self._is_today)
            if finding.status == "ok" and ends is not None and ends - time.time() < _SOON:
                hours = max(0, int((ends - time.time()) // 3600))
                return warning(f"{finding.detail}, which end in {hours} h", f"Log in again: {self._service.auth.login_command}")
            return finding
        enabled = client.login.enabled
        if enabled and credentials.has_login_cookies:
            again = self._service.auth.login_command
            lacks = [name for name in (SESSION_COOKIE, "token") if name not in credentials.cookies()] if is_hugging_face(self._base) else []
            if lacks:
                return failed(f"{kind} are not a login: HuggingChat needs the cookies hf-chat and token", f"Copy both from the browser, or run: {again}")
            return failed(f"to the server, {kind} are an anonymous user's: the login has expired, or was ended", f"Log in again: {again}")
        if enabled:
            return failed(
                f"not logged in ({kind}), and the server has a login: chats may be refused, or limited",
                f"Log in at {client.login.page} and pass its cookies, or run: {self._service.auth.login_command}",
            )
        if credentials.has_login_cookies:
            return warning(f"the server has no login, and {kind} are used as an anonymous session", 'Pass cookies="" or unset HFCLIENT_COOKIE.')
        return ok("the server has no login: an anonymous session")

    def _kind_of_login(self) -> tuple[str, float | None]:
        """Return where the cookies come from, and when they end, if that is known."""
        credentials = self._service.session.credentials
        if not credentials.has_login_cookies:
            return ("a token" if credentials.token_reaches_chat else "an anonymous session"), None
        names = sorted(name for name in credentials.cookies() if name in (SESSION_COOKIE, "token"))
        which = f"cookies ({', '.join(names) or 'of other names'}"
        if credentials.is_saved:
            store = LoginStore.find()
            saved = store.get(self._base) if store is not None else None
            day = time.strftime("%Y-%m-%d", time.gmtime(saved.saved_at)) if saved is not None and saved.saved_at else "before"
            return f"{which}, saved {day})", None
        if os.environ.get("HFCLIENT_COOKIE"):
            found = find_cookies_with_paths(None, None, self._base)
            if {cookie.value for cookie in found} & set(credentials.cookies().values()):
                ends = min((cookie.expires for cookie in found if cookie.expires), default=None)
                return f"{which}, of HFCLIENT_COOKIE)", ends
        return f"{which}, as passed)", None

    def origin(self) -> Finding:
        """Compare the origin that the server accepts messages from with the one that is sent.

        Reference: hfclient/chat/servers/form_origin.py
        """
        endpoints = self._service.endpoints
        own, ours = public_origin(self._session, endpoints, self._service.api), endpoints.form_origin
        if own is None:
            return skipped("the server does not name its origin")
        if own == ours:
            return ok(f"{ours} is the server's own")
        return ok(f"the server calls itself {own}, reached as {ours}: messages that it refuses for that are sent again with its own name")

    # What can be read

    def _read(self, request: Request) -> Any:
        """Return the decoded answer of an endpoint; a missing endpoint of a server that is a chat-ui is a change of its API.

        Raises:
            ProtocolError: Today's version has this endpoint, and this server does not.
        """
        try:
            return self._service.read(request)
        except (errors.NotFoundError, errors.NotAChatServer) as error:
            if isinstance(error, errors.NotFoundError) and not self._is_today:
                raise
            path = urlsplit(request.url).path
            raise errors.ProtocolError(f"GET {path} does not answer as in the versions that this release knows") from None

    def features(self) -> Finding:
        """Reference: GET {base}/api/v2/feature-flags."""
        flags = self._read(self._service.endpoints.features())
        on = sorted(name for name, value in flags.items() if value is True) if isinstance(flags, Mapping) else []
        return compared(", ".join(on) or "none is on", (known.FLAGS, [flags]), is_today=self._is_today)

    def configuration(self) -> Finding:
        """Reference: GET {base}/api/v2/public-config."""
        try:
            config = self._read(self._service.endpoints.public_config())
        except errors.NotFoundError:
            return skipped("this version has no public configuration")
        if not isinstance(config, Mapping):
            return failed("the public configuration is not an object", UPDATE)
        named = {key.removeprefix("PUBLIC_").lower().replace("_", " "): str(config.get(key) or "")[:60]
                 for key in ("PUBLIC_APP_NAME", "PUBLIC_VERSION", "PUBLIC_COMMIT_SHA")}  # fmt: skip
        detail = ", ".join(f"{name} {value}" for name, value in named.items() if value)
        return ok(detail or f"{len(config)} values")

    def models(self) -> Finding:
        """Reference: GET {base}/api/v2/models."""
        data = self._read(self._service.endpoints.models())
        if not isinstance(data, list):
            return failed("the list of models is not a list", UPDATE)
        if not data:
            return failed("the chat server has no models", "Configure a model at the chat server, and look into its log.")
        first = data[0].get("id") if isinstance(data[0], Mapping) else None
        return compared(f"{len(data)}, the first is {first}", (known.MODEL, data), is_today=self._is_today)

    def settings(self) -> Finding:
        """Reference: GET {base}/api/v2/user/settings."""
        try:
            data = self._read(self._service.endpoints.settings())
        except errors.NotFoundError:
            return skipped("this version has no settings that can be read")
        model = data.get("activeModel") if isinstance(data, Mapping) else None
        return compared(f"the model of new conversations is {model}" if model else "they can be read", (known.SETTINGS, [data]), is_today=self._is_today)

    def conversations(self) -> Finding:
        """Reference: GET {base}/api/v2/conversations?p=0."""
        data = self._read(self._service.endpoints.conversations(0))
        entries = list_or_empty(data.get("conversations") if isinstance(data, Mapping) else None)
        first = entries[0] if entries and isinstance(entries[0], Mapping) else {}
        self._conversation = str(first.get("id") or first.get("_id") or "") or None
        more = isinstance(data, Mapping) and bool(data.get("hasMore"))
        return compared(
            f"{len(entries)}{' and more' if more else ''} on the server", (known.PAGE, [data]), (known.LIST_ENTRY, entries), is_today=self._is_today
        )

    def messages(self) -> Finding:
        """Read the newest conversation; nothing of its content gets into the report.

        Reference: GET {base}/api/v2/conversations/{id}
        """
        if self._conversation is None:
            return skipped("there is no conversation to read")
        try:
            data = self._service.read(self._service.endpoints.conversation(self._conversation))
        except errors.NotFoundError as error:
            if "not found" not in error.message.lower():
                raise
            return skipped("the newest conversation was deleted meanwhile")
        messages = list_or_empty(data.get("messages") if isinstance(data, Mapping) else None)
        return compared(
            f"{len(messages)} in the newest conversation", (known.CONVERSATION, [data]), (known.MESSAGE, messages), is_today=self._is_today
        )

    def mcp_servers(self) -> Finding:
        """Reference: GET {base}/api/mcp/servers."""
        try:
            servers = self._client.server.mcp_servers()
        except errors.NotFoundError:
            if self._is_today:
                return failed("GET /api/mcp/servers does not answer as in the versions that this release knows", UPDATE)
            return skipped("this version has no MCP servers")
        names = ", ".join(str(server.get("name")) for server in servers[:10])
        return compared(names or "none is configured", (known.MCP_SERVER, servers), is_today=self._is_today)

    # A message

    def message(self) -> Finding:
        """Send a message of a few words in a new conversation, which is deleted again."""
        started = time.monotonic()
        first: float | None = None
        unknown: dict[str, None] = {}
        with self._client.chat(_PROMPT, temporary=True) as stream:
            for event in stream:
                if first is None and isinstance(event, (events.Token, events.Reasoning)):
                    first = time.monotonic() - started
                if isinstance(event, events.Unknown):
                    unknown[event.type] = None
                unknown.update((f"{type(event).__name__}.{name}", None) for name in event.extra or ())
            text = stream.partial.text
        if not text.strip():
            return failed("the answer is empty", "Try another model; look into the server's log.")
        detail = f"{counted(len(text), 'character')}, the first after {first or 0:.1f} s"
        if unknown:
            return ok(f"{detail}; events and fields that this release does not know (harmless): {', '.join(list(unknown)[:10])}")
        return ok(detail)

