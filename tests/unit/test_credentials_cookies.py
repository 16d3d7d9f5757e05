"""Cookies in all supported forms, and their selection for a chat server."""

from __future__ import annotations

import json
import logging
import sqlite3
import subprocess
import sys
import time
from http.cookiejar import CookieJar, MozillaCookieJar
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from hfclient.credentials import CookiesLike, Secret, find_cookies, parse_cookies
from hfclient.errors import CredentialsError, HFClientError, InvalidInputError, MissingDependencyError

HF = "https://huggingface.co/chat"
LATER = int(time.time()) + 1_000_000
EARLIER = int(time.time()) - 1_000_000

NETSCAPE = f"""# Netscape HTTP Cookie File
# This is a generated file! Do not edit.

#HttpOnly_huggingface.co\tFALSE\t/\tTRUE\t{LATER}\thf-chat\tchat-secret
.huggingface.co\tTRUE\t/\tTRUE\t{LATER}\ttoken\ttoken-secret
.huggingface.co\tTRUE\t/settings\tTRUE\t{LATER}\telsewhere\tx
.google.com\tTRUE\t/\tTRUE\t{LATER}\tSID\tgoogle-secret
nothuggingface.co\tFALSE\t/\tFALSE\t{LATER}\thf-chat\tevil
huggingface.co\tFALSE\t/\tFALSE\t{EARLIER}\told\tx
huggingface.co\tFALSE\t/\tFALSE\t0\tsession\tlasts-as-long-as-the-browser
"""
NETSCAPE_FOUND = {"hf-chat": "chat-secret", "token": "token-secret", "session": "lasts-as-long-as-the-browser"}


def _extension_json() -> list[dict[str, Any]]:
    return [
        {
            "domain": "huggingface.co",
            "expirationDate": LATER + 0.5,
            "hostOnly": True,
            "httpOnly": True,
            "name": "hf-chat",
            "path": "/",
            "sameSite": "lax",
            "secure": True,
            "session": False,
            "storeId": "0",
            "value": "chat-secret",
        },
        {"domain": ".huggingface.co", "name": "token", "path": "/", "secure": True, "session": True, "value": "t"},
        {"domain": "discuss.huggingface.co", "name": "_forum", "path": "/", "value": "x"},
        {"domain": ".github.com", "name": "user", "path": "/", "value": "x"},
        {"domain": "huggingface.co", "name": "old", "path": "/", "value": "x", "expirationDate": EARLIER},
        {"domain": "huggingface.co", "name": "empty", "path": "/", "value": ""},
        "no cookie at all",
    ]


def _plain(cookies: dict[str, Secret]) -> dict[str, str]:
    return {name: value.reveal() for name, value in cookies.items()}


# Without sites


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("hf-chat=abc; token=xyz", {"hf-chat": "abc", "token": "xyz"}),
        ("Cookie: hf-chat=abc;token=x=y==", {"hf-chat": "abc", "token": "x=y=="}),
        ("  cookie:hf-chat=abc ;; ", {"hf-chat": "abc"}),
        ("76197df2-4d6b-47c1-adc4-d8b0638cd088", {"hf-chat": "76197df2-4d6b-47c1-adc4-d8b0638cd088"}),
        ("c0ffee" * 10 + "\n", {"hf-chat": "c0ffee" * 10}),
        ("YWJjZGVmZ2hpamtsbW5vcA==", {"hf-chat": "YWJjZGVmZ2hpamtsbW5vcA=="}),
        ("hf-chat=looks/like/a/path.txt", {"hf-chat": "looks/like/a/path.txt"}),
    ],
)
def test_text(text: str, found: dict[str, str]) -> None:
    """The text of a header is split; a bare value is the session cookie's; surrounding space is removed."""
    assert _plain(parse_cookies(text)) == found


def test_mappings() -> None:
    """A mapping is used without its empty values; so is a SimpleCookie."""
    assert _plain(parse_cookies({"hf-chat": "abc", "token": Secret("x"), "empty": ""})) == {"hf-chat": "abc", "token": "x"}
    simple: SimpleCookie = SimpleCookie("hf-chat=abc; token=xyz")
    assert _plain(parse_cookies(simple)) == {"hf-chat": "abc", "token": "xyz"}


