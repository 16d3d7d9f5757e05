"""The file of saved logins: its modes, concurrent writers, and damaged files."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import pickle
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hfclient.credentials import Credentials, LoginStore, SavedLogin, Secret, locks
from hfclient.credentials.locks import file_lock
from hfclient.errors import CredentialsError
from tests.server import PATIENCE

HF = "https://huggingface.co/chat"
OWN = "http://chat.example.org:3000"

posix = pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
forking = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


def _login(value: str = "c1", user: str = "u1", **more: str) -> SavedLogin:
    return SavedLogin({"hf-chat": Secret(value), **{k: Secret(v) for k, v in more.items()}}, user, "ann", 1.0)


@pytest.fixture
def store(tmp_path: Path) -> LoginStore:
    return LoginStore(tmp_path / "new" / "logins.json")


# Where


def test_location_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HFCLIENT_HOME, else XDG_CONFIG_HOME, else ~/.config; without a home directory there is not a store."""

    def path(**env: str) -> Path:
        found = LoginStore.find(env)
        assert found is not None
        return found.path

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert path() == tmp_path / ".config" / "hfclient" / "logins.json"
    assert path(XDG_CONFIG_HOME="/xdg") == Path("/xdg/hfclient/logins.json")
    assert path(XDG_CONFIG_HOME="/xdg", HFCLIENT_HOME="~/mine") == tmp_path / "mine" / "logins.json"

    def no_home(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", no_home)
    assert LoginStore.find({}) is None
    assert not Credentials.find(token="", chat_url=HF, environ={}).has_session


def test_reading_creates_nothing(store: LoginStore) -> None:
    """Reading a login creates no file or folder."""
    assert store.get(HF) is None
    assert store.remove(HF) is False
    store.renew(HF, "u1", {"hf-chat": Secret("c2")})
    assert not store.path.parent.exists()


# What


def test_round_trip(store: LoginStore) -> None:
    """One entry for each server, for any form of its URL; saving again replaces it, removing deletes one."""
    store.put("HTTPS://HuggingFace.co:443/chat/", _login(token="t1"))
    store.put(OWN, _login("other", "u2"))
    assert store.get(HF) == _login(token="t1")
    assert store.get("http://chat.example.org:3000/") == _login("other", "u2")
    assert store.get("https://huggingface.co/chat2") is None
    assert store.get("http://huggingface.co/chat") is None
    store.put(HF, _login("c2"))
    assert store.get(HF) == _login("c2")
    assert store.remove(HF) is True
    assert (store.get(HF), store.remove(HF)) == (None, False)
    assert store.get(OWN) is not None


def test_repr(store: LoginStore) -> None:
    """Neither the store nor an entry shows secrets."""
    store.put(HF, _login("secret-value"))
    assert "secret-value" not in repr((store, store.get(HF), vars(store)))
    assert "secret-value" in store.path.read_text()


@posix
def test_modes(store: LoginStore) -> None:
    """The file and its folder are private for any umask, also after a rewrite."""
    old = os.umask(0)
    try:
        store.put(HF, _login())
        store.put(OWN, _login())
    finally:
        os.umask(old)
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in store.path.parent.iterdir()} == {0o600}
    assert sorted(file.name for file in store.path.parent.iterdir()) == ["logins.json", "logins.json.lock"]


@posix
def test_loose_modes(store: LoginStore, caplog: pytest.LogCaptureFixture) -> None:
    """A file that others may read is read, logged once, and made private by the next change."""
    store.put(HF, _login())
    store.path.chmod(0o644)
    with caplog.at_level(logging.WARNING, "hfclient"):
        assert store.get(HF) == store.get(HF) == _login()
    assert len(caplog.records) == 1
    assert f"chmod 600 {store.path}" in caplog.text
    store.put(OWN, _login())
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


@posix
def test_existing_folders_keep_their_mode(tmp_path: Path) -> None:
    """An existing folder keeps its mode; only new folders get one."""
    tmp_path.chmod(0o755)
    LoginStore(tmp_path / "logins.json").put(HF, _login())
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


@posix
def test_links_stay_links(tmp_path: Path) -> None:
    """A symbolic link to the file is followed, not replaced."""
    real = tmp_path / "real"
    real.mkdir()
    link = tmp_path / "logins.json"
    link.symlink_to(real / "kept.json")
    LoginStore(link).put(HF, _login())
    assert link.is_symlink()
    assert LoginStore(real / "kept.json").get(HF) == _login()


