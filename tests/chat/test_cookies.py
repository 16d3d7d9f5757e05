"""Cookies are handled as in a browser: where each one is sent, and which ones cannot be sent."""

from __future__ import annotations

import http.cookiejar
import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hfclient import Client, Retry
from hfclient.credentials import Credentials, LoginStore, SavedLogin, Secret, parse_cookies
from hfclient.errors import CredentialsError
from tests.chat.conftest import PATIENT
from tests.chat.gateway import Gateway
from tests.conftest import make_transport

Make = Callable[..., Client]
LATER = int(time.time()) + 86_400


@pytest.fixture
def make(gateway: Gateway, transport_name: str) -> Iterator[Make]:
    """Make clients of `gateway` over each transport in turn."""
    made: list[Client] = []

    def build(slash: str = "", **options: Any) -> Client:
        url = gateway.url + gateway.base + slash
        options = {"token": "", "timeouts": PATIENT, "retry": Retry(attempts=1), **options}
        made.append(Client(url, transport=make_transport(transport_name), **options))
        return made[-1]

    yield build
    for client in made:
        client.close()


def _netscape(*cookies: dict[str, Any]) -> str:
    lines = ["# Netscape HTTP Cookie File"]
    for one in cookies:
        secure = "TRUE" if one.get("secure") else "FALSE"
        fields = (one.get("domain", ""), "FALSE", one.get("path", "/"), secure, str(one.get("expires", 0)))
        lines.append("\t".join([*fields, one["name"], one["value"]]))
    return "\n".join(lines) + "\n"


def _jar(*cookies: dict[str, Any]) -> http.cookiejar.CookieJar:
    jar = http.cookiejar.CookieJar()
    for one in cookies:
        domain = one.get("domain", "")
        jar.set_cookie(
            http.cookiejar.Cookie(
                0,
                one["name"],
                one["value"],
                None,
                False,
                domain,
                bool(domain),
                domain.startswith("."),
                one.get("path", "/"),
                True,
                one.get("secure", False),
                one.get("expires"),
                False,
                None,
                None,
                {},
            )
        )
    return jar


WITH_PLACES: dict[str, Callable[..., Any]] = {
    "list": lambda *cookies: list(cookies),
    "JSON": lambda *cookies: json.dumps(cookies),
    "cookies.txt": _netscape,
    "jar": _jar,
}


# Paths


@pytest.mark.parametrize("kind", WITH_PLACES)
@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(
    ("path", "is_sent"), [("/", True), ("/chat", True), ("/chat/", True), ("/chatter/", False), ("/other/", False)]
)
def test_paths_of_given_cookies(gateway: Gateway, make: Make, kind: str, slash: str, path: str, is_sent: bool) -> None:
    """A cookie's path is compared with the requested paths, all of which are below the base path."""
    gateway.base = "/chat"
    given = WITH_PLACES[kind](
        {"name": "hf-chat", "value": "abc", "domain": "127.0.0.1"},
        {"name": "sid", "value": "xyz", "domain": "127.0.0.1", "path": path},
    )
    assert make(slash, cookies=given).chat("hi").text == "Hello."
    assert all("hf-chat=abc" in sent for sent in gateway.cookies())
    assert all(("sid=xyz" in sent) is is_sent for sent in gateway.cookies())


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(
    ("path", "is_sent"), [("/", True), ("/chat", True), ("/chat/", True), ("/chatter/", False), ("/cha", False)]
)
def test_paths_of_cookies_that_the_server_sets(
    gateway: Gateway, make: Make, slash: str, path: str, is_sent: bool
) -> None:
    """The path of a cookie that the server sets is compared in the same way."""
    gateway.base = "/chat"
    gateway.set_cookie = [f"sid=xyz; Path={path}; HttpOnly"]
    make(slash, cookies="").chat("hi").result()
    assert ("sid=xyz" in gateway.cookies()[-1]) is is_sent


@pytest.mark.parametrize("source", ["given", "set"])
def test_a_path_below_the_base_path(gateway: Gateway, make: Make, source: str) -> None:
    """A cookie for a part of the server is sent to that part, renewed there and deleted there."""
    gateway.base = "/chat"
    options: dict[str, Any] = {"cookies": ""}
    if source == "given":
        options["cookies"] = [
            {"name": "hf-chat", "value": "abc", "domain": "127.0.0.1"},
            {"name": "api", "value": "xyz", "domain": "127.0.0.1", "path": "/chat/api/"},
        ]
    else:
        gateway.set_cookie = ["api=xyz; Path=/chat/api/"]
    client = make(**options)
    client.chat("hi").result()
    client.models.list(fresh=True)
    assert "api=xyz" in gateway.cookies()[-1]
    client.ping()
    assert "api=xyz" not in gateway.cookies()[-1]
    gateway.set_cookie = ["api=new; Path=/chat/api/"]
    client.chat("hi").result()
    client.models.list(fresh=True)
    assert "api=new" in gateway.cookies()[-1]
    gateway.set_cookie = ["api=; Max-Age=0; Path=/chat/api/"]
    client.chat("hi").result()
    client.models.list(fresh=True)
    assert "api=" not in gateway.cookies()[-1]


