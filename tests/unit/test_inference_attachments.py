"""Images and files as parts of messages: all sources, all types, and what is refused before a request."""

from __future__ import annotations

import base64
import io
import pickle
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from hfclient.errors import InvalidInputError
from hfclient.inference.completions.messages import build_messages
from hfclient.inference.completions.roles import UserMessage
from hfclient.inference.content import attachments
from hfclient.inference.content.attachments import file_part, image_part, parts_of, with_attachments
from hfclient.inference.media.images import Image


def _png() -> bytes:
    def block(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + block(b"IHDR", head) + block(b"IDAT", zlib.compress(b"\0\0")) + block(b"IEND", b"")


PNG = _png()
AS_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()
PART = {"type": "image_url", "image_url": {"url": AS_URL}}


def image(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


class FakePIL:
    """The methods of a PIL image."""

    def tobytes(self) -> bytes:
        return b""

    def save(self, file: io.BytesIO, kind: str) -> None:
        assert kind == "PNG"
        file.write(PNG)


def test_all_sources_of_an_image(tmp_path: Path) -> None:
    """A path, bytes, an open file, an `Image`, a PIL image and a data URL all become the same data URL."""
    path = tmp_path / "dot.jpg"  # the first bytes decide, not the name
    path.write_bytes(PNG)
    made = Image(content=PNG, mime="image/png")
    for source in (path, str(path), PNG, bytearray(PNG), io.BytesIO(PNG), made, FakePIL(), AS_URL):
        assert image_part(source) == PART


def test_url_stays() -> None:
    """A URL is sent unchanged, with its signature; nothing is fetched."""
    assert image_part("https://h/a.png?sig=1", detail="low") == image("https://h/a.png?sig=1", detail="low")


def test_an_open_file_keeps_its_position() -> None:
    """An open file is read from its position, which is restored, so that the next round reads it again."""
    file = io.BytesIO(b"junk" + PNG)
    file.seek(4)
    assert image_part(file) == image_part(file) == PART
    assert file_part(file) == PART


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"", "empty"),
        (b"not an image", "not an image"),
        (b"<svg xmlns='x'></svg>", "svg"),
        (b"II*\0" + b"\0" * 60, "tiff"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 60, "heic"),
        ("missing.png", "missing.png"),
        ("nul\0byte.png", "no such file|cannot read"),
        ("data:image/png;base64,????", "data URL|empty"),
        (7, "int"),
    ],
)
def test_refused_images(source: Any, words: str) -> None:
    """A file that is not an image, or of a format that few servers read, is refused with its type."""
    with pytest.raises(InvalidInputError, match=words):
        image_part(source)


