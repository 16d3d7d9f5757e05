"""``hfclient transcribe`` and ``hfclient speak``: texts, times, subtitles, files and streams."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import start
from tests.cli.screens import on_screen
from tests.inference.test_tasks import WAV
from tests.server import LONG, Server, json_answer, plain

EVIL = "\x1b]0;owned\x07\x1b[2Jone\n\n00:00:00,000 --> 00:00:09,000\ntwo <b>\u202e"
SEGMENTS = [
    {"text": " Hello, world. ", "start": 0, "end": 1.5},
    {"text": EVIL, "start": 1.5, "end": None},
    {"text": "The end.", "start": 3661.25, "end": 3662},
]
MP3 = b"ID3\x04\x00\x00\x00\x00\x00\x00" + bytes(20)


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "talk.wav").write_bytes(WAV)


@pytest.fixture
def speech(server: Server) -> Server:
    """An OpenAI-compatible server for speech."""
    server.on("/v1/audio/transcriptions", json_answer({"text": " Hello, world.", "segments": SEGMENTS}))
    server.on("/v1/audio/speech", plain(MP3, 200, "Content-Type: audio/mpeg"))
    return server


def hear(server: Server, *arguments: str) -> tuple[str, ...]:
    return ("transcribe", *arguments, "--inference-url", server.url, "-m", "whisper")


def say(server: Server, *arguments: str) -> tuple[str, ...]:
    return ("speak", *arguments, "--inference-url", server.url, "-m", "kokoro")


# transcribe


def test_the_text(speech: Server, command: Any) -> None:
    """The text and nothing else; options go to the server."""
    assert command(*hear(speech, "talk.wav", "--language", "en")) == (0, "Hello, world.\n", "")
    assert b"en" in speech.last.body


def test_as_json(speech: Server, command: Any) -> None:
    """One object with the parts."""
    _, out, _ = command(*hear(speech, "talk.wav", "--timestamps", "--json"))
    found = json.loads(out)
    assert found["chunks"][2] == {"text": "The end.", "start": 3661.25, "end": 3662.0}


def test_times(speech: Server, command: Any) -> None:
    """One line for each part, whatever its text is; a missing end is the next start."""
    _, out, _ = command(*hear(speech, "talk.wav", "--timestamps"))
    lines = out.split("\n")[:-1]
    assert lines[0] == "[00:00:00.00 - 00:00:01.50] Hello, world."
    assert lines[1].startswith("[00:00:01.50 - 01:01:01.25] ]0;owned[2Jone 00:00:00,000 --> 00:00:09,000 two <b>")
    assert lines[2] == "[01:01:01.25 - 01:01:02.00] The end."


def test_srt(speech: Server, command: Any) -> None:
    """Numbered cues; a text cannot begin another one."""
    _, out, _ = command(*hear(speech, "talk.wav", "--format", "srt"))
    cues = out.split("\n\n")
    assert cues[0] == "1\n00:00:00,000 --> 00:00:01,500\nHello, world."
    assert len(cues) == 3
    assert len(re.findall(r"^\d\d:.* --> ", out, re.MULTILINE)) == 3
    assert "\x1b" not in out


def test_vtt(speech: Server, command: Any, tmp_path: Path) -> None:
    """The file's name selects the format; markup and arrows in a text are escaped."""
    assert command(*hear(speech, "talk.wav", "-o", "talk.vtt"))[1] == "talk.vtt\n"
    text = (tmp_path / "talk.vtt").read_text("utf-8")
    assert text.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nHello, world.\n\n")
    assert text.count("-->") == 3
    assert "two &lt;b&gt;" in text
    code, _, err = command(*hear(speech, "talk.wav", "-o", "talk.vtt"))
    assert (code, "--overwrite" in err) == (2, True)


def test_words(speech: Server, command: Any) -> None:
    """--words asks for the times of words."""
    speech.on("/v1/audio/transcriptions", json_answer({"text": "a b", "words": [{"word": "a", "start": 0, "end": 1}, {"word": "b", "start": 1, "end": 2}]}))
    _, out, _ = command(*hear(speech, "talk.wav", "--words"))
    assert out == "[00:00:00.00 - 00:00:01.00] a\n[00:00:01.00 - 00:00:02.00] b\n"
    assert b"word" in speech.last.body


def test_a_provider_without_times(speech: Server, command: Any) -> None:
    """The text is printed, because it may have been paid for, and the error says what is missing."""
    speech.on("/v1/audio/transcriptions", json_answer({"text": "hi"}))
    code, out, err = command(*hear(speech, "talk.wav", "--format", "srt"))
    assert (code, out) == (1, "hi\n")
    assert "no times" in err


def test_a_text_on_a_terminal(speech: Server) -> None:
    """A transcript cannot send escape sequences."""
    speech.on("/v1/audio/transcriptions", json_answer({"text": EVIL}))
    shown = on_screen(*hear(speech, str(Path("talk.wav").absolute())))
    assert shown.code == 0
    assert b"\x1b" not in shown.raw


def test_standard_input(speech: Server, tmp_path: Path) -> None:
    """- is the recording on standard input; an empty one is a usage error."""
    for content, code in ((WAV, 0), (b"", 2)):
        process = start(*hear(speech, "-"), stdin=subprocess.PIPE)
        out, err = process.communicate(content, timeout=LONG)
        assert (process.returncode, out) == (code, b"Hello, world.\n" if content else b""), err
    assert WAV in speech.requests[0].body


def test_files_that_do_not_work(speech: Server, command: Any, tmp_path: Path) -> None:
    """A missing file, a folder and a text are one line each, and nothing is sent."""
    (tmp_path / "page.wav").write_text("<html>")
    for name in ("none.wav", ".", "page.wav"):
        code, out, err = command(*hear(speech, name))
        assert (code, out, err.count("\n")) == (2, "", 1)
    assert not speech.requests


# speak


def test_speak(speech: Server, command: Any, tmp_path: Path) -> None:
    """The audio is named for the text; the path is printed."""
    assert command(*say(speech, "Good", "morning.", "--voice", "af", "--format", "mp3")) == (0, "Good morning.mp3\n", "")
    assert (tmp_path / "Good morning.mp3").read_bytes() == MP3
    asked = speech.last.json()
    assert (asked["input"], asked["voice"], asked["response_format"]) == ("Good morning.", "af", "mp3")
    _, out, _ = command(*say(speech, "Good morning.", "--json"))
    assert json.loads(out)["path"] == "Good morning-2.mp3"


def test_speak_in_a_pipe(speech: Server, tmp_path: Path) -> None:
    """The text comes from standard input, the audio goes to standard output; not to a terminal."""
    process = start(*say(speech, "-o", "-"), stdin=subprocess.PIPE)
    out, err = process.communicate(b"Hello.\nHow are you?\n", timeout=LONG)
    assert (process.returncode, out, err) == (0, MP3, b"")
    assert speech.last.json()["input"] == "Hello.\nHow are you?"
    shown = on_screen(*say(speech, "Hello.", "-o", "-"))
    assert shown.code == 2
    assert len(speech.requests) == 1


def test_speak_errors(speech: Server, command: Any) -> None:
    """A refusal is one line, with exit code 1; an empty text exit code 2."""
    speech.on("/v1/audio/speech", json_answer({"error": {"message": "no such\x1b[2J voice"}}, 400))
    code, out, err = command(*say(speech, "Hello."))
    assert (code, out, err.count("\n"), "\x1b" in err) == (1, "", 1, False)
    assert command(*say(speech, " "))[0] == 2
