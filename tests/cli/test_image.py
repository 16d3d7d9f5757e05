"""``hfclient image``: saving, patterns, partial results, previews, standard input and output."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from tests.cli.conftest import environment, start
from tests.cli.screens import on_screen
from tests.inference.test_media import PNG
from tests.server import LONG, PATIENCE, Recorded, Server, json_answer

PATH = "/v1/images/generations"


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def made(*contents: bytes) -> bytes:
    return json_answer({"data": [{"b64_json": base64.b64encode(content).decode()} for content in contents or (PNG,)]})


@pytest.fixture
def painter(server: Server) -> Server:
    """An OpenAI-compatible server that makes one image for each request."""
    server.on(PATH, made())
    return server


def paint(server: Server, *arguments: str) -> tuple[str, ...]:
    return ("image", *arguments, "--inference-url", server.url, "-m", "painter")


def test_saved_and_named(painter: Server, command: Any, tmp_path: Path) -> None:
    """The image is named for its prompt, its path is printed, and prompt and model are in its metadata."""
    code, out, err = command(*paint(painter, "a", "red", "fox"))
    assert (code, out, err) == (0, "a red fox.png\n", "")
    with PIL.Image.open(tmp_path / "a red fox.png") as found:
        assert found.info["prompt"] == "a red fox"
    assert painter.last.json()["prompt"] == "a red fox"
    assert command(*paint(painter, "a red fox", "--no-metadata"))[1] == "a red fox-2.png\n"
    assert (tmp_path / "a red fox-2.png").read_bytes() == PNG


def test_as_json(painter: Server, command: Any) -> None:
    """All that is known, without the bytes and the link."""
    _, out, _ = command(*paint(painter, "a fox", "--json", "-o", "x"))
    found = json.loads(out)
    assert (found["path"], found["mime"], found["width"], found["height"]) == ("x.png", "image/png", 16, 8)
    assert (found["bytes"], found["prompt"], found["model"]) == (len(PNG), "a fox", "painter")
    assert not {"content", "url"} & set(found)


@pytest.mark.parametrize(
    ("target", "paths"),
    [
        ("fox.png", ["fox-1.png", "fox-2.png"]),
        ("out/", ["out/a fox.png", "out/a fox-2.png"]),
        ("{slug}-{i:03d}.png", ["a-fox-000.png", "a-fox-001.png"]),
        ("{model}/{i}.png", ["painter/0.png", "painter/1.png"]),
        ("new/{i}", ["new/0.png", "new/1.png"]),
    ],
)
def test_several(painter: Server, command: Any, tmp_path: Path, target: str, paths: list[str]) -> None:
    """Each has a name of its own."""
    code, out, _ = command(*paint(painter, "a fox", "-n", "2", "-o", target))
    assert code == 0
    assert out.split("\n")[:-1] == paths
    assert all((tmp_path / path).exists() for path in paths)


def test_nothing_is_overwritten(painter: Server, command: Any, tmp_path: Path) -> None:
    """An existing file is noticed before anything is paid for; --overwrite replaces it."""
    (tmp_path / "fox.png").write_text("mine")
    code, out, err = command(*paint(painter, "a fox", "-o", "fox.png"))
    assert (code, out) == (2, "")
    assert "--overwrite" in err
    assert not painter.requests
    assert command(*paint(painter, "a fox", "-o", "fox.png", "--overwrite"))[0] == 0
    assert (tmp_path / "fox.png").read_bytes().startswith(b"\x89PNG")


def test_another_format(painter: Server, command: Any, tmp_path: Path) -> None:
    """A file gets the suffix of what came, with a note."""
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (4, 4)).save(buffer, "JPEG")
    painter.on(PATH, made(buffer.getvalue()))
    code, out, err = command(*paint(painter, "a fox", "-o", "fox.png"))
    assert (code, out, err) == (0, "fox.jpg\n", "hfclient: this is image/jpeg, so it was saved as fox.jpg\n")


def test_what_cannot_be_saved_is_kept(painter: Server, command: Any, tmp_path: Path) -> None:
    """An image that was paid for goes to the folder for temporary files if its place cannot be written."""
    (tmp_path / "file").write_text("")
    code, out, err = command(*paint(painter, "a fox", "-o", "file/fox.png"))
    assert (code, out) == (2, "")
    saved = err.partition("it was saved as ")[2].partition("\n")[0]
    assert Path(saved).read_bytes().startswith(b"\x89PNG")


def test_some_of_several(painter: Server, command: Any, tmp_path: Path) -> None:
    """If the third of four fails, two are saved, and the error says so."""
    painter.on(PATH, made(), made(), json_answer({"error": {"message": "no more"}}, 400))
    code, out, err = command(*paint(painter, "a fox", "-n", "4", "-o", "{i}.png"))
    assert (code, out) == (1, "0.png\n1.png\n")
    first, second = err.split("\n")[:-1]
    assert first == "hfclient: 2 of 4 images were made and saved"
    assert "no more" in second


def test_interrupted(painter: Server, tmp_path: Path) -> None:
    """Ctrl-C keeps what was made, and the exit code is 130."""
    painter.on(PATH, made(), [PATIENCE])
    process = start(*paint(painter, "a fox", "-n", "3", "-o", "{i}.png"), cwd=tmp_path)
    painter.wait_for(2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=LONG)
    assert (process.returncode, out) == (130, b"0.png\n")
    assert err == b"hfclient: 1 of 3 images were made and saved\n"


def test_standard_input_and_output(painter: Server, tmp_path: Path) -> None:
    """- is the prompt on standard input; -o - writes the bytes."""
    process = start(*paint(painter, "-", "-o", "-"), stdin=subprocess.PIPE, cwd=tmp_path)
    out, err = process.communicate(b"a red fox\n", timeout=LONG)
    assert (process.returncode, out, err) == (0, PNG, b"")
    assert painter.last.json()["prompt"] == "a red fox"
    assert not list(tmp_path.glob("*.png"))


def test_a_loop_keeps_its_input(painter: Server, tmp_path: Path) -> None:
    """With a prompt in words, standard input is not read: `while read line` goes through all lines."""
    read, write = os.pipe()
    os.write(write, b"next line\n")
    process = start(*paint(painter, "a fox", "-o", "a.png"), stdin=read, cwd=tmp_path)
    process.communicate(timeout=LONG)
    os.close(write)
    with os.fdopen(read, "rb") as rest:
        assert rest.read() == b"next line\n"


def test_usage_errors(painter: Server, command: Any) -> None:
    """Each is one line, and nothing is sent."""
    for arguments in (["", "-o", "x"], ["fox", "-n", "0"], ["fox", "-n", "2", "-o", "-"], ["fox", "--seed", "-1"], ["fox", "--size", "big"], ["fox", "-o", "{i.__class__}.png"], ["fox", "-o", "{nothing}"]):
        code, out, err = command(*paint(painter, *arguments))
        assert (code, out, err.count("\n")) == (2, "", 1), arguments
        assert "Traceback" not in err
    assert not painter.requests


def test_an_image_to_change(server: Server, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--image sends the file; a missing one is an error before anything is sent."""
    seen: list[Recorded] = []

    def answer(request: Recorded) -> bytes:
        seen.append(request)
        return made()

    server.on("*", [answer])
    (tmp_path / "cat.png").write_bytes(PNG)
    code, _, err = command(*paint(server, "a tiger", "--image", "cat.png", "-o", "tiger.png"))
    assert (code, len(seen)) == (0, 1), err
    code, _, err = command(*paint(server, "a tiger", "--image", "dog.png", "-o", "tiger2.png"))
    assert (code, len(seen)) == (2, 1), err


