"""File names of a server stay in the folder; a file is written completely, privately if it is secret, or not at all."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfclient import Client, Image, StoredFile
from hfclient.credentials import LoginStore, SavedLogin, Secret
from hfclient.errors import CredentialsError, InvalidInputError
from hfclient.files.saving import free_path, safe_name, write_file
from tests.server import CLOSE, Server, head, json_answer, plain

ID = "65a000000000000000000001"
NAMES = [
    "../../etc/passwd",
    "..\\..\\windows\\system32\\x.dll",
    "/etc/passwd",
    "C:\\autoexec.bat",
    "\\\\server\\share\\x",
    "C:x",
    "x\0.png",
    "x\n.png",
    "CON",
    "con.txt",
    "CON .txt",
    "aux.tar.gz",
    "COM1",
    "COM\u00b9.txt",
    "LPT\u00b2",
    "CONIN$",
    "x:stream",
    "\u202egnp.exe",
    "a\u200b\u2066b",
    "a" * 5000,
    "\U0001f600" * 500,
    "." * 300,
    "..",
    ".",
    "",
    " ",
    "...",
    ".bashrc",
    "x.",
    "x ",
    "~/x",
    "%2e%2e%2fx",
    "\ud800",
    "x." + "y" * 300,
    "\u2025/\uff0fx",
    "-rf",
]
RESERVED = {
    "con",
    "prn",
    "aux",
    "nul",
    "conin$",
    "conout$",
    *(f"{n}{d}" for n in ("com", "lpt") for d in "123456789\u00b9\u00b2\u00b3"),
}


def _is_safe(name: str) -> None:
    assert name not in ("", ".", "..")
    assert not set(name) & set('/\\:*?"<>|\0')
    assert not any(ord(ch) < 32 or ch in "\u202e\u200b\u2066\x7f" for ch in name)
    assert not name.startswith((".", " "))
    assert not name.endswith((".", " "))
    assert len(os.fsencode(name)) <= 160
    assert name.partition(".")[0].strip().lower() not in RESERVED


@pytest.mark.parametrize("name", NAMES)
def test_names(name: str, tmp_path: Path) -> None:
    """A name becomes a single file name that all file systems accept."""
    safe = safe_name(name)
    _is_safe(safe)
    written = write_file(tmp_path / "in" / safe, [b"x"])
    assert written.resolve().parent == (tmp_path / "in").resolve()
    assert os.listdir(tmp_path) == ["in"]


@given(st.text(max_size=400))
def test_any_name(name: str) -> None:
    """Any text becomes a file name, and a safe name stays unchanged."""
    safe = safe_name(name)
    _is_safe(safe)
    assert safe_name(safe) == safe


@pytest.mark.parametrize(
    "name", ["../../evil.png", "/tmp/evil.png", "C:\\evil", "", "CON", "\u202egnp.exe", "a" * 1000]
)
def test_downloads_and_exports(server: Server, tmp_path: Path, name: str) -> None:
    """Files and titles of a conversation are saved in the given folder, whatever their names are."""
    server.on("*", plain(b"content"))
    message = {"id": "11111111-1111-4111-8111-111111111111", "from": "user", "content": "hi", "children": []}
    message["files"] = [{"type": "hash", "name": name, "value": "abc" * 8, "mime": "image/png"}]
    state = {"id": ID, "title": name, "model": "m", "messages": [message], "rootMessageId": message["id"]}
    server.on(f"/chat/api/v2/conversations/{ID}", json_answer({"json": state}))
    client = Client(f"{server.url}/chat", token="", cookies={"hf-chat": "c"})
    conversation = client.conversation(ID)
    folder = tmp_path / "in"
    folder.mkdir()
    saved = [conversation.download(StoredFile(name, "image/png", "abc" * 8), folder)]
    saved += [
        conversation.export(folder),
        Image(content=b"\x89PNG\r\n\x1a\n", mime="image/png", prompt=name).save(f"{folder}/"),
    ]
    client.close()
    for path in saved:
        assert isinstance(path, Path)
        assert path.resolve().parent == folder.resolve()
    assert os.listdir(tmp_path) == ["in"]
    for path in folder.rglob("*"):
        _is_safe(path.name)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """An existing file stays unless overwrite is set; so does one that appears during the write."""
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with pytest.raises(InvalidInputError, match="exists already"):
        write_file(path, [b"new"])
    assert write_file(path, [b"new"], overwrite=True).read_bytes() == b"new"

    def late() -> Iterator[bytes]:
        (tmp_path / "y").write_bytes(b"another's")
        yield b"ours"

    with pytest.raises(InvalidInputError, match="exists already"):
        write_file(tmp_path / "y", late())
    assert (tmp_path / "y").read_bytes() == b"another's"
    assert sorted(os.listdir(tmp_path)) == ["x", "y"]


def test_one_of_many_writers_wins(tmp_path: Path) -> None:
    """Of eight writers of the same new file, one succeeds, and the file is completely its own."""
    results: list[bytes] = []
    gate = threading.Barrier(8)

    def write(number: int) -> None:
        content = bytes([number]) * 100_000
        gate.wait()
        try:
            write_file(tmp_path / "x", [content])
        except InvalidInputError:
            return
        results.append(content)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [(tmp_path / "x").read_bytes()]
    assert os.listdir(tmp_path) == ["x"]


def test_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system without hard links, no file is lost either."""
    monkeypatch.setattr(os, "link", lambda *paths: (_ for _ in ()).throw(PermissionError(1, "no links")))
    assert write_file(tmp_path / "x", [b"new"]).read_bytes() == b"new"

    def late() -> Iterator[bytes]:
        (tmp_path / "y").write_bytes(b"another's")
        yield b"ours"

    with pytest.raises(InvalidInputError, match="exists already"):
        write_file(tmp_path / "y", late())
    assert (tmp_path / "y").read_bytes() == b"another's"
    assert sorted(os.listdir(tmp_path)) == ["x", "y"]