@pytest.mark.parametrize("bad", ["", "   ", ";;", "Cookie:", {}, {"hf-chat": ""}])
def test_input_without_cookies(bad: CookiesLike) -> None:
    """Input without cookies is an error that shows the expected form."""
    with pytest.raises(CredentialsError, match=r"hf-chat=\.\.\.; token="):
        parse_cookies(bad)


@pytest.mark.parametrize(
    "bad",
    [{"hf-chat": "abc\r\nX-Evil: 1"}, {"hf-chat": "sec;ret"}, {"se cret": "v"}, {"hf-chat": "secre\u20act"}, "sec ret secret"],
)
def test_characters_that_headers_cannot_carry(bad: CookiesLike) -> None:
    """Characters that would break the header are refused, and the pasted text is not shown."""
    with pytest.raises(CredentialsError) as caught:
        parse_cookies(bad)
    assert "sec" not in str(caught.value)
    assert "Evil" not in str(caught.value)


def test_a_hub_token_is_not_a_cookie() -> None:
    """For a pasted token, the error says what it is for."""
    with pytest.raises(CredentialsError, match="pass it as token="):
        parse_cookies("hf_abcdefghijklmnopqrstuvwxyz")


def test_another_type() -> None:
    """An unsupported type is an error of the call."""
    with pytest.raises(InvalidInputError, match="int"):
        parse_cookies(3, HF)  # type: ignore[arg-type]


@given(st.text())
def test_any_text(text: str) -> None:
    """Any pasted text gives cookies or an hfclient error."""
    try:
        found = parse_cookies(text, HF)
    except HFClientError:
        return
    assert found
    assert all(name and value.reveal() for name, value in found.items())


# Exports


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_netscape(tmp_path: Path, ending: str) -> None:
    """From a cookies.txt, the cookies that a browser would send to the chat are used, including HttpOnly ones."""
    text = NETSCAPE.replace("\n", ending)
    assert _plain(parse_cookies(text, HF)) == NETSCAPE_FOUND
    file = tmp_path / "cookies.txt"
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    file.chmod(0o600)
    assert _plain(parse_cookies(file, HF)) == NETSCAPE_FOUND
    assert _plain(parse_cookies(str(file), HF)) == NETSCAPE_FOUND


def test_netscape_with_spaces() -> None:
    """Spaces in place of tabs (from a terminal) are accepted."""
    assert _plain(parse_cookies(NETSCAPE.replace("\t", "   "), HF)) == NETSCAPE_FOUND


def test_netscape_of_the_standard_library(tmp_path: Path) -> None:
    """Files that the standard library's jar saves are read, and so is the jar."""
    file = tmp_path / "exported"
    file.write_text(NETSCAPE)
    file.chmod(0o600)
    jar = MozillaCookieJar(str(file))
    jar.load(ignore_discard=True, ignore_expires=True)
    assert _plain(parse_cookies(jar, HF)) == NETSCAPE_FOUND
    jar.save(ignore_discard=True, ignore_expires=True)
    assert _plain(parse_cookies(file, HF)) == NETSCAPE_FOUND


def test_json(tmp_path: Path) -> None:
    """The JSON of browser extensions: as a file, as text, decoded, or inside a test driver's storage state."""
    found = {"hf-chat": "chat-secret", "token": "t"}
    text = json.dumps(_extension_json(), indent=4)
    file = tmp_path / "cookies.json"
    file.write_text(text)
    file.chmod(0o600)
    for given_ in (file, str(file), text, "  " + text, _extension_json(), {"cookies": _extension_json(), "origins": []}):
        assert _plain(parse_cookies(given_, HF)) == found
    assert _plain(parse_cookies(json.dumps({"cookies": _extension_json()}), HF)) == found


@pytest.mark.parametrize(
    ("expiry", "lives"),
    [
        ({"expires": LATER}, True),
        ({"expires": LATER * 1000}, True),
        ({"expiry": EARLIER}, False),
        ({"expires": -1}, True),
        ({"expires": "2001-02-03T04:05:06.000Z"}, False),
        ({"expires": "2099-02-03T04:05:06Z"}, True),
        ({"expirationDate": str(EARLIER)}, False),
        ({"expirationDate": EARLIER * 1000}, False),
        ({"expirationDate": EARLIER, "session": True}, True),
        ({"expires": "Session"}, True),
        ({"expires": None}, True),
        ({}, True),
    ],
)
def test_json_times(expiry: dict[str, Any], lives: bool) -> None:
    """Seconds, milliseconds, dates, and the notations of a session cookie."""
    export = [{"name": "hf-chat", "value": "v", "domain": "huggingface.co", **expiry}]
    if lives:
        assert _plain(parse_cookies(export, HF)) == {"hf-chat": "v"}
    else:
        with pytest.raises(CredentialsError, match="expired"):
            parse_cookies(export, HF)


