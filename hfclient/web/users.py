"""`Clients`: a client for each user of an application, over one pool of connections.

One account for all users needs nothing of this: a `hfclient.Client` that is a global of the module.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any

from hfclient import Client, ClientOptions
from hfclient.errors import InvalidInputError
from hfclient.transport import Transport, transport_for
from hfclient.web.forks import reset_after_fork

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

__all__ = ["Clients"]

_OF_A_USER = ("token", "cookies", "session")
_OF_THE_POOL = ("transport", "impersonate", "proxy")


class Clients:
    """A client for each user, with the user's own cookies or token, over one pool of connections.

        clients = Clients(lambda user_id: {"cookies": {"hf-chat": Login.objects.get(user=user_id).cookie}})

        def view(request):
            stream = clients.get(request.user.id).chat(request.POST["prompt"])

    Nothing of one user reaches another one. A user's client has the credentials that *login* returns and no others: it looks for
    none in the environment or in saved logins, and an anonymous session is private. Cookies that the server sets stay with the user
    that they were sent to.

    The connections are shared: credentials are headers of each request, and HTTP keeps no state between the requests of a
    connection. A proxy that authenticates connections instead of requests (NTLM, Negotiate) breaks this rule; then pass
    ``share_connections=False``.

    Threads may share it, and a forked worker has connections of its own. A client that is dropped works on as long as something
    refers to it: a stream that is being read, a conversation.

    Args:
        login: Called with a user's id when a client is made for it. Returns options of `Client`, usually ``cookies`` or ``token``;
            an empty mapping is an anonymous session that ends with the client. Cookies are a mapping of names to values, because a
            string may be the path of a file. It may read a database; other users' clients do not wait for it.
        base_url: The chat server, as for `Client`.
        size: Number of clients that are kept; the one that was used longest ago is dropped first.
        share_connections: False gives each client connections of its own.
        options: Further options of `Client`, for all users: not token, cookies and session.

    Raises:
        InvalidInputError: An option is not for all users, or *size* is not positive.

    .. versionadded:: 0.1.0
    """

    def __init__(
        self,
        login: Callable[[Any], Mapping[str, Any]],
        base_url: str | None = None,
        *,
        size: int = 1000,
        share_connections: bool = True,
        **options: Unpack[ClientOptions],
    ) -> None:
        if not callable(login):
            raise InvalidInputError(f"login is a function that takes a user's id and returns options of Client, not {login!r}")
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise InvalidInputError(f"size is a positive number of clients, not {size!r}")
        if own := sorted(set(options) & set(_OF_A_USER)):
            raise InvalidInputError(
                f"{own[0]}= would be the same for all users: return it from the login function, or use one Client for all"
            )
        self._login = login
        self._base_url = base_url
        self._size = size
        self._options: dict[str, Any] = dict(options)
        self._shared: _Shared | None = None
        if share_connections:
            chosen = {name: self._options.pop(name, None) for name in _OF_THE_POOL}
            self._shared = _Shared(transport_for(chosen["transport"], chosen["impersonate"], chosen["proxy"]))
        elif self._options.get("transport") is not None and not isinstance(self._options["transport"], str):
            raise InvalidInputError("a transport object is shared by all clients; leave out transport= or share_connections=False")
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._lock = threading.Lock()
        reset_after_fork(self._reset_locks)
        if self._shared is not None:
            weakref.finalize(self, self._shared.transport.close)

    def __repr__(self) -> str:
        return f"<Clients: {len(self)} of {self._size}>"

    def __len__(self) -> int:
        """Return the number of clients that are kept."""
        return len(self._entries)

    def get(self, user: Hashable) -> Client:
        """Return the client of *user*; it is made at the first call, once even if several threads ask.

        Args:
            user: The user's id in the application. A visitor without a login needs an id, too, such as that of the browser's session.

        Raises:
            InvalidInputError: *user* is None, or the login function returned something else than options of a user.
            CredentialsError: A token or cookie is malformed.
        """
        if user is None:
            raise InvalidInputError("a client needs the id of a user: None would be one client for all visitors")
        with self._lock:
            entry = self._entries.get(user)
            if entry is None:
                entry = self._entries[user] = _Entry()
            self._entries.move_to_end(user)
            dropped = self._entries.popitem(last=False)[1] if len(self._entries) > self._size else None
        if dropped is not None:
            self._drop(dropped)
        with entry.lock:
            if entry.client is None:
                entry.client = self._new(user)
            return entry.client

    def forget(self, user: Hashable) -> None:
        """Drop the client of *user*, after a new login or a logout; the next :meth:`get` calls the login function again."""
        with self._lock:
            dropped = self._entries.pop(user, None)
        if dropped is not None:
            self._drop(dropped)

    def close(self) -> None:
        """Drop all clients and close idle connections. Streams that are being read continue; the next :meth:`get` makes new clients."""
        with self._lock:
            entries, self._entries = self._entries, OrderedDict()
        for entry in entries.values():
            self._drop(entry)
        if self._shared is not None:
            self._shared.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _drop(self, entry: _Entry) -> None:
        if self._shared is None and entry.client is not None:
            entry.client.close()  # its own idle connections

    def _new(self, user: Hashable) -> Client:
        given = self._login(user)
        try:
            options = _checked(given, known=self._shared is None)
            if self._shared is not None:
                options["transport"] = self._shared
            return Client(self._base_url, **{**self._options, **options})
        finally:
            del given  # a traceback that shows local values must not show credentials
            with contextlib.suppress(UnboundLocalError):
                del options

    def _reset_locks(self) -> None:
        # In a forked child: another thread may have held a lock. The clients are usable there.
        self._lock = threading.Lock()
        for entry in self._entries.values():
            entry.lock = threading.Lock()


class _Entry:
    """The client of one user, once it is made."""

    __slots__ = ("client", "lock")

    def __init__(self) -> None:
        self.client: Client | None = None
        self.lock = threading.Lock()


class _Shared:
    """The transport of all clients; closing one client does not close its connections."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.open = transport.open
        self.has_browser_headers = getattr(transport, "has_browser_headers", False)

    def close(self) -> None:
        """Do nothing: `Clients.close` closes it."""


def _checked(given: object, *, known: bool) -> dict[str, Any]:
    """Return the options of a user, without anything that `Client` would look for elsewhere.

    Args:
        given: What the login function returned.
        known: Whether it may choose a transport.
    """
    if not isinstance(given, Mapping):
        raise InvalidInputError(f"the login function returns options of Client, such as a token, not {type(given).__name__}")
    options = dict(given)
    allowed = set(ClientOptions.__annotations__) - (set() if known else set(_OF_THE_POOL))
    if unknown := sorted(str(name) for name in set(options) - allowed):
        raise InvalidInputError(f"the login function returned {unknown[0]!r}, which is not an option of one user")
    cookies = options.get("cookies") or ""
    if cookies and not isinstance(cookies, Mapping):
        raise InvalidInputError(
            "a user's cookies are a mapping of names to values: a string may be the path of a file, or name a browser"
        )
    return {**options, "token": options.get("token") or "", "cookies": cookies}
