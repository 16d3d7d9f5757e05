"""Secrets: found, kept apart, hidden, and sent to their own origins."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
import types
from pathlib import Path
from typing import Any

import pytest

from hfclient.credentials import (
    SESSION_COOKIE,
    Credentials,
    Secret,
    colab_secret,
    find_cookies,
    find_token,
    origin_of,
    parse_cookies,
)
from hfclient.errors import CredentialsError, InvalidInputError

TOKEN = Secret("hf_abc")
ROUTER = "https://router.huggingface.co/v1"


# Secret


def test_a_secret_is_hidden() -> None:
    """No usual way of showing a secret reveals it."""
    shown = [
        str(TOKEN),
        repr(TOKEN),
        f"{TOKEN}",
        f"{TOKEN!s} {TOKEN!r} {TOKEN:>10}",
        "%s %r" % (TOKEN, TOKEN),  # noqa: UP031 (it is what is tested)
        repr([TOKEN]),
    ]
    shown += ["{}".format(TOKEN), str({"t": TOKEN}), repr((TOKEN,)), ascii(TOKEN)]  # noqa: UP032
    assert all("hf_abc" not in text for text in shown)
    assert (TOKEN.reveal(), type(TOKEN.reveal())) == ("hf_abc", str)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_secret_is_pickled(protocol: int) -> None:
    """Pickles and copies have the value and stay secrets."""
    for again in (pickle.loads(pickle.dumps(TOKEN, protocol)), copy.copy(TOKEN), copy.deepcopy(TOKEN)):
        assert (again.reveal(), type(again)) == ("hf_abc", Secret)
    assert Secret("x") == Secret("x")
    assert not Secret("")


# URLs


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://huggingface.co/chat", "https://huggingface.co"),
        ("HTTPS://user:pw@HuggingFace.CO:443/chat?x#y", "https://huggingface.co"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://localhost:80/", "http://localhost"),
        ("https://localhost:80/", "https://localhost:80"),
        ("http://[::1]:3000/x", "http://[::1]:3000"),
        ("http://[::1]/x", "http://[::1]"),
        ("https://a.b/c?next=https://d.e", "https://a.b"),
        ("https://a.b/with space", "https://a.b"),
        ("https://a.b/x?q=back\\slash\n", "https://a.b"),
    ],
)
def test_origins(url: str, origin: str) -> None:
    """Scheme, host and port, and nothing else."""
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "", "huggingface.co/chat", "ftp://a.b", "file:///etc/passwd", "http://", "https:///x", "//a.b/c", "javascript:x",
        "http://a:b", "http://a:99999", "http://[::1", "https://evil.org\\@huggingface.co/", "https://huggingface.co\t.evil.org/",
        "https://hugging\nface.co", "https://huggingface.co\\.evil.org/x", "https://a b/", "https://a.b/\r\nHost: c", "\x01https://a.b",
        "https://huggingface.co\x00.evil.org",
    ],
)  # fmt: skip
def test_unusable_urls(url: str) -> None:
    """An invalid URL, or one whose host is ambiguous, is refused."""
    with pytest.raises(InvalidInputError, match="URL"):
        origin_of(url)


# Tokens


def test_argument_first() -> None:
    """A token argument takes precedence over the environment; an empty one means no token."""
    env = {"HF_TOKEN": "hf_env"}
    assert find_token("  hf_arg\n", env) == ("hf_arg", True)
    assert find_token("", env) == (None, True)
    assert find_token(" \n", env) == (None, True)
    assert find_token(Secret("hf_arg"), env)[0] == "hf_arg"


def test_environment(tmp_path: Path) -> None:
    """The variables in order, then huggingface_hub's file; white space is not a token."""
    path = tmp_path / "token"
    path.write_text(" hf_file \n")
    env = {"HF_TOKEN": "hf_1", "HUGGING_FACE_HUB_TOKEN": "hf_2", "HF_TOKEN_PATH": str(path)}
    assert find_token(None, env) == ("hf_1", False)
    env["HF_TOKEN"] = " \r\n"
    assert find_token(None, env) == ("hf_2", False)
    del env["HUGGING_FACE_HUB_TOKEN"]
    token, explicit = find_token(None, env)
    assert (token, explicit, type(token)) == ("hf_file", False, Secret)
    path.write_text("\n")
    assert find_token(None, env) == (None, False)