# Broken


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\x00\xff",
        b'{"version": 1}',
        b'{"version": 2, "logins": {}}',
        b'{"version": 1, "logins": []}',
        b'{"version": 1, "logins": {"https://huggingface.co/chat": null}}',
        b'{"version": 1, "logins": {"https://huggingface.co/chat": {"cookies": {}, "user_id": "u"}}}',
        b'{"version": 1, "logins": {"https://huggingface.co/chat": {"cookies": {"hf-chat": 1}, "user_id": "u"}}}',
        b'{"version": 1, "logins": {"https://huggingface.co/chat": {"cookies": {"a": "secret-value"}, "user',
        b'{"version": 1, "logins": {"x": {"cookies": {"a": "b"}, "user_id": "u", "saved_at": "yesterday"}}}',
        b"[" * 100_000,
        b" " * 2_000_000,
    ],
    ids=range(15),
)
def test_damaged(store: LoginStore, content: bytes) -> None:
    """A file with other content is an error that names it, for reading and for writing; the file is unchanged."""
    store.path.parent.mkdir()
    store.path.write_bytes(content)
    store.path.chmod(0o600)
    for call in (
        lambda: store.get(HF),
        lambda: store.put(HF, _login()),
        lambda: store.remove(HF),
        lambda: Credentials.find(token="", chat_url=HF, environ={"HFCLIENT_HOME": str(store.path.parent)}),
    ):
        with pytest.raises(CredentialsError, match="damaged") as caught:
            call()
        assert str(store.path) in str(caught.value)
        assert "secret-value" not in str(caught.value)
    assert store.path.read_bytes() == content


def test_a_damaged_file_matters_only_if_needed(store: LoginStore) -> None:
    """With other cookies, or without any, a damaged file does not matter."""
    store.path.parent.mkdir()
    store.path.write_bytes(b"{")
    env = {"HFCLIENT_HOME": str(store.path.parent)}
    assert Credentials.find(token="", cookies="hf-chat=c", chat_url=HF, environ=env).has_session
    assert not Credentials.find(token="", cookies="", chat_url=HF, environ=env).has_session
    assert Credentials.find(token="", chat_url=HF, environ={**env, "HFCLIENT_COOKIE": "hf-chat=c"}).has_session


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_unreadable(store: LoginStore, caplog: pytest.LogCaptureFixture) -> None:
    """A file of another user is reported, and never replaced."""
    store.put(HF, _login())
    store.path.chmod(0)
    with caplog.at_level(logging.WARNING, "hfclient"):
        assert store.get(HF) is None
    assert "cannot be read" in caplog.text
    with pytest.raises(CredentialsError, match="cannot be changed"):
        store.put(OWN, _login())


