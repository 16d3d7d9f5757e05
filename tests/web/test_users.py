"""`Clients`: a client per user over one pool; nothing of one user reaches another."""

from __future__ import annotations

import gc
import json
import threading
import tracemalloc
import weakref
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hfclient import Client, CredentialsError, InvalidInputError, Retry, Timeouts
from hfclient.events import Token
from hfclient.web import Clients
from tests.chat.recordings import recording
from tests.chat.replay import JSONL, STARTED, ChatUI, final, lines, token
from tests.conftest import make_transport
from tests.processes.helpers import in_child, needs_fork, succeeded
from tests.server import LAST_CHUNK, PATIENCE, Recorded, chunk, head

Make = Callable[..., Clients]


def cookies_of(user: Hashable) -> dict[str, Any]:
    """A login that is different for each user."""
    return {"cookies": {"hf-chat": f"secret-of-{user}"}}


@pytest.fixture
def ui() -> Iterator[ChatUI]:
    """A `ChatUI` of the test's own."""
    with ChatUI() as running:
        yield running


@pytest.fixture
def make(ui: ChatUI, transport_name: str) -> Iterator[Make]:
    """Make `Clients` of `ui` over each transport in turn; they are closed at the end."""
    made: list[Clients] = []

    def make(login: Callable[[Any], Mapping[str, Any]] = cookies_of, **options: Any) -> Clients:
        if options.get("share_connections", True):
            options["transport"] = make_transport(transport_name)
        elif transport_name == "impersonate":
            options["impersonate"] = "chrome"
        timeouts = Timeouts(connect=PATIENCE, first_token=PATIENCE, idle=PATIENCE)
        made.append(Clients(login, ui.url, timeouts=timeouts, retry=Retry(attempts=1), **options))
        return made[-1]

    yield make
    for clients in made:
        clients.close()


def seen(request: Recorded) -> str:
    """The session cookie of a request."""
    return request.headers.get("cookie", "").partition("hf-chat=")[2].partition(";")[0]


def read(client: Client) -> None:
    """Send a request."""
    client.models.list(fresh=True)