def test_an_interrupted_download(server: Server, tmp_path: Path) -> None:
    """After an interrupted download, the old file stays, and no other file is left."""
    server.on(f"/conversation/{ID}/output/abc", [head(200, "Content-Length: 100"), b"half", CLOSE])
    (tmp_path / "x").write_bytes(b"old")
    client = Client(server.url, token="", cookies={"hf-chat": "c"})
    with pytest.raises(Exception, match="ended before it was complete"):
        client.conversation(ID).download("abc", tmp_path / "x", overwrite=True)
    client.close()
    assert (tmp_path / "x").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.skipif(os.name != "posix", reason="symbolic links need a right on Windows")
def test_links_are_not_followed(tmp_path: Path) -> None:
    """A symbolic link at the target of a write is not followed, dangling or not."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    folder = tmp_path / "in"
    folder.mkdir()
    for name, target in (("there", victim), ("dangling", tmp_path / "nothing")):
        (folder / name).symlink_to(target)
        with pytest.raises(InvalidInputError, match="exists already"):
            write_file(folder / name, [b"x"])
        assert free_path(folder, name) == folder / f"{name}-2"
        write_file(folder / name, [b"ours"], overwrite=True)
        assert not (folder / name).is_symlink()
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "nothing").exists()


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_logins_are_private(tmp_path: Path, umask: int) -> None:
    """Saved logins have mode 0600 in a folder with 0700, for any umask, at all times."""
    path = tmp_path / "home" / "logins.json"
    seen: set[int] = set()
    real = os.open

    def watched(*args: object, **kwargs: object) -> int:
        descriptor: int = real(*args, **kwargs)  # type: ignore[arg-type]
        if str(args[0]).startswith(str(tmp_path / "home")) and not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            seen.add(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return descriptor

    if umask == 0o777 and os.geteuid() != 0:
        pytest.skip("root can write to any folder")
    before = os.umask(umask)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "open", watched)
            LoginStore(path).put("https://a.example", SavedLogin({"hf-chat": Secret("c")}, "u"))
    finally:
        os.umask(before)
    assert not any(mode & 0o077 for mode in seen)
    assert not stat.S_IMODE(path.stat().st_mode) & 0o077
    assert not stat.S_IMODE(path.parent.stat().st_mode) & 0o077


def test_a_login_is_saved_atomically(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash between writing and renaming leaves the old logins, and no other file of secrets."""
    store = LoginStore(tmp_path / "logins.json")
    store.put("https://a.example", SavedLogin({"hf-chat": Secret("old")}, "u"))
    old = store.path.read_bytes()

    def stops(self: Path, target: object) -> None:
        raise OSError(5, "the disk is gone")

    monkeypatch.setattr(Path, "replace", stops)
    with pytest.raises(CredentialsError, match="the disk is gone"):
        store.put("https://a.example", SavedLogin({"hf-chat": Secret("new")}, "u"))
    assert store.path.read_bytes() == old
    assert sorted(os.listdir(tmp_path)) == ["logins.json", "logins.json.lock"]


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_readable_files_are_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file of cookies that others may read is logged once, with the command to fix it, without its content."""
    from hfclient.credentials import parse_cookies

    path = tmp_path / "cookies.txt"
    path.write_text("# Netscape\na.example\tFALSE\t/\tTRUE\t0\thf-chat\tvery-secret\n")
    path.chmod(0o644)
    for _ in range(2):
        parse_cookies(str(path), "https://a.example")
    assert [record.message for record in caplog.records].count(
        f"{path} has cookies, and other users of this machine may read it: chmod 600 {path}"
    ) == 1
    assert "very-secret" not in caplog.text