def test_plain_json(tmp_path: Path) -> None:
    """A file with only names and values is accepted, too."""
    file = tmp_path / "saved.json"
    file.write_text('{"hf-chat": "abc", "token": "xyz", "version": 3}')
    file.chmod(0o600)
    assert _plain(parse_cookies(file, HF)) == {"hf-chat": "abc", "token": "xyz"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://huggingface.co/chat", {"exact", "dotted", "below"}),
        ("https://huggingface.co:8443/chat/", {"exact", "dotted", "below"}),
        ("https://huggingface.co/chatter", {"exact", "dotted"}),
        ("https://chat.huggingface.co", {"dotted"}),
        ("http://huggingface.co/chat", {"dotted", "below"}),
    ],
)
def test_matching_cookies(url: str, expected: set[str]) -> None:
    """Host, subdomain, path and plain http decide as in a browser; the port does not."""
    cookies = [
        {"name": "exact", "value": "1", "domain": "huggingface.co", "hostOnly": True, "secure": True},
        {"name": "dotted", "value": "1", "domain": ".huggingface.co"},
        {"name": "below", "value": "1", "domain": "huggingface.co", "path": "/chat", "hostOnly": True},
        {"name": "too-wide", "value": "1", "domain": ".co"},
        {"name": "other", "value": "1", "domain": "gface.co"},
        {"name": "deeper", "value": "1", "domain": "hub.chat.huggingface.co"},
    ]
    assert set(parse_cookies(cookies, url)) == expected


@pytest.mark.parametrize("url", ["http://localhost:3000", "http://127.0.0.1:3000", "http://[::1]:3000/x"])
def test_this_machine(url: str) -> None:
    """Browsers send secure cookies to this machine over plain http, and addresses have no subdomains."""
    host = url.split("//")[1].rsplit(":", 1)[0].strip("[]")
    cookies = [
        {"name": "hf-chat", "value": "1", "domain": host, "secure": True},
        {"name": "no", "value": "1", "domain": ".0.0.1"},
    ]
    assert set(parse_cookies(cookies, url)) == {"hf-chat"}


def test_the_most_specific_cookie_wins() -> None:
    """Of two cookies with one name, only the one with the longer path is sent."""
    cookies = [
        {"name": "hf-chat", "value": "chat", "domain": "huggingface.co", "path": "/chat"},
        {"name": "hf-chat", "value": "host", "domain": "huggingface.co", "path": "/"},
    ]
    assert _plain(parse_cookies(cookies, HF)) == {"hf-chat": "chat"}
    assert _plain(parse_cookies(cookies[::-1], HF)) == {"hf-chat": "chat"}


def test_of_another_site(tmp_path: Path) -> None:
    """An export of another site is refused; the error names both."""
    file = tmp_path / "cookies.txt"
    file.write_text(NETSCAPE)
    file.chmod(0o600)
    with pytest.raises(CredentialsError, match=r"none of the 7 cookies in .*cookies.txt belongs to chat.example.org"):
        parse_cookies(file, "https://chat.example.org")


def test_expired() -> None:
    """If the login of an export has expired, the error has the date, even if other cookies are valid."""
    text = NETSCAPE.replace(str(LATER), str(EARLIER), 1)
    with pytest.raises(CredentialsError, match=time.strftime("%Y-%m-%d", time.gmtime(EARLIER))) as caught:
        parse_cookies(text, HF)
    assert "secret" not in str(caught.value)