# What cannot be sent

ODD = ["prefs[theme]", "_csrf/link", "a{b}", "плохо", "a,b", "a@b", '"q"']
ODD_VALUES = ["李雷", "\u20ac", "a\x01b"]
FORMS: dict[str, Callable[[str, str], Any]] = {
    "header": lambda name, value: f"hf-chat=abc; {name}={value}; token=def",
    "Cookie header": lambda name, value: f"Cookie: hf-chat=abc;{name}={value};token=def",
    "mapping": lambda name, value: {"hf-chat": "abc", name: value, "token": Secret("def")},
    **{
        kind: lambda name, value, form=form: form(
            *(
                {"name": n, "value": v, "domain": "127.0.0.1"}
                for n, v in (("hf-chat", "abc"), (name, value), ("token", "def"))
            )
        )
        for kind, form in WITH_PLACES.items()
    },
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("name", "value"), [(name, "s3cr3t-value") for name in ODD] + [("nick", value) for value in ODD_VALUES]
)
def test_one_malformed_cookie(
    gateway: Gateway, make: Make, caplog: pytest.LogCaptureFixture, form: str, name: str, value: str
) -> None:
    """It is left out with a warning that holds its name and not its value; the others are sent."""
    with caplog.at_level(logging.WARNING, "hfclient"):
        client = make(cookies=FORMS[form](name, value))
    client.models.list()
    assert gateway.cookies() == ["hf-chat=abc; token=def"]
    (record,) = caplog.records
    assert repr(name) in record.getMessage()
    assert value not in record.getMessage()


@pytest.mark.parametrize("as_file", [False, True])
def test_one_malformed_cookie_of_the_environment(
    gateway: Gateway,
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    as_file: bool,
) -> None:
    """The same for HFCLIENT_COOKIE, and for a file that it names."""
    given = "hf-chat=abc; prefs[theme]=dark"
    if as_file:
        file = tmp_path / "cookies.txt"
        file.write_text(
            _netscape(*({"name": n, "value": "abc", "domain": "127.0.0.1"} for n in ("hf-chat", "prefs[theme]")))
        )
        file.chmod(0o600)
        given = str(file)
    monkeypatch.setenv("HFCLIENT_COOKIE", given)
    make(cookies=None).models.list()
    assert gateway.cookies() == ["hf-chat=abc"]
    assert "prefs[theme]" in caplog.text