@pytest.fixture
def colab(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The kernel of Google Colab, as far as a secret is concerned; returns the answers that are left."""
    answers: list[Any] = []

    def get(name: str) -> str:
        assert name == "HF_TOKEN"
        answer = answers.pop()
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    userdata = types.ModuleType("google.colab.userdata")
    userdata.get = get  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "google.colab.userdata", userdata)
    monkeypatch.setattr(colab_secret, "_found", [])
    return answers


def test_a_secret_of_colab(colab: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Colab's secret is taken if there is no other token, as one that was found; Colab is asked once."""
    monkeypatch.setenv("HF_TOKEN", "hf_env")
    assert find_token() == ("hf_env", False)
    monkeypatch.delenv("HF_TOKEN")
    assert find_token("") == (None, True)
    assert find_token(None, {}) == (None, False)
    colab.append(" hf_colab\n")
    assert find_token() == find_token() == ("hf_colab", False)
    assert colab == []


def test_a_refused_secret_of_colab(colab: list[Any]) -> None:
    """A secret that does not exist, or that the user does not share, is not a token; Colab does not ask again."""
    colab.append(LookupError("SecretNotFoundError"))
    assert find_token() == find_token() == (None, False)


def test_locations_of_the_token_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_TOKEN_PATH, else HF_HOME, else XDG_CACHE_HOME, else ~/.cache; ``~`` and variables are expanded."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("MY_PLACE", str(tmp_path / "mine"))
    for folder in ("mine", "xdg/huggingface", ".cache/huggingface", "home"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "token").write_text(f"hf_{folder[0]}")
    assert find_token(None, {"HF_TOKEN_PATH": "$MY_PLACE/token"}) == ("hf_m", False)
    assert find_token(None, {"HF_HOME": "~/home", "XDG_CACHE_HOME": "~/xdg"}) == ("hf_h", False)
    assert find_token(None, {"XDG_CACHE_HOME": str(tmp_path / "xdg")}) == ("hf_x", False)
    assert find_token(None, {}) == ("hf_.", False)


def test_unreadable_token_files(tmp_path: Path) -> None:
    """A token file that is missing, a folder or not text gives no token and no error."""
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "missing", tmp_path, binary):
        assert find_token(None, {"HF_TOKEN_PATH": str(path)}) == (None, False)


@pytest.mark.parametrize("value", ["1", "ON", "Yes", "true"])
def test_implicit_tokens_can_be_disabled(value: str) -> None:
    """With HF_HUB_DISABLE_IMPLICIT_TOKEN only the argument is used."""
    env = {"HF_TOKEN": "hf_env", "HF_HUB_DISABLE_IMPLICIT_TOKEN": value}
    assert find_token(None, env) == (None, False)
    assert find_token("hf_arg", env) == ("hf_arg", True)
    assert find_token(None, {**env, "HF_HUB_DISABLE_IMPLICIT_TOKEN": "0"}) == ("hf_env", False)


@pytest.mark.parametrize("token", ["hf_a b", "hf_\u200b", "Bearer hf_x", "hf_é", "a\tb"])
def test_invalid_tokens(token: str) -> None:
    """Text that cannot be a token is refused and not shown."""
    with pytest.raises(CredentialsError) as caught:
        find_token(token)
    assert token not in str(caught.value)


# Cookies


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"hf-chat": "abc"}, {"hf-chat": "abc"}),
        ({"hf-chat": Secret("abc"), "empty": "", "none": None}, {"hf-chat": "abc"}),
        ("hf-chat=abc", {"hf-chat": "abc"}),
        ("hf-chat=abc; token=x=y==", {"hf-chat": "abc", "token": "x=y=="}),
        ("Cookie: hf-chat=abc;token=x;", {"hf-chat": "abc", "token": "x"}),
        ("  cookie:hf-chat=abc\n", {"hf-chat": "abc"}),
        ("5f2c9d1e-bare-value", {SESSION_COOKIE: "5f2c9d1e-bare-value"}),
        ("a=; b=1", {"b": "1"}),
        ('a="quoted"', {"a": '"quoted"'}),
    ],
)
def test_cookies(given: object, expected: dict[str, str]) -> None:
    """A mapping, a header or a bare session value: the same cookies, as secrets."""
    found = parse_cookies(given)  # type: ignore[arg-type]
    assert {name: value.reveal() for name, value in found.items()} == expected
    assert all(type(value) is Secret for value in found.values())