def test_https_only() -> None:
    """A login that is sent over https only is not sent to a plain http server on another machine."""
    cookies = [{"name": "hf-chat", "value": "v", "domain": "chat.example.org", "secure": True}]
    with pytest.raises(CredentialsError, match="https only"):
        parse_cookies(cookies, "http://chat.example.org")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no cookie was found"),
        (b"hello", "no cookie was found"),
        (b'[{"name": "hf-chat", "val', "cut off"),
        (b"[]", "has no cookies"),
        (b'{"a": 1}', "has no cookies"),
        (b"[" * 100_000, "cut off"),
        (b"\xff\xfe\x00\x01", "no cookie was found"),
        (b"SQLite format 3\0" + bytes(100), "no cookie was found"),
    ],
)
def test_not_an_export(tmp_path: Path, content: bytes, why: str) -> None:
    """Any other file is refused; the error has its name."""
    file = tmp_path / "cookies.txt"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(CredentialsError, match=why) as caught:
        parse_cookies(file, HF)
    assert "cookies.txt" in str(caught.value)


@pytest.mark.parametrize("path", ["missing.json", "~/missing.txt", "./missing", "/nowhere/cookies", "bad\0name.txt"])
def test_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Text that looks like a path of a missing file is an error, and is not sent as a cookie."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CredentialsError, match="cannot be read"):
        parse_cookies(path, HF)


def test_errors_hold_no_secrets(tmp_path: Path) -> None:
    """Neither the text of an error nor the objects reachable from it have the content of the file."""
    file = tmp_path / "cookies.json"
    file.write_text('[{"name": "hf-chat", "value": "chat-secret"')
    file.chmod(0o600)
    with pytest.raises(CredentialsError) as caught:
        parse_cookies(file, HF)
    error: BaseException | None = caught.value
    while error is not None:
        assert "chat-secret" not in f"{error} {error!r} {vars(error)}"
        error = error.__cause__ or error.__context__


def test_readable_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that others may read is read, and logged once."""
    file = tmp_path / "loose.txt"
    file.write_text(NETSCAPE)
    file.chmod(0o644)
    with caplog.at_level(logging.WARNING, "hfclient"):
        for _ in range(3):
            assert "hf-chat" in parse_cookies(file, HF)
    assert [text for record in caplog.records if "chmod" in (text := record.getMessage())] == [
        f"{file} has cookies, and other users of this machine may read it: chmod 600 {file}"
    ]


def test_where_the_url_is_needed() -> None:
    """Cookies of several sites need the chat server's URL."""
    with pytest.raises(InvalidInputError, match="chat_url"):
        parse_cookies(NETSCAPE)


# Jars


def test_jars() -> None:
    """The jars of requests and curl_cffi, with and without a domain."""
    jar = requests.Session().cookies
    jar.set("hf-chat", "anywhere")
    jar.set("token", "t", domain="huggingface.co")
    jar.set("other", "x", domain="example.org")
    assert _plain(parse_cookies(jar, HF)) == {"hf-chat": "anywhere", "token": "t"}
    curl_cffi = pytest.importorskip("curl_cffi.requests")
    theirs = curl_cffi.Cookies()
    theirs.set("hf-chat", "c", domain=".huggingface.co", secure=True)
    theirs.set("other", "x", domain="example.org")
    assert _plain(parse_cookies(theirs, HF)) == {"hf-chat": "c"}


def test_an_empty_jar() -> None:
    """A jar without cookies is an error; the client does not silently become anonymous."""
    with pytest.raises(CredentialsError, match="cookie jar has no cookies"):
        find_cookies(CookieJar(), {}, HF)
    with pytest.raises(CredentialsError, match="cookie jar has no cookies"):
        find_cookies(requests.Session().cookies, {}, HF)


# Browsers


def _firefox(home: Path, version: int) -> None:
    """Create the cookie database of a Firefox profile."""
    profile = home / ".mozilla" / "firefox" / "abc.default-release"
    profile.mkdir(parents=True)
    unit = 1000 if version >= 16 else 1
    database = sqlite3.connect(profile / "cookies.sqlite")
    with database:
        database.execute(f"PRAGMA user_version = {version}")
        database.execute(
            "CREATE TABLE moz_cookies (id INTEGER PRIMARY KEY, originAttributes TEXT NOT NULL DEFAULT '', name TEXT, "
            "value TEXT, host TEXT, path TEXT, expiry INTEGER, isSecure INTEGER, isHttpOnly INTEGER)"
        )
        database.executemany(
            "INSERT INTO moz_cookies (name, value, host, path, expiry, isSecure, isHttpOnly) VALUES (?, ?, ?, ?, ?, 1, 1)",
            [
                ("hf-chat", "chat-secret", "huggingface.co", "/", LATER * unit),
                ("token", "t", ".huggingface.co", "/", LATER * unit),
                ("old", "x", "huggingface.co", "/", EARLIER * unit),
                ("SID", "google-secret", ".google.com", "/", LATER * unit),
            ],
        )
    database.close()