def test_one_malformed_cookie_of_a_saved_login(
    gateway: Gateway, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same holds for a saved login that was edited; one whose session cookie cannot be sent is named."""
    monkeypatch.setenv("HFCLIENT_HOME", str(tmp_path))
    store = LoginStore.find()
    assert store is not None
    store.put(gateway.url, SavedLogin({"hf-chat": Secret("abc"), "a b": Secret("x"), "nick": Secret("李雷")}, "1"))
    make(cookies=None).models.list()
    assert gateway.cookies() == ["hf-chat=abc"]
    store.put(gateway.url, SavedLogin({"hf-chat": Secret("李雷"), "b": Secret("x")}, "1"))
    with pytest.raises(
        CredentialsError, match=r"'hf-chat' in the saved login in .*logins\.json cannot be sent"
    ) as caught:
        make(cookies=None)
    assert "李雷" not in str(caught.value)


@pytest.mark.parametrize("form", FORMS)
def test_a_malformed_session_cookie(gateway: Gateway, form: str) -> None:
    """A malformed hf-chat is an error that names it."""
    given = FORMS[form]("hf-chat", "李雷") if form != "mapping" else {"hf-chat": "李雷", "token": "def"}
    with pytest.raises(CredentialsError, match="'hf-chat'") as caught:
        Client(gateway.url, cookies=given, token="")
    assert "李雷" not in str(caught.value)


def test_a_session_cookie_of_another_name(gateway: Gateway) -> None:
    """If the only cookie cannot be sent, that is an error for any name; a possible value is not shown as a name."""
    with pytest.raises(CredentialsError, match="'my-chat'"):
        Client(gateway.url, cookies={"my-chat": "李雷"}, token="")
    with pytest.raises(CredentialsError) as caught:
        Client(gateway.url, cookies="some secret words=x", token="")
    assert "some secret" not in str(caught.value)


def test_names_that_may_be_secrets(caplog: pytest.LogCaptureFixture) -> None:
    """Text in the place of a name may be a pasted secret: only what looks like a name is shown."""
    for odd in ("hf_abcdefghijklmnop/x", "Bearer abc", "x" * 40 + "/"):
        caplog.clear()
        assert set(parse_cookies(f"hf-chat=abc; {odd}=1")) == {"hf-chat"}
        assert odd not in caplog.text
        assert f"{len(odd)} characters" in caplog.text


def test_what_a_browser_would_not_send(caplog: pytest.LogCaptureFixture) -> None:
    """Expired, for https only, for another site: each cookie is named with the reason."""
    given = [
        {"name": "hf-chat", "value": "v", "domain": "chat.example"},
        {"name": "old", "value": "v", "domain": "chat.example", "expires": 1},
        {"name": "tls", "value": "v", "domain": "chat.example", "secure": True},
        {"name": "__Secure-a", "value": "v", "domain": "chat.example"},
        {"name": "__Host-b", "value": "v", "domain": "chat.example"},
        {"name": "foreign", "value": "v", "domain": "other.example"},
    ]
    assert set(parse_cookies(given, "http://chat.example")) == {"hf-chat"}
    for name, why in (
        ("old", "expired"),
        ("tls", "https only"),
        ("__Secure-a", "https only"),
        ("__Host-b", "https only"),
        ("foreign", "another site"),
    ):
        assert f"'{name}' (it {'has ' if why == 'expired' else ''}" in caplog.text
        assert why in caplog.text
    everywhere = parse_cookies(given, "https://chat.example")
    assert set(everywhere) == {"hf-chat", "tls", "__Secure-a", "__Host-b"}


def test_cookies_of_a_whole_browser(caplog: pytest.LogCaptureFixture) -> None:
    """Cookies of other sites are not listed, except for a session cookie of another site."""
    others = [{"name": f"c{n}", "value": "v", "domain": f"site{n}.example"} for n in range(100)]
    mine = {"name": "sid", "value": "v", "domain": "chat.example"}
    assert set(parse_cookies([*others, mine], "http://chat.example")) == {"sid"}
    assert caplog.text == ""
    theirs = {"name": "hf-chat", "value": "v", "domain": "site1.example"}
    assert set(parse_cookies([*others, mine, theirs], "http://chat.example")) == {"sid"}
    assert "'hf-chat' (it belongs to another site or path)" in caplog.text


@pytest.mark.parametrize(("fields", "why"), [({"secure": True}, "https only"), ({"expires": 1}, "expired")])
def test_a_session_cookie_that_a_browser_would_not_send(fields: dict[str, Any], why: str) -> None:
    """If it is the session cookie that is left out, other cookies do not replace it."""
    given = [
        {"name": "hf-chat", "value": "v", "domain": "chat.example", **fields},
        {"name": "theme", "value": "dark", "domain": "chat.example"},
    ]
    with pytest.raises(CredentialsError, match=why):
        parse_cookies(given, "http://chat.example")


@pytest.mark.parametrize("given", ["__Host-sid=v; hf-chat=x", {"__Secure-sid": "v", "hf-chat": "x"}])
def test_names_that_require_https(given: Any) -> None:
    """A name with such a prefix is not sent over plain http, except to this machine."""
    assert set(parse_cookies(given, "http://chat.example")) == {"hf-chat"}
    assert len(parse_cookies(given, "http://127.0.0.1:3000")) == 2
    assert len(parse_cookies(given, "https://chat.example")) == 2


def test_internationalised_domains() -> None:
    """A domain with letters outside of ASCII equals its ASCII form."""
    for domain in ("чат.example", "xn--80a0bn.example", ".чат.example"):
        given = [{"name": "hf-chat", "value": "v", "domain": domain}]
        for url in ("https://чат.example/chat", "https://xn--80a0bn.example", "https://чат.example."):
            assert set(parse_cookies(given, url)) == {"hf-chat"}


# What a server sets


def _kept(line: str, url: str = "http://chat.example/chat") -> dict[str, str]:
    made = Credentials(cookies={"hf-chat": Secret("mine")}, chat_url=url)
    made.keep_cookies(f"{url}/x", [line])
    header = made.headers_for(f"{url}/api/x")["Cookie"].reveal()
    return dict(part.partition("=")[::2] for part in header.split("; "))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("sid=v; Secure", "https only"),
        ("__Secure-sid=v; Secure", "https only"),
        ("__Host-sid=v; Secure; Path=/", "https only"),
        ("sid[a]=v", "name"),
        ("sid=a\x01b", "value"),
        ("sid=v; Domain=other.example", "another domain"),
    ],
)
def test_set_cookies_that_a_browser_refuses(caplog: pytest.LogCaptureFixture, line: str, why: str) -> None:
    """They are left out, with one warning for each name."""
    assert _kept(line) == {"hf-chat": "mine"}
    assert why in caplog.text
    made = Credentials(cookies={"hf-chat": Secret("mine")}, chat_url="http://chat.example")
    caplog.clear()
    for _ in range(3):
        made.keep_cookies("http://chat.example/x", [line])
    assert len(caplog.records) == 1


def test_a_known_cookie_is_set_again(caplog: pytest.LogCaptureFixture) -> None:
    """Over plain http a known session cookie that is renewed for https only, chat-ui's default, causes no warning."""
    assert _kept("hf-chat=mine; Path=/; Secure; HttpOnly") == {"hf-chat": "mine"}
    assert caplog.text == ""
    assert _kept("hf-chat=theirs; Path=/; Secure; HttpOnly") == {"hf-chat": "mine"}
    assert "'hf-chat' (it is sent over https only)" in caplog.text
    assert "theirs" not in caplog.text


@pytest.mark.parametrize(
    ("line", "is_kept"),
    [
        ("__Secure-sid=v", False),
        ("__Secure-sid=v; Secure", True),
        ("__Host-sid=v; Secure", False),
        ("__Host-sid=v; Secure; Path=/chat", False),
        ("__Host-sid=v; Secure; Path=/; Domain=chat.example", False),
        ("__host-sid=v; Secure; Path=/", True),
    ],
)
def test_prefixes_of_names(line: str, is_kept: bool) -> None:
    """A prefix requires attributes; without them the cookie may be forged by another application (RFC 6265bis, 4.1.3)."""
    assert (len(_kept(line, "https://chat.example/chat")) == 2) is is_kept


# Values that look like paths

VALUE = "q8Zk" * 8 + "w1"


@pytest.mark.parametrize(
    "value", [f"/{VALUE}==", f"/{VALUE}", f"/{VALUE}/x+y==", f"~{VALUE}", f"./{VALUE}", f"../{VALUE}", f"C:/{VALUE}"]
)
@pytest.mark.parametrize("source", ["cookies", "HFCLIENT_COOKIE"])
def test_a_value_that_looks_like_a_path(monkeypatch: pytest.MonkeyPatch, value: str, source: str) -> None:
    """It is refused with how to pass it, and neither the error nor its causes show it."""
    monkeypatch.setenv("HFCLIENT_COOKIE", value if source != "cookies" else "")
    with pytest.raises(CredentialsError, match=r'cookies=\{"hf-chat": \.\.\.\}') as caught:
        Client("http://127.0.0.1:9", cookies=value if source == "cookies" else None, token="")
    error: BaseException | None = caught.value
    while error is not None:
        assert VALUE not in f"{error} {error!r} {vars(error)}"
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("value", [f"/{VALUE}==", f"/{VALUE}/x+y=="])
@pytest.mark.parametrize("form", [lambda value: {"hf-chat": value}, lambda value: f"hf-chat={value}"])
def test_a_value_with_its_name(gateway: Gateway, make: Make, value: str, form: Callable[[str], Any]) -> None:
    """With its name it is accepted."""
    make(cookies=form(value)).models.list()
    assert gateway.cookies() == [f"hf-chat={value}"]


def test_paths_are_still_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An existing file is read under any name; a missing one is recognised by its usual ending."""
    file = tmp_path / "cookies"
    file.write_text(_netscape({"name": "hf-chat", "value": "v", "domain": "chat.example"}))
    file.chmod(0o600)
    monkeypatch.chdir(tmp_path)
    for path in (str(file), "./cookies", file):
        assert set(parse_cookies(path, "https://chat.example")) == {"hf-chat"}
    with pytest.raises(CredentialsError, match=r"/nowhere/at/all/cookies\.txt"):
        parse_cookies("/nowhere/at/all/cookies.txt", "https://chat.example")
    with pytest.raises(CredentialsError, match="/nowhere/cookies"):
        parse_cookies(Path("/nowhere/cookies"), "https://chat.example")