@pytest.mark.parametrize("given", [{}, "", " ", ";", "a=", {"a": ""}, {"a": None}])
def test_no_cookies(given: object) -> None:
    """The error for unusable cookies shows the expected form."""
    with pytest.raises(CredentialsError, match="hf-chat"):
        parse_cookies(given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "given",
    [
        {"a": "1\r\nX-Evil: 2"},
        {"a": "1; b=2"},
        {"a\r\nb": "1"},
        {"a b": "1"},
        {"a=b": "1"},
        {"a": "☃"},
        {"a": "\0"},
        "a b=1",
    ],
)
def test_cookies_that_break_headers(given: object) -> None:
    """A cookie that would break the header is refused, and its value is not shown."""
    with pytest.raises(CredentialsError) as caught:
        parse_cookies(given)  # type: ignore[arg-type]
    assert "Evil" not in str(caught.value)


def test_cookies_from_the_environment() -> None:
    """HFCLIENT_COOKIE is used without an argument."""
    assert find_cookies(None, {"HFCLIENT_COOKIE": "hf-chat=e"})["hf-chat"] == "e"
    assert find_cookies("hf-chat=a", {"HFCLIENT_COOKIE": "hf-chat=e"})["hf-chat"] == "a"
    assert find_cookies("", {"HFCLIENT_COOKIE": "hf-chat=e"}) == {}
    assert find_cookies(None, {}) == {}


# Who gets what


def _headers(url: str, **options: object) -> str | None:
    """The credentials for *url*: "token", the cookie header, or None."""
    made = Credentials(**options)  # type: ignore[arg-type]
    headers = made.headers_for(url)
    assert len(headers) <= 1
    if "Authorization" in headers:
        assert headers["Authorization"] == "Bearer hf_abc"
        return "token"
    return headers.get("Cookie")


@pytest.mark.parametrize(
    ("url", "implicit", "explicit"),
    [
        ("https://huggingface.co/api/whoami-v2", "token", "token"),
        ("https://router.huggingface.co/v1/models", "token", "token"),
        ("https://hf.co/x", "token", "token"),
        ("http://huggingface.co/x", None, None),
        ("https://huggingface.co.evil.org/x", None, None),
        ("https://evilhuggingface.co/x", None, None),
        ("https://huggingface.co@evil.org/x", None, None),
        ("https://evil.org/huggingface.co", None, None),
        ("https://my.endpoints.huggingface.cloud/v1", "token", "token"),  # named below
        ("https://evil.endpoints.huggingface.cloud/v1", None, None),
        ("https://evil.hf.space/x", None, None),
        ("http://localhost:8080/v1/chat", None, "token"),
        ("http://localhost:8081/v1/chat", None, None),
        ("https://localhost:8080/v1/chat", None, None),
    ],
)
def test_where_the_token_is_sent(url: str, implicit: str | None, explicit: str | None) -> None:
    """A token from the environment goes to Hugging Face, a passed one also to the given URLs, and neither to others."""
    named = ["http://localhost:8080/v1", "https://my.endpoints.huggingface.cloud"]
    assert _headers(url, token=TOKEN, token_urls=named) == implicit
    assert _headers(url, token=TOKEN, explicit=True, token_urls=named) == explicit


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://huggingface.co/chat/conversation", "hf-chat=c"),
        ("https://huggingface.co/chat/api/v2/models", "hf-chat=c"),
        ("https://huggingface.co/chat", "hf-chat=c"),
        ("https://huggingface.co/chat/", "hf-chat=c"),
        ("https://huggingface.co:443/chat/x", "hf-chat=c"),
        ("https://huggingface.co/chatty", "token"),
        ("https://huggingface.co/api/whoami-v2", "token"),
        ("http://huggingface.co/chat/x", None),
        ("https://hf.co/chat/x", "token"),
        ("https://cdn.huggingface.co/chat/x", "token"),
        ("https://evil.org/chat/x", None),
    ],
)
def test_where_the_cookie_is_sent(url: str, expected: str | None) -> None:
    """The cookie is sent below the chat's base URL only, and without a token."""
    chat = {"chat_url": "https://huggingface.co/chat", "cookies": {"hf-chat": Secret("c")}}
    assert _headers(url, token=TOKEN, **chat) == expected


