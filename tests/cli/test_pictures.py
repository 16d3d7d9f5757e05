"""Pictures in a terminal: the exact sequences, read back as a terminal reads them, and which terminals get them."""

from __future__ import annotations

import base64
import io
import re
import sys
from typing import Any

import PIL.Image
import pytest

from hfclient.cli.rendering import pictures
from hfclient.cli.rendering.pictures import Area, detect, encode
from hfclient.cli.rendering.sixel import sixel
from tests.server import PATIENCE

AREA = Area(80, 24, (10, 20))
KITTY = re.compile(rb"\x1b_G([^;\x1b]*);([A-Za-z0-9+/=]*)\x1b\\")
ITERM = re.compile(rb"\x1b\]1337;File=([^:\x07]*):([A-Za-z0-9+/=]*)\x07")


def picture(width: int = 40, height: int = 20, mode: str = "RGB", kind: str = "PNG") -> bytes:
    """A picture with a red left half and a blue right half."""
    image = PIL.Image.new(mode, (width, height), "red")
    image.paste("blue", (width // 2, 0, width, height))
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def read_kitty(data: bytes) -> tuple[dict[str, str], bytes]:
    """Read the sequences as kitty's specification says; nothing else may be between them."""
    found = KITTY.findall(data)
    assert KITTY.sub(b"", data) == b"\r\n"
    keys = [dict(part.split("=") for part in key.decode().split(",")) for key, _ in found]
    assert all(len(payload) <= 4096 and len(payload) % 4 == 0 for _, payload in found)
    assert [key["m"] for key in keys] == ["1"] * (len(found) - 1) + ["0"]
    assert all(set(key) == {"q", "m"} for key in keys[1:])
    return keys[0], base64.b64decode(b"".join(payload for _, payload in found))


def read_sixel(data: bytes) -> tuple[tuple[int, int], dict[tuple[int, int], tuple[int, int, int]]]:
    """Draw the sixels; returns the size and the colour (in percent) of each pixel."""
    match = re.fullmatch(rb'\x1bP0;1q"1;1;(\d+);(\d+)([#$!\-;\d?-~]*)\x1b\\', data)
    assert match
    palette, pixels = {}, {}
    x = y = 0
    colour = -1
    for name, numbers, count, char in re.findall(rb"(#|\$|-)([\d;]*)|(!\d+)?([?-~])", match[3]):
        if name == b"#":
            values = [int(value) for value in numbers.split(b";")]
            colour = values[0]
            if len(values) == 5:
                palette[colour] = tuple(values[2:])
        elif name == b"$":
            x = 0
        elif name == b"-":
            x, y = 0, y + 6
        else:
            end = x + (int(count[1:]) if count else 1)
            bits = [bit for bit in range(6) if (char[0] - 63) >> bit & 1]
            pixels.update({(at, y + bit): palette[colour] for at in range(x, end) for bit in bits})
            x = end
    return (int(match[1]), int(match[2])), pixels  # type: ignore[return-value]


# The protocols


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_kitty(kind: str) -> None:
    """Any of the formats arrives as a PNG in pieces of at most 4096 characters."""
    keys, content = read_kitty(encode(picture(kind=kind), "kitty", AREA))
    assert keys == {"a": "T", "f": "100", "q": "2", "c": "4", "m": "0"}
    image = PIL.Image.open(io.BytesIO(content))
    assert (image.format, image.size) == ("PNG", (40, 20))
    red = image.convert("RGB").getpixel((2, 2))
    assert isinstance(red, tuple)
    assert red[0] > 240 > 30 > red[2]


def test_kitty_in_several_pieces() -> None:
    """A large picture is made as large as the terminal allows, and comes in several sequences."""
    noise = PIL.Image.effect_noise((3000, 1500), 90).convert("RGB")
    buffer = io.BytesIO()
    noise.save(buffer, "PNG", compress_level=0)
    data = encode(buffer.getvalue(), "kitty", AREA)
    assert len(KITTY.findall(data)) > 10
    keys, content = read_kitty(data)
    width, height = PIL.Image.open(io.BytesIO(content)).size
    assert (width, height) == (560, 280)  # 14 of 24 rows of 20 pixels
    assert keys["c"] == "56"


def test_iterm() -> None:
    """The file in base64, with its size and its width in columns."""
    data = encode(picture(), "iterm", AREA)
    ((keys, payload),) = ITERM.findall(data)
    assert ITERM.sub(b"", data) == b"\r\n"
    content = base64.b64decode(payload)
    assert keys == b"inline=1;size=%d;width=4;preserveAspectRatio=1" % len(content)
    assert PIL.Image.open(io.BytesIO(content)).size == (40, 20)


def test_sixel() -> None:
    """Drawing the sixels gives the picture again."""
    data = encode(picture(), "sixel", AREA)
    assert data.endswith(b"\r\n")
    size, pixels = read_sixel(data[:-2])
    assert size == (40, 20)
    assert len(pixels) == 800
    assert (pixels[0, 0], pixels[39, 19]) == ((100, 0, 0), (0, 0, 100))


def test_sixel_of_a_transparent_picture() -> None:
    """Transparent pixels are left out; a height that is not a multiple of six is right."""
    image = PIL.Image.new("RGBA", (7, 7), (0, 0, 0, 0))
    image.putpixel((3, 6), (0, 255, 0, 255))
    size, pixels = read_sixel(sixel(image))
    assert size == (7, 7)
    assert pixels == {(3, 6): (0, 100, 0)}


def test_through_tmux() -> None:
    """Each sequence is wrapped by itself, its escapes doubled; tmux makes the space and sets the cursor."""
    data = encode(picture(), "kitty", AREA, in_tmux=True)
    wrapped = re.findall(rb"\x1bPtmux;((?:\x1b\x1b|[^\x1b])*)\x1b\\", data)
    assert data == b"\r\n\x1b[1A\x1b7\x1bPtmux;%s\x1b\\\x1b8\x1b[1B" % wrapped[0]
    keys, _ = read_kitty(wrapped[0].replace(b"\x1b\x1b", b"\x1b") + b"\r\n")
    assert keys["C"] == "1"  # the cursor of the terminal behind tmux stays


# Hostile and broken pictures


@pytest.mark.parametrize("protocol", ["kitty", "iterm", "sixel"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x1b]0;owned\x07",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"GIF89a\x00\x00\x00\x00",
        b"GIF89a\xff\xff\xff\xff",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xff\xff\xff\xff\xff\xff\xff\xff\x08\2\0\0\0",
        b"RIFF\x1b[2JWAVE",
        b"BM" + bytes(100),
    ],
)
def test_what_is_not_a_picture_draws_nothing(protocol: Any, content: bytes) -> None:
    """Other formats, an empty size and an enormous size."""
    assert encode(content, protocol, AREA) == b""


@pytest.mark.parametrize("protocol", ["kitty", "iterm", "sixel"])
@pytest.mark.parametrize("has_pillow", [True, False])
def test_bytes_of_a_model_are_never_sequences(protocol: Any, has_pillow: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture that is broken, or that holds escape sequences, adds none to those of the protocol."""
    if not has_pillow:
        monkeypatch.setattr(pictures, "_has_pillow", lambda: False)
    evil = picture()[:40] + b"\x1b\\\x07\x1b]52;c;aGk=\x07\x9c\x1b[2J" * 10
    hidden = picture() + b"\x1b\\\x1b]0;owned\x07"
    for content in (evil, hidden):
        data = encode(content, protocol, AREA)
        rest = ITERM.sub(b"", KITTY.sub(b"", data))
        rest = re.sub(rb'\x1bP0;1q"[#$!\-;\d?-~]*\x1b\\', b"", rest)
        assert rest in (b"", b"\r\n")
        assert b"owned" not in data


def test_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """With kitty, a PNG is sent as it is; with iTerm2, the other formats, too; sixel needs Pillow, as does a file of many megabytes."""
    monkeypatch.setattr(pictures, "_has_pillow", lambda: False)
    png, jpeg = picture(), picture(kind="JPEG")
    assert read_kitty(encode(png, "kitty", AREA))[1] == png
    assert encode(jpeg, "kitty", AREA) == b""
    assert base64.b64decode(ITERM.findall(encode(jpeg, "iterm", AREA))[0][1]) == jpeg
    assert encode(png, "sixel", AREA) == b""
    assert encode(png + bytes(5_000_000), "iterm", AREA) == b""


def test_a_tiny_terminal_and_a_thin_picture() -> None:
    """Sizes never become zero."""
    for area in (Area(1, 1, (1, 1)), Area(2, 2)):
        for size in ((1, 1), (5000, 1), (1, 5000)):
            for protocol in ("kitty", "iterm", "sixel"):
                assert encode(picture(*size), protocol, area)  # type: ignore[arg-type]


# Which terminals


class Screen:
    is_terminal = True


@pytest.fixture(autouse=True)
def _no_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "supports_sixel", lambda: False)
    monkeypatch.setattr(pictures, "passes_through_tmux", lambda: False)


@pytest.mark.parametrize(
    ("environ", "protocol"),
    [
        ({}, None),
        ({"TERM": "xterm-256color"}, None),
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "KONSOLE_VERSION": "240203"}, "kitty"),
        ({"TERM": "xterm-256color", "KONSOLE_VERSION": "210400"}, None),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "iterm"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "iterm"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "vscode"}, None),
        ({"TERM": "dumb", "KITTY_WINDOW_ID": "1"}, None),
        ({"TERM": "dumb", "HFCLIENT_PICTURES": "kitty"}, None),
        ({"TERM": "xterm", "HFCLIENT_PICTURES": "sixel"}, "sixel"),
        ({"TERM": "xterm-kitty", "HFCLIENT_PICTURES": "none"}, None),
        ({"TERM": "screen", "STY": "1", "KITTY_WINDOW_ID": "1"}, None),
        ({"TERM": "tmux-256color", "TMUX": "x", "KITTY_WINDOW_ID": "1"}, None),
    ],
)
def test_detection(environ: dict[str, str], protocol: str | None) -> None:
    """The environment names the terminal; a multiplexer hides it."""
    screen: Any = Screen()
    assert detect(screen, environ) == protocol
    screen.is_terminal = False
    assert detect(screen, environ) is None


@pytest.mark.parametrize(("behind", "protocol"), [("xterm-kitty", "kitty"), ("xterm-ghostty", "kitty"), ("xterm", None)])
def test_detection_behind_tmux(behind: str, protocol: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """If tmux passes sequences through, the terminal that is attached to it counts."""
    monkeypatch.setattr(pictures, "passes_through_tmux", lambda: True)
    monkeypatch.setattr(pictures, "terminal_behind_tmux", lambda: behind)
    screen: Any = Screen()
    assert detect(screen, {"TERM": "tmux-256color", "TMUX": "x"}) == protocol


QUERY = """
import sys
from hfclient.cli.rendering import terminal_queries
import termios
terminal_queries._WAIT = {wait}
before = termios.tcgetattr(0)
found = terminal_queries.supports_sixel()
print(found, termios.tcgetattr(0) == before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
@pytest.mark.parametrize(
    ("reply", "found"),
    [(b"\x1b[?62;4;22c", True), (b"\x1b[?64;1;2;6;22c", False), (b"", False), (b"garbage" * 50, False), (b"\x1b[?4c", False)],
)
def test_the_query(reply: bytes, found: bool) -> None:
    """The terminal is asked once; the answer is read, and the terminal's settings are as before. No answer means no."""
    from tests.cli.screens import run_on_screen

    query = QUERY.format(wait=PATIENCE if reply else 0.3)
    shown = run_on_screen([sys.executable, "-c", query], answer=lambda data: reply if b"\x1b[c" in data else b"")
    assert shown.code == 0
    assert f"{found} True" in shown.text
    assert shown.raw.count(b"\x1b[c") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
def test_no_query_in_a_pipe() -> None:
    """With standard input or output elsewhere nothing is asked."""
    from tests.cli.screens import run_on_screen

    query = QUERY.format(wait=PATIENCE).replace("termios.tcgetattr(0)", "1")
    for redirection in ("< /dev/null", "| cat"):
        shown = run_on_screen(["sh", "-c", f'"$0" -c "$1" {redirection}', sys.executable, query])
        assert b"\x1b[c" not in shown.raw
        assert "False True" in shown.text