def test_an_unreadable_file_is_not_replaced(store: LoginStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed read does not count as an empty file when a login is saved."""
    store.put(HF, _login())
    content = store.path.read_bytes()

    def failing(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("hfclient.credentials.secret_files.read_secret_file", failing)
    assert store.get(HF) is None
    with pytest.raises(CredentialsError, match="Permission denied"):
        store.put(OWN, _login())
    assert store.path.read_bytes() == content


@pytest.mark.parametrize("where", ["file/logins.json", "file"])
def test_a_folder_that_cannot_be_created(tmp_path: Path, where: str) -> None:
    """A folder that cannot be created is an error with the path."""
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "file").chmod(0o600)
    with pytest.raises(CredentialsError, match="file"):
        LoginStore(tmp_path / where).put(HF, _login())


def test_a_full_disk(store: LoginStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """If writing fails halfway, the old file stays, and no other file is left."""
    store.put(HF, _login())

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CredentialsError, match="No space left"):
        store.put(HF, _login("c2"))
    assert store.get(HF) == _login("c1")
    assert sorted(file.name for file in store.path.parent.iterdir()) == ["logins.json", "logins.json.lock"]


# Renewing


def test_renewing(store: LoginStore) -> None:
    """New values are added to the entry, and the time of the login stays."""
    store.put(HF, _login(token="t1"))
    store.put(OWN, _login())
    store.renew(HF, "u1", {"hf-chat": Secret("c2")})
    assert store.get(HF) == _login("c2", token="t1")
    assert store.get(OWN) == _login()


def test_unchanged_values_are_not_written(store: LoginStore) -> None:
    """Without a change nothing is written."""
    store.put(HF, _login())
    before = store.path.stat()
    store.renew(HF, "u1", {"hf-chat": Secret("c1")})
    after = store.path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_renewing_a_removed_login(store: LoginStore) -> None:
    """A client that runs on after a logout does not restore the login, nor change the login of another user."""
    store.put(HF, _login())
    store.remove(HF)
    store.renew(HF, "u1", {"hf-chat": Secret("c2")})
    assert store.get(HF) is None
    store.put(HF, _login("theirs", "u2"))
    store.renew(HF, "u1", {"hf-chat": Secret("c2")})
    assert store.get(HF) == _login("theirs", "u2")


# Two at once


def _save(path: str, number: int, count: int) -> None:
    store = LoginStore(path)
    for turn in range(count):
        store.put(f"http://localhost:{3000 + number}/{turn}", _login(f"{number}.{turn}", f"u{number}"))
        store.renew(HF, "u1", {f"rotated-{number}": Secret(str(turn))})


@forking
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_processes_lose_nothing(store: LoginStore, method: str) -> None:
    """Processes that save and renew at the same time keep all of each other's entries and values."""
    store.put(HF, _login())
    context = multiprocessing.get_context(method)
    started = [context.Process(target=_save, args=(str(store.path), number, 15)) for number in range(3)]
    for process in started:
        process.start()
    for process in started:
        process.join(2 * PATIENCE)
    assert [process.exitcode for process in started] == [0, 0, 0]
    for number in range(3):
        for turn in range(15):
            login = store.get(f"http://localhost:{3000 + number}/{turn}")
            assert login is not None
            assert login.cookies == {"hf-chat": f"{number}.{turn}"}
    login = store.get(HF)
    assert login is not None
    assert login.cookies == {"hf-chat": "c1", "rotated-0": "14", "rotated-1": "14", "rotated-2": "14"}


@pytest.mark.usefixtures("lock_kind")
def test_threads_lose_nothing(store: LoginStore) -> None:
    """Threads that save and renew at the same time keep all of each other's entries and values."""
    store.put(HF, _login())
    threads = [threading.Thread(target=_save, args=(str(store.path), number, 10)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    login = store.get(HF)
    assert login is not None
    assert login.cookies == {"hf-chat": "c1", **{f"rotated-{number}": "9" for number in range(4)}}
    assert not store.path.with_name("logins.json.lock.held").exists()


def test_readers_see_complete_files(store: LoginStore) -> None:
    """A reader during writes sees a complete version."""
    store.put(HF, _login())
    begun, enough = threading.Event(), threading.Event()

    def write() -> None:
        while not enough.is_set():
            _save(str(store.path), 0, 5)
            begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert begun.wait(PATIENCE)
        assert all(store.get(HF) is not None for _ in range(100))
    finally:
        enough.set()
        writer.join()


# The lock


def _no_flock(descriptor: int, operation: int) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


@pytest.fixture(params=["flock", "lock file"])
def lock_kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Locks of the operating system, and the lock files that replace them on file systems without any."""
    kind = str(request.param)
    if kind == "lock file":
        monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", _no_flock)
    return kind


@pytest.mark.usefixtures("lock_kind")
def test_the_lock_excludes(tmp_path: Path) -> None:
    """A second caller gets the lock when it is free, and a TimeoutError when it stays taken."""
    path = tmp_path / "lock"
    with file_lock(path, 1.0), pytest.raises(TimeoutError), file_lock(path, 0.05):
        raise AssertionError("two hold it")
    with file_lock(path, 0.0):
        pass
    order: list[str] = []

    def wait() -> None:
        with file_lock(path, PATIENCE):
            order.append("second")

    with file_lock(path, 1.0):
        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(0.05)
        order.append("first")
    waiting.join(PATIENCE)
    assert order == ["first", "second"]


@pytest.mark.usefixtures("lock_kind")
def test_an_error_frees_the_lock(tmp_path: Path) -> None:
    """An error in the block frees the lock."""
    with pytest.raises(ZeroDivisionError), file_lock(tmp_path / "lock", 1.0):
        _ = 1 / 0
    with file_lock(tmp_path / "lock", 0.0):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_file_systems_without_locks(tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a network file system without locks, a lock file takes their place."""

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", flock)
    with file_lock(tmp_path / "lock", 1.0):
        assert (tmp_path / "lock.held").exists()
    assert not (tmp_path / "lock.held").exists()


def test_the_owner_has_died(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without locks of the operating system, an old lock file is replaced; a new one is not."""
    monkeypatch.setattr(locks, "fcntl", None)
    held = tmp_path / "lock.held"
    held.touch()
    with pytest.raises(TimeoutError), file_lock(tmp_path / "lock", 0.05):
        raise AssertionError("it is held")
    os.utime(held, (time.time() - 60, time.time() - 60))
    with file_lock(tmp_path / "lock", PATIENCE):
        assert held.exists()
    assert not held.exists()


def _hold(path: str, ready: Any, go_on: Any) -> None:
    with file_lock(Path(path), 1.0):
        ready.set()
        go_on.wait(PATIENCE)


def test_the_owner_is_killed(tmp_path: Path) -> None:
    """The operating system frees the lock of a process that was killed."""
    pytest.importorskip("fcntl")
    context = multiprocessing.get_context("spawn")
    ready, go_on = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(str(tmp_path / "lock"), ready, go_on))
    process.start()
    assert ready.wait(PATIENCE)
    with pytest.raises(TimeoutError), file_lock(tmp_path / "lock", 0.05):
        raise AssertionError("it is held")
    process.kill()
    process.join(2 * PATIENCE)
    with file_lock(tmp_path / "lock", PATIENCE):
        pass


# Clients with saved logins


def _found(store: LoginStore, **options: Any) -> Credentials:
    env = {"HFCLIENT_HOME": str(store.path.parent), **options.pop("environ", {})}
    return Credentials.find(token=options.pop("token", ""), chat_url=HF, environ=env, **options)


def test_order(store: LoginStore, tmp_path: Path) -> None:
    """Argument, environment, saved login; for the token: argument, environment, huggingface_hub's file."""
    store.put(HF, _login("saved"))
    env = {"HFCLIENT_COOKIE": "hf-chat=env"}
    assert _found(store, cookies="hf-chat=arg", environ=env).cookies() == {"hf-chat": "arg"}
    assert _found(store, environ=env).cookies() == {"hf-chat": "env"}
    assert _found(store).cookies() == {"hf-chat": "saved"}
    assert _found(store, cookies="").cookies() == {}
    file = tmp_path / "token"
    file.write_text("hf_file")
    found = _found(store, token=None, environ={"HF_TOKEN_PATH": str(file)})
    assert (found.token, found.cookies()) == ("hf_file", {"hf-chat": "saved"})
    assert [_found(store).is_saved, _found(store, environ=env).is_saved] == [True, False]


def test_clients_are_apart(store: LoginStore) -> None:
    """Two clients of one process share no credentials."""
    store.put(HF, _login("saved"))
    one, two, mine = _found(store), _found(store), _found(store, cookies={"hf-chat": "mine"})
    one.keep_cookies(f"{HF}/conversation", ["hf-chat=rotated; Path=/"])
    assert [c.cookies()["hf-chat"] for c in (one, two, mine)] == ["rotated", "saved", "mine"]


def test_rotation_waits_for_confirmation(store: LoginStore) -> None:
    """Rotated cookies are saved after they are confirmed to be the same user's."""
    store.put(HF, _login(token="t1"))
    made = _found(store)
    made.keep_cookies(f"{HF}/x", ["hf-chat=c2; Path=/"])
    assert made.has_unconfirmed_cookies
    assert store.get(HF) == _login(token="t1")
    made.confirm_cookies(made.cookies(), "u1")
    assert not made.has_unconfirmed_cookies
    assert store.get(HF) == _login("c2", token="t1")


def test_rotation_back(store: LoginStore) -> None:
    """Another user's cookie is replaced by the previous one, however many came in between."""
    store.put(HF, _login(token="t1"))
    made = _found(store)
    for value in ("s1", "s2", "s3"):
        made.keep_cookies(f"{HF}/x", [f"hf-chat={value}; Path=/", "affinity=node-7"])
    made.restore_cookies(made.cookies())
    assert made.cookies() == {"hf-chat": "c1", "token": "t1", "affinity": "node-7"}
    assert not made.has_unconfirmed_cookies
    made.keep_cookies(f"{HF}/x", ["hf-chat=c1; Path=/"])
    assert not made.has_unconfirmed_cookies


@pytest.mark.parametrize(
    "line",
    [
        "hf-chat=; Max-Age=0; Path=/",
        "hf-chat=gone; Max-Age=-1",
        "hf-chat=gone; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "hf-chat=c1; Expires=nonsense",
        "hf-chat",
        "",
    ],
)
def test_no_rotation(store: LoginStore, line: str) -> None:
    """A cookie that is deleted, set to its own value, or new does not count as rotated."""
    store.put(HF, _login())
    made = _found(store)
    made.keep_cookies(f"{HF}/x", [line])
    assert (made.cookies(), made.has_unconfirmed_cookies) == ({"hf-chat": "c1"}, False)


def test_rotation_of_given_cookies_is_not_saved(store: LoginStore) -> None:
    """A client with its own cookies never writes into the saved login."""
    store.put(HF, _login())
    made = _found(store, cookies={"hf-chat": "mine"})
    made.keep_cookies(f"{HF}/x", ["hf-chat=rotated"])
    made.confirm_cookies(made.cookies(), "u1")
    assert made.cookies() == {"hf-chat": "rotated"}
    assert store.get(HF) == _login()


def test_saving_may_fail(store: LoginStore, caplog: pytest.LogCaptureFixture) -> None:
    """If rotated cookies cannot be saved, the client works on and logs it."""
    store.put(HF, _login())
    made = _found(store)
    store.path.write_bytes(b"{")
    made.keep_cookies(f"{HF}/x", ["hf-chat=rotated-secret"])
    with caplog.at_level(logging.WARNING, "hfclient"):
        made.confirm_cookies(made.cookies(), "u1")
    assert made.cookies() == {"hf-chat": "rotated-secret"}
    assert str(store.path) in caplog.text
    assert "rotated-secret" not in caplog.text


def test_reload(store: LoginStore) -> None:
    """A login that another process renewed is loaded, if it is the same user's."""
    store.put(HF, _login(token="t1"))
    made = _found(store)
    assert not made.reload_login()
    store.put(HF, _login("c2", token="t2"))
    assert made.reload_login()
    assert made.cookies() == {"hf-chat": "c2", "token": "t2"}
    store.put(HF, _login("theirs", "u2"))
    assert not made.reload_login()
    store.remove(HF)
    assert not made.reload_login()
    assert made.cookies() == {"hf-chat": "c2", "token": "t2"}


def test_pickled(store: LoginStore) -> None:
    """A client's configuration in another process saves to the same store."""
    store.put(HF, _login())
    again: Credentials = pickle.loads(pickle.dumps(_found(store)))
    again.keep_cookies(f"{HF}/x", ["hf-chat=c2"])
    again.confirm_cookies(again.cookies(), "u1")
    assert store.get(HF) == _login("c2")


def _rotate(path: str, number: int, count: int) -> None:
    made = Credentials.find(token="", chat_url=HF, environ={"HFCLIENT_HOME": path})
    for turn in range(count):
        made.keep_cookies(f"{HF}/x", [f"hf-chat={number}.{turn}"])
        made.confirm_cookies(made.cookies(), "u1")


def test_two_processes_rotate(store: LoginStore) -> None:
    """Clients of two processes that save rotated cookies at the same time leave a complete login."""
    store.put(HF, _login("c1", token="t1"))
    store.put(OWN, _login("own"))
    context = multiprocessing.get_context("spawn")
    started = [context.Process(target=_rotate, args=(str(store.path.parent), number, 25)) for number in (1, 2)]
    for process in started:
        process.start()
    for process in started:
        process.join(2 * PATIENCE)
    assert [process.exitcode for process in started] == [0, 0]
    assert store.get(HF) in (_login("1.24", token="t1"), _login("2.24", token="t1"))
    assert store.get(OWN) == _login("own")


@forking
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_while_locked(store: LoginStore) -> None:
    """A child that was forked while another thread held the credentials' lock can use them."""
    made = _found(store, cookies={"hf-chat": "c"})
    context = multiprocessing.get_context("fork")
    with made._lock:
        process = context.Process(target=made.headers_for, args=(f"{HF}/x",))
        process.start()
    process.join(2 * PATIENCE)
    try:
        assert process.exitcode == 0
    finally:
        process.kill()


def test_repr_hides_pasted_text() -> None:
    """A whole secret that was pasted as a cookie's name is not shown."""
    made = Credentials.find(token="", cookies="a-very-long-secret-that-was-pasted-whole=x", chat_url=HF, environ={})
    assert "secret" not in repr(made)