@pytest.mark.parametrize("protocol", ["kitty", "iterm", "sixel"])
def test_preview(painter: Server, tmp_path: Path, protocol: str) -> None:
    """On a terminal that shows pictures the image comes above its path."""
    arguments = paint(painter, "a fox", "-o", str(tmp_path / "fox.png"), "--overwrite")
    shown = on_screen(*arguments, HFCLIENT_PICTURES=protocol)
    assert shown.code == 0
    start_of = {"kitty": b"\x1b_Ga=T", "iterm": b"\x1b]1337;File=", "sixel": b"\x1bP0;1q"}[protocol]
    assert shown.raw.startswith(start_of)
    assert shown.raw.endswith(b"fox.png\r\n")
    shown = on_screen(*arguments, "--no-preview", HFCLIENT_PICTURES=protocol)
    assert b"\x1b" not in shown.raw


def test_no_preview(painter: Server, tmp_path: Path) -> None:
    """A terminal that shows none gets the path, and with --preview a note; so do pipes."""
    arguments = paint(painter, "a fox", "-o", str(tmp_path / "fox.png"), "--overwrite")
    shown = on_screen(*arguments, TERM="dumb")
    assert shown.raw.strip().endswith(b"fox.png")
    assert b"\x1b" not in shown.raw
    shown = on_screen(*arguments, "--preview", TERM="dumb")
    assert "HFCLIENT_PICTURES" in shown.text
    process = start(*arguments, env=environment(HFCLIENT_PICTURES="kitty"))
    out, _ = process.communicate(timeout=LONG)
    assert b"\x1b" not in out