def test_chat_at_the_root() -> None:
    """A chat server without a base path gets its cookie on its whole origin."""
    chat = {"chat_url": "http://localhost:3000", "cookies": {"hf-chat": Secret("c")}}
    for path in ("", "/", "/conversation", "/api/v2/models"):
        assert _headers(f"http://localhost:3000{path}", **chat) == "hf-chat=c"
    assert _headers("http://localhost:3001/", **chat) is None


def test_anonymous_session() -> None:
    """Without a store, an anonymous session exists as long as its client, and differs between clients."""
    made = Credentials(chat_url="http://localhost:3000")
    assert not made.has_session
    made.use_session()
    first = made.cookies()[SESSION_COOKIE]
    made.use_session(begin=True)
    assert made.cookies()[SESSION_COOKIE] == first
    assert made.has_session
    other = Credentials(chat_url="http://localhost:3000")
    other.use_session(begin=True)
    assert other.cookies()[SESSION_COOKIE] != first


CHAT = "http://localhost:3000/chat"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("hf-chat=new; Path=/; HttpOnly; Secure; SameSite=None; Max-Age=1209600", {"hf-chat": "new"}),
        ("hf-chat=new=with=equals", {"hf-chat": "new=with=equals"}),
        ("more=1", {"hf-chat": "old", "more": "1"}),
        ("hf-chat=; Max-Age=0", {"hf-chat": "old"}),
        ("hf-chat=gone; Max-Age=0", {"hf-chat": "old"}),
        ("=nameless", {"hf-chat": "old"}),
        ("bad name=1", {"hf-chat": "old"}),
        ("", {"hf-chat": "old"}),
        (";;;", {"hf-chat": "old"}),
    ],
)
def test_rotation(line: str, expected: dict[str, str]) -> None:
    """Renewed cookies are stored; deleted ones stay, and invalid ones are ignored."""
    made = Credentials(cookies={"hf-chat": Secret("old")}, chat_url=CHAT)
    made.keep_cookies(f"{CHAT}/api/user", [line])
    assert made.cookies() == expected


def test_rotation_has_bounds() -> None:
    """Only the chat's own origin renews cookies, only of an existing session, and only a limited number."""
    made = Credentials(cookies={"hf-chat": Secret("old")}, chat_url=CHAT)
    made.keep_cookies("http://localhost:3001/chat/x", ["hf-chat=evil"])
    assert made.cookies() == {"hf-chat": "old"}
    made.keep_cookies(CHAT, [f"c{number}=1" for number in range(100)])
    assert len(made.cookies()) == 20
    made.keep_cookies(CHAT, ["hf-chat=still"])
    assert made.cookies()["hf-chat"] == "still"
    tokens_only = Credentials(token=TOKEN, chat_url=CHAT)
    tokens_only.keep_cookies(CHAT, ["hf-chat=other"])
    assert not tokens_only.has_session


def test_copies_are_copies() -> None:
    """The results of `cookies`, and the passed mapping, are copies."""
    given = {"hf-chat": Secret("a")}
    made = Credentials(cookies=given, chat_url=CHAT)
    given["hf-chat"] = Secret("b")
    made.cookies()["hf-chat"] = Secret("c")
    assert made.cookies() == {"hf-chat": "a"}


def test_pickling() -> None:
    """Credentials pickle without their lock, and their repr shows no secret."""
    made = Credentials(token=TOKEN, explicit=True, cookies={"hf-chat": Secret("c")}, chat_url=CHAT, token_urls=[ROUTER])
    again = pickle.loads(pickle.dumps(made))
    for url in (ROUTER, f"{CHAT}/x", "http://localhost:3000/other"):
        assert again.headers_for(url) == made.headers_for(url)
    again.keep_cookies(CHAT, ["hf-chat=new"])
    assert (again.cookies()["hf-chat"], made.cookies()["hf-chat"]) == ("new", "c")
    assert repr(made) == "Credentials(token=***, cookies=['hf-chat'])"


def test_threads() -> None:
    """Renewals from many threads lose no cookies, and headers stay consistent."""
    made = Credentials(cookies={"hf-chat": Secret("0")}, chat_url=CHAT)
    seen: set[str] = set()

    def work(number: int) -> None:
        for turn in range(200):
            made.keep_cookies(CHAT, [f"hf-chat={number}.{turn}"])
            seen.add(made.headers_for(f"{CHAT}/x")["Cookie"])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(header.startswith("hf-chat=") and ";" not in header for header in seen)