def test_many_users_are_flat(ui: ChatUI, make: Make) -> None:
    """Eight hundred users, of whom fifty are kept: each request has its user's cookie, one socket serves them all, and memory does not grow."""
    ui.keep_bodies = False
    clients, made = make(size=50), weakref.WeakSet[Client]()
    gc.collect()
    gc.disable()  # clients that are dropped must not wait for the collector
    try:
        for user in range(800):
            client = clients.get(user)
            made.add(client)
            if user % 10 == 0:
                read(client)
                assert seen(ui.last) == f"secret-of-{user}"
            del client
            if user == 200:
                tracemalloc.start()
                before = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/hfclient/*")])
        after = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/hfclient/*")])
    finally:
        tracemalloc.stop()
        gc.enable()
    assert len(clients) == len(made) == 50
    assert ui.connections == 1
    assert sum(entry.size for entry in after.traces) - sum(entry.size for entry in before.traces) < 800_000


def test_one_client_for_each_user_whatever_the_threads(make: Make) -> None:
    """Eight threads that ask for a new user at once get one client; its login is read once. Other users do not wait."""
    calls: list[Hashable] = []
    together, go = threading.Barrier(8), threading.Event()

    def login(user: Hashable) -> dict[str, Any]:
        calls.append(user)
        if user == "slow":
            assert go.wait(PATIENCE)
        return cookies_of(user)

    clients = make(login)

    def ask(number: int) -> Client:
        together.wait(PATIENCE)
        return clients.get("slow")

    with ThreadPoolExecutor(8) as pool:
        results = pool.map(ask, range(8))
        assert clients.get("quick") is clients.get("quick")
        go.set()
        assert len({id(client) for client in results}) == 1
    assert sorted(map(str, calls)) == ["quick", "slow"]


def test_the_cookies_that_a_server_sets_stay_with_their_user(ui: ChatUI, make: Make) -> None:
    """A renewed session cookie is sent for its own user only, although both use one connection."""
    clients = make(cookies_of)
    ui.fault("models", [b"HTTP/1.1 200 OK\r\nSet-Cookie: other=of-ada; Path=/\r\nContent-Length: 11\r\nContent-Type: application/json\r\n\r\n"
                        + b'{"json":[]}'])  # fmt: skip
    for user in ("ada", "bob", "ada"):
        read(clients.get(user))
    first, second, third = (request.headers["cookie"] for request in ui.of("models"))
    assert "other" not in first + second
    assert "other=of-ada" in third
    assert [seen(request) for request in ui.of("models")] == ["secret-of-ada", "secret-of-bob", "secret-of-ada"]
    assert ui.connections == 1


def test_nothing_is_taken_from_the_environment(
    ui: ChatUI, make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A user without a cookie or token does not get those of the service, nor another visitor's session."""
    monkeypatch.setenv("HF_TOKEN", "hf_service")
    monkeypatch.setenv("HFCLIENT_COOKIE", "hf-chat=of-the-service")
    monkeypatch.setenv("HFCLIENT_SESSION", "shared")
    clients = make(lambda user: {"cookies": None, "token": None} if user == "a" else {})
    ui.says(recording("plain"))
    for user in ("a", "b"):
        assert clients.get(user).chat("Hi").text == "Hello, world!"
    sessions = {seen(request) for request in ui.of("send")}
    assert len(sessions) == 2
    assert "" not in sessions
    for request in ui.requests:
        assert "authorization" not in request.headers
        assert "of-the-service" not in request.headers.get("cookie", "")
    assert [path for path in tmp_path.rglob("*") if path.is_file() and "session" in path.name] == []


def test_tokens(ui: ChatUI, make: Make) -> None:
    """Each user's token goes with the user's own requests."""
    clients = make(lambda user: {"token": f"hf_{user}"})
    for user in ("ada", "bob", "ada"):
        read(clients.get(user))
    assert [request.headers["authorization"] for request in ui.of("models")] == ["Bearer hf_ada", "Bearer hf_bob", "Bearer hf_ada"]


def test_a_changed_login(ui: ChatUI, make: Make) -> None:
    """After `forget` the login function is asked again; the old client works on with the old login."""
    logins = {"ada": "old"}
    clients = make(lambda user: {"cookies": {"hf-chat": logins[user]}})
    old = clients.get("ada")
    logins["ada"] = "new"
    assert clients.get("ada") is old
    clients.forget("ada")
    clients.forget("ada")
    for client in (clients.get("ada"), old):
        read(client)
    assert [seen(request) for request in ui.of("models")] == ["new", "old"]


def test_a_dropped_client_works_on(ui: ChatUI, make: Make) -> None:
    """A stream and its conversation outlive their client's place, also when others are closed."""
    go = threading.Event()
    answer = [head(200, JSONL, "Transfer-Encoding: chunked"), chunk(lines(STARTED, token("one "))), go,
              chunk(lines(token("two"), final("one two"))), LAST_CHUNK]  # fmt: skip
    ui.says(lines(STARTED), answer)
    for share in (True, False):
        clients = make(size=1, share_connections=share)
        stream = clients.get("ada").chat("Hi")
        with clients.get("bob"):
            pass
        clients.forget("bob")
        clients.close()
        gc.collect()
        go.set()
        assert [event.text for event in stream if isinstance(event, Token)] == ["one ", "two"]
        assert seen(ui.last) == "secret-of-ada"


def test_closing_one_client_keeps_the_pool(ui: ChatUI, make: Make) -> None:
    """Closing a user's client does not close the connection that all users share."""
    clients = make()
    for user in range(5):
        with clients.get(user) as client:
            read(client)
    assert ui.connections == 1


def test_connections_of_each_user(ui: ChatUI, make: Make) -> None:
    """With ``share_connections=False`` no connection carries requests of two users, and dropped clients close theirs."""
    clients = make(size=2, share_connections=False)
    for user in range(4):
        read(clients.get(user))
        read(clients.get(user))
    owners: dict[int, set[str]] = {}
    for request in ui.of("models"):
        owners.setdefault(request.connection, set()).add(seen(request))
    assert [len(users) for users in owners.values()] == [1] * 4
    clients.close()
    gc.collect()
    ui.wait_until_closed()


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork(ui: ChatUI, make: Make) -> None:
    """A worker that was forked after use, even while locks were held, has sockets of its own and the same users."""
    clients = make()
    read(clients.get("ada"))

    def work() -> None:
        read(clients.get("ada"))
        read(clients.get("bob"))

    with clients._lock, clients._entries["ada"].lock:
        child = in_child(work)
    assert succeeded(child)
    read(clients.get("ada"))
    users = [(seen(request), request.connection) for request in ui.of("models")]
    assert [user for user, _ in users] == [f"secret-of-{user}" for user in ("ada", "ada", "bob", "ada")]
    assert users[0][1] == users[3][1]
    assert users[1][1] == users[2][1] != users[0][1]


@pytest.mark.parametrize("login", [{"cookies": "/etc/passwd"}, {"cookies": "browser:firefox"}, {"cookies": "hf-chat=x"},
                                   {"tokens": "x"}, {"transport": "requests"}, "hf_x", None])  # fmt: skip
def test_what_a_login_may_not_be(make: Make, login: Any) -> None:
    """A string of cookies may be the path of a file of the server, so it is refused, as is an option that one user cannot have."""
    clients = make(lambda user: login)
    for _ in range(2):
        with pytest.raises(InvalidInputError):
            clients.get("ada")
    assert "hf_x" not in repr(clients)


def test_an_error_shows_no_secret(make: Make) -> None:
    """An error of a malformed cookie does not show it, nor do the local values of its traceback."""
    clients = make(lambda user: {"cookies": {"hf-chat": "se\ncret-value"}})
    with pytest.raises(CredentialsError) as caught:
        clients.get("ada")
    shown = str(caught.value) + "".join(
        repr(entry.frame.f_locals) for entry in caught.traceback if "hfclient/" in str(entry.path) and "tests" not in str(entry.path)
    )
    assert "cret-value" not in shown


@pytest.mark.parametrize("options", [{"token": "hf_x"}, {"cookies": {"a": "b"}}, {"session": "all"}, {"size": 0}, {"size": True}])
def test_what_is_not_for_all_users(options: dict[str, Any]) -> None:
    """A login among the options of all users is an error, as is a size of nothing."""
    with pytest.raises(InvalidInputError):
        Clients(cookies_of, **options)
    with pytest.raises(InvalidInputError):
        Clients("ada")  # type: ignore[arg-type]


def test_an_id_is_needed(make: Make) -> None:
    """None as an id would be one client for all visitors."""
    with pytest.raises(InvalidInputError, match="id of a user"):
        make().get(None)


def test_a_service_account_beside_it(ui: ChatUI, make: Make) -> None:
    """One account for all users is a plain client, with a transport of its own."""
    service = Client(ui.url, token="hf_service", cookies="")
    clients = make()
    read(service)
    read(clients.get("ada"))
    service.close()
    first, second = ui.of("models")
    assert (first.headers["authorization"], seen(second)) == ("Bearer hf_service", "secret-of-ada")
    assert "authorization" not in second.headers
    assert json.dumps(second.headers).count("service") == 0