def test_too_large(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file that is too large is refused after a minimal read."""
    monkeypatch.setattr(attachments, "MAX_FILE", 1000)
    monkeypatch.setattr(attachments, "MAX_TEXT", 100)
    path = tmp_path / "big.txt"
    path.write_bytes(b"x" * 5000)
    with pytest.raises(InvalidInputError, match=r"big\.txt is larger"):
        file_part(path)
    with pytest.raises(InvalidInputError, match="more than any model reads"):
        file_part(("n.txt", b"x" * 101))


def test_kinds_of_files(tmp_path: Path) -> None:
    """Text, audio, PDFs, videos and images each become their own kind of part."""
    path = tmp_path / "notes.md"
    path.write_text("# Caf\u00e9", "utf-8")
    assert file_part(path) == {"type": "text", "text": "notes.md:\n\n# Caf\u00e9"}
    assert file_part(b"\xff\xfeh\0i\0") == {"type": "text", "text": "hi"}
    assert file_part(("../x/a.svg", b"<svg></svg>")) == {"type": "text", "text": "a.svg:\n\n<svg></svg>"}
    wav = b"RIFF\0\0\0\0WAVEfmt "
    encoded = base64.b64encode(wav).decode()
    assert file_part(wav) == {"type": "input_audio", "input_audio": {"data": encoded, "format": "wav"}}
    pdf = file_part(("C.pdf", b"%PDF-1.7"))
    assert pdf == {
        "type": "file",
        "file": {"filename": "C.pdf", "file_data": "data:application/pdf;base64,JVBERi0xLjc="},
    }
    video = file_part(b"\0\0\0\x18ftypisom")
    assert video["video_url"]["url"].startswith("data:video/mp4;base64,")
    assert file_part(PNG) == file_part(FakePIL()) == PART


@pytest.mark.parametrize(
    "source", [b"", b"\x00\x01\x02", b"\xff\xfe\x00", "https://h/a.pdf", "missing.txt", 7, {"a": 1}]
)
def test_refused_files(source: Any) -> None:
    """Files that a message cannot carry are refused."""
    with pytest.raises(InvalidInputError):
        file_part(source)


def test_parts(tmp_path: Path) -> None:
    """In a message's content, strings are text, never paths; objects become parts, and the protocol's own dicts stay."""
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    own = {"type": "input_audio", "input_audio": {"data": "x", "format": "wav"}}
    remote = image("https://h/a.png", detail="low")
    assert parts_of("text") == "text"
    assert parts_of(path) == [PART]
    assert parts_of([str(path), path, own, remote]) == [{"type": "text", "text": str(path)}, PART, own, remote]
    assert parts_of([image(AS_URL)])[0] == PART
    assert parts_of([{"type": "image_url", "image_url": "https://h/a.png"}]) == [image("https://h/a.png")]
    assert parts_of([{"type": "image_url", "image_url": {"url": path, "detail": "high"}}]) == [
        image(AS_URL, detail="high")
    ]
    assert parts_of([{"type": "image", "image": FakePIL()}, {"type": "image", "path": path}]) == [PART, PART]
    assert parts_of([{"type": "image", "base64": AS_URL.partition(",")[2]}]) == [PART]


@pytest.mark.parametrize("form", ["text", "object", "transformers", "path"])
def test_dicts_open_no_files(tmp_path: Path, form: str) -> None:
    """A dict may come from a browser: a path in it does not add a file of this machine to the request."""
    path = tmp_path / "secret.png"
    path.write_bytes(PNG)
    part = {
        "text": {"type": "image_url", "image_url": str(path)},
        "object": {"type": "image_url", "image_url": {"url": str(path)}},
        "transformers": {"type": "image", "image": str(path)},
        "path": {"type": "image", "path": str(path)},
    }[form]
    with pytest.raises(InvalidInputError, match="is not a URL"):
        build_messages([{"role": "user", "content": [part]}])


def test_messages() -> None:
    """Messages may contain images; the caller's list is not changed."""
    given = [{"role": "user", "content": ["What?", PNG]}, UserMessage([PNG])]
    before = pickle.dumps(given)
    assert [message["content"] for message in build_messages(given)] == [
        [{"type": "text", "text": "What?"}, PART],
        [PART],
    ]
    assert pickle.dumps(given) == before


def test_images_and_files_arguments() -> None:
    """Images and files are added after the text of the last user message; a single one needs no list."""
    messages = build_messages([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
    got = with_attachments(messages, PNG, [("n.txt", b"t")])
    assert got[0]["content"] == [{"type": "text", "text": "a"}, PART, {"type": "text", "text": "n.txt:\n\nt"}]
    assert got[1] is messages[1]
    assert messages[0]["content"] == "a"
    assert with_attachments(messages, None, []) is messages
    again = with_attachments(got, [FakePIL()])
    assert again[0]["content"][-1] == PART
    with pytest.raises(InvalidInputError, match="the prompt has none"):
        with_attachments([{"role": "assistant", "content": "b"}], [PNG])
    with pytest.raises(InvalidInputError, match="list"):
        with_attachments(messages, {"a": PNG})


FIELDS = ["image", "images", "file", "files"]


@pytest.mark.parametrize("key", FIELDS)
def test_files_under_keys_of_a_message(tmp_path: Path, key: str) -> None:
    """A message may have files under keys: objects, data URLs and plain base64, one or several."""
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    for value in (path, PNG, FakePIL(), AS_URL, AS_URL.partition(",")[2], [path, io.BytesIO(PNG)], ("a.png", PNG), PART):
        (message,) = build_messages([{"role": "user", "content": "What?", key: value}])
        count = len(value) if isinstance(value, list) else 1
        assert message == {"role": "user", "content": [{"type": "text", "text": "What?"}, *[PART] * count]}
    assert build_messages([{"role": "user", key: PNG}])[0]["content"] == [PART]
    assert build_messages([{"role": "user", "content": ["What?", PNG], key: PNG}])[0]["content"][1:] == [PART, PART]
    assert build_messages([{"role": "user", "content": "x", key: None}]) == [{"role": "user", "content": "x"}]


def test_urls_under_keys_of_a_message() -> None:
    """An image's URL is sent to the server, which fetches it; servers do not fetch other files."""
    (message,) = build_messages([{"role": "user", "content": "What?", "image": "https://h/a.png"}])
    assert message["content"][1] == image("https://h/a.png")
    with pytest.raises(InvalidInputError, match="download it"):
        build_messages([{"role": "user", "content": "What?", "files": ["https://h/a.pdf"]}])


def test_audio_under_keys_of_a_message() -> None:
    """A recording becomes audio of the type of its content and name."""
    memo = b"\0\0\0\x20ftypisom" + b"\0" * 40
    (message,) = build_messages([{"role": "user", "content": "?", "audio": ("memo.m4a", memo)}])
    assert message["content"][1]["input_audio"]["format"] == "m4a"
    (message,) = build_messages([{"role": "user", "content": "?", "video": memo}])
    assert message["content"][1]["video_url"]["url"].startswith("data:video/mp4;base64,")


@pytest.mark.parametrize("sound", [b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01B\x82\x84webm", b"\0\0\0\x18ftypisom\0\0\0\0"])
def test_files_given_as_audio(sound: bytes) -> None:
    """For a file that may be audio or video, its key or the type of its part decides."""
    data = base64.b64encode(sound).decode()
    for message in ({"content": "?", "audio": sound}, {"content": [{"type": "audio", "audio": sound}]}, {"content": [{"type": "input_audio", "input_audio": {"data": sound}}]}):
        assert build_messages([{"role": "user", **message}])[0]["content"][-1]["input_audio"]["data"] == data
    (part,) = parts_of([{"type": "audio_url", "audio_url": {"url": sound}}])
    assert part["audio_url"]["url"].startswith("data:audio/")
    assert file_part(sound)["type"] == "video_url"


PATHS = ["/etc/passwd", "file:///etc/passwd", "FILE:/etc/passwd", "C:\\a.png", "C:/a.png", "~/a.png", "./a.png", "a.png", "no/such.jpg", "\\\\host\\a"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "build",
    [
        lambda path: {"image": path},
        lambda path: {"images": [path]},
        lambda path: {"files": path},
        lambda path: {"audio": path},
        lambda path: {"content": [image(path)]},
        lambda path: {"content": [{"type": "image_url", "image_url": path}]},
        lambda path: {"content": [{"type": "image", "image": path}]},
        lambda path: {"content": [{"type": "image", "source": {"type": "url", "url": path}}]},
        lambda path: {"content": [{"image": path}]},
        lambda path: {"content": [{"type": "video_url", "video_url": {"url": path}}]},
        lambda path: {"content": [{"type": "audio_url", "audio_url": path}]},
        lambda path: {"content": [{"type": "input_image", "image_url": path}]},
        lambda path: {"content": [{"type": "video", "video": path}]},
        lambda path: {"content": [{"type": "video", "video": [path]}]},
        lambda path: {"content": [{"type": "file", "file": path}]},
        lambda path: {"content": [{"type": "image_url", "url": path}]},
        *[lambda path, kind=kind, key=key: {"content": [{"type": kind, key: path}]} for kind in ("audio", "video", "file") for key in ("path", "url")],
        lambda path: {"images": [image(path)]},
        lambda path: {"role": "assistant", "content": [image(path)]},
        lambda path: {"role": "assistant", "content": "x", "image": path},
    ],
)
def test_paths_are_never_sent(build: Any, path: str) -> None:
    """A path in a message is neither read nor sent as a URL, at any position."""
    with pytest.raises(InvalidInputError, match=r"not a URL|belong in a user message"):
        build_messages([{"role": "user", "content": "x", **build(path)}])


def test_other_url_schemes() -> None:
    """URLs with schemes other than http are sent unchanged."""
    for url in ("https://h/a.png", "HTTP://h/a.png", "gs://bucket/a.png", "ms://file-id", AS_URL):
        assert build_messages([{"role": "user", "content": [image(url)]}])[0]["content"] == [image(url)]


def test_objects_under_keys() -> None:
    """An object under a key is a part of the protocol, with or without a type."""
    packed = {"data": "UklGRg==", "format": "wav"}
    for key, value, part in (
        ("audio", packed, {"type": "input_audio", "input_audio": packed}),
        ("image", {"url": "https://h/a.png", "detail": "low"}, image("https://h/a.png", detail="low")),
        ("video", {"url": "https://h/a.mp4"}, {"type": "video_url", "video_url": {"url": "https://h/a.mp4"}}),
        ("file", {"file_id": "f1"}, {"type": "file", "file": {"file_id": "f1"}}),
    ):
        assert build_messages([{"role": "user", "content": "?", key: value}])[0]["content"][1:] == [part]


def test_objects_in_parts(tmp_path: Path) -> None:
    """A file is accepted in place of a URL or base64 in a part of the protocol."""
    wav = b"RIFF\0\0\0\0WAVEfmt "
    path = tmp_path / "a.wav"
    path.write_bytes(wav)
    heard = file_part(wav)
    assert parts_of([{"type": "input_audio", "input_audio": {"data": path}}, {"type": "audio", "audio": path}]) == [heard] * 2
    (video,) = parts_of([{"type": "video_url", "video_url": {"url": b"\0\0\0\x18ftypisom"}}])
    assert video["video_url"]["url"].startswith("data:video/mp4;base64,")
    (file,) = parts_of([{"type": "file", "file": {"filename": "n.txt", "file_data": b"hi"}}])
    assert file == {"type": "text", "text": "n.txt:\n\nhi"}
    packed = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": AS_URL.partition(",")[2]}}
    assert parts_of([packed]) == [PART]
    assert parts_of([{"text": "hi"}]) == [{"type": "text", "text": "hi"}]
    assert parts_of([{"type": "audio", "path": path}]) == [heard]
    assert parts_of([{"type": "image_url", "url": "https://h/a.png", "detail": "low"}]) == [image("https://h/a.png", detail="low")]
    remote = {"type": "audio", "url": "https://h/a.wav"}
    assert parts_of([remote]) == [remote]
    for part in ({"type": "image_url"}, {"type": "image_url", "image_url": {"uri": "https://h/a.png"}}):
        with pytest.raises(InvalidInputError, match="has no url"):
            parts_of([part])


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"role": "user", "contents": "hi"}, "'contents'.*'content'"),
        ({"role": "user", "Content": "hi"}, "'Content'.*'content'"),
        ({"role": "user", "text": "hi"}, "'text'.*'content'"),
        ({"rol": "user", "content": "hi"}, "'rol'.*'role'"),
        ({"from": "user", "content": "hi"}, "'from'.*'role'"),
        ({"content": "hi"}, "no role"),
        ({"role": "user", "content": "hi", "image_url": "https://h/a.png"}, "'image_url'.*'images'"),
        ({"role": "user", "content": "hi", "imagess": []}, "'imagess'.*'images'"),
        ({"role": "user", "content": "hi", "attachments": []}, "'attachments'.*'files'"),
        ({"role": "user", "content": "hi", "custom": 1}, "'custom'.*extra_body"),
        ({"role": "user", "content": "hi", 5: 1}, "'5'"),
        ({"role": "tool", "content": "hi", "call_id": "x"}, "'call_id'.*'tool_call_id'"),
        ({"role": "system", "content": "hi", "image": PNG}, "in a user message"),
        ({"role": "assistant", "contents": "hi"}, "'contents'.*'content'"),
        ({"role": "assistant", "tool_call": []}, "'tool_call'.*'tool_calls'"),
        ({"role": "User", "content": "hi"}, "'User'.*'user'"),
        ({"role": "assistent", "content": "hi"}, "'assistent'.*'assistant'"),
        ({"role": "human", "content": "hi"}, "'human'.*'user'"),
        ({"role": "user", "content": [{"type": "text", "content": "hi"}]}, "has none under 'text'"),
        ({"role": "user", "content": [{}]}, "no type"),
        ({"role": "user", "content": "hi", "extra_body": 5}, "extra_body"),
    ],
)
def test_unknown_keys(message: dict[Any, Any], words: str) -> None:
    """An unknown key or role is refused; the error names the known one that it resembles."""
    with pytest.raises(InvalidInputError, match=words):
        build_messages([message])


def test_a_history_of_gradio() -> None:
    """Gradio's additional keys are removed if they are empty."""
    beside = {"metadata": {"title": None, "id": ""}, "options": []}
    history = [{"role": role, "content": "a", **beside} for role in ("user", "assistant", "user")]
    assert build_messages(history) == [{"role": role, "content": "a"} for role in ("user", "assistant", "user")]
    with pytest.raises(InvalidInputError, match="options"):
        build_messages([{"role": "user", "content": "a", "options": [{"value": "yes"}]}])


def test_known_keys() -> None:
    """The protocol's own keys are accepted, also those of servers' answers and of ``extra_body``."""
    said = {"role": "assistant", "content": "hi", "refusal": "no", "annotations": [], "audio": {"id": "a"}, "images": [{"x": 1}], "custom_id": 5}
    asked = {"role": "user", "content": "hi", "name": "Ann", "cache_control": {"type": "ephemeral"}}
    assert build_messages([asked, said, asked]) == [asked, said, asked]
    assert build_messages([{**asked, "extra_body": {"weight": 0}}]) == [{**asked, "weight": 0}]
    dumped = {**asked, "tool_calls": [], "refusal": "", "annotations": [], "function_call": {}}
    assert build_messages([dumped]) == [dumped]
    assert build_messages([{"role": "critic", "content": "hi"}, asked])[0]["role"] == "critic"


def test_results_of_tools_with_type_keys() -> None:
    """A tool's result with keys like "type" is a result, not parts of a message, and not an error."""
    found = [{"type": "image", "path": "/home/x/a.png"}, {"type": "folder"}]
    for result in (found, [image("/home/x/a.png")], [{"type": "dog"}]):
        (message,) = build_messages([{"role": "tool", "tool_call_id": "a", "content": result}])
        assert isinstance(message["content"], str)
    (message,) = build_messages([{"role": "tool", "tool_call_id": "a", "content": [image("https://h/a.png")]}])
    assert message["content"] == [image("https://h/a.png")]