@pytest.mark.parametrize("version", [12, 16])
@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="profiles lie elsewhere there")
def test_firefox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: int) -> None:
    """The cookies of a Firefox profile, with times in seconds and in milliseconds; the default profile or a named one."""
    pytest.importorskip("yt_dlp")
    monkeypatch.setenv("HOME", str(tmp_path))
    _firefox(tmp_path, version)
    for name in ("browser:firefox", "browser: Firefox", "browser:firefox:abc.default-release"):
        assert _plain(parse_cookies(name, HF)) == {"hf-chat": "chat-secret", "token": "t"}
    with pytest.raises(CredentialsError, match=r"none of the 4 cookies in firefox belongs to example\.org"):
        parse_cookies("browser:firefox", "https://example.org")
    with pytest.raises(CredentialsError, match=r"cookies of firefox cannot be read.*export them"):
        parse_cookies("browser:firefox:no-such-profile", HF)


def test_unknown_browser() -> None:
    """An unsupported browser is refused with the list of supported ones."""
    pytest.importorskip("yt_dlp")
    with pytest.raises(CredentialsError, match=r"'netscape'.*firefox"):
        parse_cookies("browser:netscape", HF)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the error has the command that installs it."""
    monkeypatch.setitem(sys.modules, "yt_dlp", None)
    monkeypatch.setitem(sys.modules, "yt_dlp.cookies", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "hfclient\[browser\]"'):
        parse_cookies("browser:firefox", HF)


def test_the_extra_is_imported_late() -> None:
    """Creating a client with cookies does not import the reader of browser cookies."""
    code = "import hfclient, sys; hfclient.Client(cookies='a=b', token=''); print('yt_dlp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# The environment


def test_environment() -> None:
    """HFCLIENT_COOKIE is used without an argument; an empty argument means no cookies."""
    env = {"HFCLIENT_COOKIE": "hf-chat=env"}
    assert _plain(find_cookies(None, env, HF)) == {"hf-chat": "env"}
    assert _plain(find_cookies("hf-chat=arg", env, HF)) == {"hf-chat": "arg"}
    nothing: list[CookiesLike] = ["", {}, []]
    for empty in nothing:
        assert find_cookies(empty, env, HF) == {}
    assert find_cookies(None, {"HFCLIENT_COOKIE": "  "}, HF) == {}
    assert find_cookies(None, {}, HF) == {}


def test_environment_takes_every_form(tmp_path: Path) -> None:
    """The variable may have any form of text, such as the path of an export."""
    file = tmp_path / "cookies.txt"
    file.write_text(NETSCAPE)
    file.chmod(0o600)
    assert _plain(find_cookies(None, {"HFCLIENT_COOKIE": str(file)}, HF)) == NETSCAPE_FOUND


@pytest.mark.parametrize(
    ("url", "more", "sent"),
    [
        (HF, {}, True),
        ("https://hf.co/chat", {}, True),
        ("http://127.0.0.1:3000", {}, True),
        ("http://localhost:3000/chat", {}, True),
        ("https://chat.example.org", {}, False),
        ("https://huggingface.co.example.org/chat", {}, False),
        ("http://huggingface.co/chat", {}, False),
        ("https://chat.example.org", {"HFCLIENT_BASE_URL": "https://chat.example.org/"}, True),
        ("https://other.example.org", {"HFCLIENT_BASE_URL": "https://chat.example.org/"}, False),
    ],
)
def test_the_hub_login_is_not_sent_to_other_servers(
    url: str, more: dict[str, str], sent: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A Hub login from the environment is not sent to any other server that a program names."""
    env = {"HFCLIENT_COOKIE": "hf-chat=c; token=hub-secret", **more}
    assert bool(find_cookies(None, env, url)) is sent
    assert ("HFCLIENT_COOKIE" in caplog.text) is not sent
    assert "secret" not in caplog.text
    assert find_cookies(None, {"HFCLIENT_COOKIE": "hf-chat=c", **more}, url)
    assert find_cookies("hf-chat=c; token=t", env, url)
