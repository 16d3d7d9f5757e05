"""Audio as input and as result.

Reference: docs/protocol/inference ("Speech").
"""

from __future__ import annotations

import io
import re
import struct
import sys
import wave
from array import array
from pathlib import PurePath
from typing import Any, TypeAlias

import msgspec
from attrs import Factory, field, frozen

from hfclient.decoding.frames import excerpt
from hfclient.decoding.json_repair import loads_repaired
from hfclient.errors import InvalidInputError, ProtocolError
from hfclient.files.data_urls import data_url
from hfclient.files.media_types import SUFFIXES, media_type
from hfclient.files.sources import FileLike, is_url, open_source
from hfclient.inference.media.images import Image, Media, Video, media_from
from hfclient.inference.providers import Answer, OutputFile
from hfclient.inference.providers.results import find_result, keep_body, parse_result

__all__ = [
    "MAX_AUDIO",
    "Audio",
    "AudioInput",
    "AudioLike",
    "audio_output",
    "audio_tracks",
    "check_audio",
    "fal_mime",
    "load_audio",
    "raw_result",
]

MAX_AUDIO = 100 * 1024 * 1024
"""Maximum size of audio that is sent, in bytes."""

AudioLike: TypeAlias = FileLike
"""A path, bytes, an open binary file, an `Audio`, a data URL, or an http(s) URL, which is fetched without credentials."""

_ENDING = re.compile(r"\.[A-Za-z0-9]{1,8}")
# The types that fal-ai accepts in a data URL.
_FAL = {
    "audio/mpeg": "audio/mpeg",
    "audio/wav": "audio/x-wav",
    "audio/webm": "video/webm",
    "video/webm": "video/webm",
}


@frozen(kw_only=True, repr=False)
class Audio(Media):
    """Audio from a model. A notebook shows it as a player.

    Attributes:
        label: The model's name of this track, if it made several; else empty.
    """

    label: str = ""


@frozen
class AudioInput:
    """Audio to send.

    Attributes:
        content: Its bytes; empty if only its URL is known.
        url: Its URL, or None.
        name: Name of its file, or empty.
        claimed: Its type as the caller or the server says, or empty.
        mime: Its type, by its first bytes; if they are unknown, *claimed* or by the suffix of *name*; else
            ``"application/octet-stream"``.
    """

    content: bytes = field(repr=False)
    url: str | None = field(default=None, repr=False)
    name: str = field(default="", repr=False)
    claimed: str = field(default="", repr=False)
    mime: str = Factory(
        lambda self: media_type(self.content, self.name, self.claimed, is_audio=True) or "application/octet-stream",
        takes_self=True,
    )

    @property
    def filename(self) -> str:
        """A name whose suffix tells servers the format: by the bytes, or else the file's own."""
        own = PurePath(self.name).suffix
        usual = SUFFIXES.get(self.mime, ())
        kept = own.lower() in usual or (not usual and _ENDING.fullmatch(own))
        return "audio" + (own if kept else usual[0] if usual else ".bin")

    def as_url(self, mime: str | None = None) -> str:
        """Return it as a data URL."""
        return data_url(self.content, mime or self.mime)


def load_audio(source: AudioLike) -> AudioInput:
    """Return *source* as an `AudioInput`. Reads a file; fetches nothing.

    Raises:
        InvalidInputError: It is empty, too large, missing, an image or a text, or of a type that cannot be read.
    """
    if isinstance(source, AudioInput):
        return source
    if isinstance(source, str) and is_url(source):
        return AudioInput(b"", source.strip())
    file = open_source(source, MAX_AUDIO, "audio file")
    return check_audio(AudioInput(file.read(), name=file.name, claimed=file.claimed))


def check_audio(audio: AudioInput) -> AudioInput:
    """Return *audio*; raises `InvalidInputError` if it is an image or a text."""
    if audio.mime.startswith("image/"):
        raise InvalidInputError(f"this is not audio, but {audio.mime}")
    if audio.content.lstrip()[:1] in (b"<", b"{", b""):
        raise InvalidInputError("this is not audio, but a text")
    return audio


def fal_mime(audio: AudioInput) -> str:
    """Return the type to declare to fal-ai.

    Raises:
        InvalidInputError: fal-ai does not take audio of this type.
    """
    if audio.mime not in _FAL:
        raise InvalidInputError(f"fal-ai takes WAV, MP3 and WebM, not {audio.mime}")
    return _FAL[audio.mime]


def audio_output(answer: Answer) -> OutputFile:
    """Return the audio in a provider's answer: the answer itself, a link, base64, or a pipeline's samples.

    Raises:
        GenerationError: It reports an error, or has no file.
        ProtocolError: Its form is unknown.
    """
    return _audio_of_samples(answer) or parse_result(answer).outputs[0]


def _audio_of_samples(answer: Answer) -> OutputFile | None:
    """Return the samples in ``{"audio": [...], "sampling_rate": ...}``, from -1 to 1, as WAV; None for another answer."""
    if b'"sampling_rate"' not in answer.body or answer.is_media:
        return None
    try:
        data = loads_repaired(answer.body)
        data = data[0] if isinstance(data, list) and len(data) == 1 else data
        numbers, rate = data["audio"], data["sampling_rate"]
        while isinstance(numbers, list) and len(numbers) == 1 and isinstance(numbers[0], list):
            numbers = numbers[0]
        loud = (max(-1.0, min(1.0, number)) * 32767 for number in msgspec.convert(numbers, list[float]))
        samples = array("h", map(round, loud))
        if sys.byteorder == "big":
            samples.byteswap()
        buffer = io.BytesIO()
        with wave.open(buffer, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(samples.tobytes())
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, struct.error, wave.Error):
        return None  # another form, or broken: the caller raises the error
    return OutputFile(content=buffer.getvalue(), mime="audio/wav") if samples else None


def raw_result(answer: Answer, **facts: Any) -> Any:
    """Return the answer of a task that is not in the table: JSON, a text, an image, a video or audio, or else its bytes.

    Raises:
        GenerationError: It reports an error.
        ProtocolError: It is an HTML page.
    """
    if not answer.is_media:
        with keep_body(answer):
            return answer.value()
    claimed = answer.content_type
    family = (media_type(answer.body, claimed=claimed) or claimed).partition("/")[0]
    cls = {"image": Image, "video": Video, "audio": Audio}.get(family)
    return answer.body if cls is None else media_from(cls, answer.body, OutputFile(mime=claimed), **facts)


def audio_tracks(answer: Answer) -> list[tuple[str, OutputFile]]:
    """Return the labelled tracks of ``audio-to-audio``: base64 under ``blob``, in other forms, or the only track itself.

    Raises:
        GenerationError: It reports an error.
        ProtocolError: It does not hold audio.
    """
    if answer.is_media:
        return [("", OutputFile(content=answer.body, mime=answer.content_type or None))]
    with keep_body(answer):
        data = answer.value()
        tracks = []
        for entry in data if isinstance(data, list) else [data]:
            found = find_result(entry)
            if found is None:
                raise ProtocolError("the answer is not a list of audio tracks", frame=excerpt(answer.body))
            label = entry.get("label") if isinstance(entry, dict) else None
            tracks += [(label if isinstance(label, str) else "", output) for output in found.outputs]
        return tracks
