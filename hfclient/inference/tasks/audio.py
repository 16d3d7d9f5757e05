"""Sound: what is sent to be heard, and what a model says.

Reference: docs/protocol/inference ("Speech").
"""

from __future__ import annotations

import base64
import html
import mimetypes
import os
import re
from pathlib import PurePath
from typing import IO, Any, TypeAlias

from attrs import Factory, field, frozen

from hfclient.errors import GenerationError, InvalidInputError, ProtocolError
from hfclient.frames import excerpt
from hfclient.inference.content.dataurls import data_url_content
from hfclient.inference.content.magic import SUFFIXES, sniff
from hfclient.inference.content.sources import checked_size, read_source
from hfclient.inference.failures import generation_error
from hfclient.inference.media.images import Media, media_from
from hfclient.inference.providers import Answer, Output
from hfclient.inference.providers.results import outcome_of
from hfclient.lenient import loads

__all__ = [
    "MAX_SOUND",
    "Audio",
    "Sound",
    "SoundLike",
    "audio_from",
    "audio_output",
    "audio_tracks",
    "fal_mime",
    "load_sound",
    "read_file",
]

MAX_SOUND = 100 * 1024 * 1024
"""Most bytes of a sound that is sent."""

SoundLike: TypeAlias = "str | os.PathLike[str] | bytes | IO[bytes] | Any"
"""A path, bytes, an open binary file, an `Audio`, or an http(s) or data URL as a string."""

_ENDING = re.compile(r"\.[A-Za-z0-9]{1,8}")
_SHOWN = 20 * 1024 * 1024
# The types that fal-ai's queue takes in a data URL; all others are refused there.
_FAL = {"audio/wav": "audio/x-wav", "audio/mpeg": "audio/mpeg", "video/webm": "video/webm"}


@frozen(kw_only=True, repr=False)
class Audio(Media):
    """A sound that a model made. As a cell's value it plays itself in a notebook.

    Attributes:
        label: What the model calls this track, where it made several; else empty.
    """

    label: str = ""

    def _shown(self) -> dict[str, str]:
        if len(self.content) > _SHOWN:
            return {}
        data = base64.b64encode(self.content).decode()
        return {"text/html": f'<audio controls src="data:{html.escape(self.mime)};base64,{data}"></audio>'}


@frozen
class Sound:
    """A sound to send.

    Attributes:
        content: Its bytes; empty if only its URL is known.
        url: Where it is to be fetched from, or None.
        name: What its file is called, or empty.
        mime: Its type, by its first bytes; if they say nothing, by the ending of *name*; else
            ``"application/octet-stream"``.
    """

    content: bytes = field(repr=False)
    url: str | None = field(default=None, repr=False)
    name: str = field(default="", repr=False)
    mime: str = Factory(lambda self: sniff(self.content) or _mime_by_name(self.name), takes_self=True)

    @property
    def filename(self) -> str:
        """A name with the ending by which servers tell the format: by the bytes, or else as the file had it."""
        own = PurePath(self.name).suffix
        return "audio" + SUFFIXES.get(self.mime, (own if _ENDING.fullmatch(own) else ".bin",))[0]

    def as_base64(self) -> str:
        """Return the bytes as plain base64."""
        return base64.b64encode(self.content).decode()

    def as_url(self, mime: str | None = None) -> str:
        """Return all of it as a data URL."""
        return f"data:{mime or self.mime};base64,{self.as_base64()}"


def load_sound(source: SoundLike) -> Sound:
    """Return *source* as a `Sound`. Reads a file; fetches nothing.

    Raises:
        InvalidInputError: It is empty, too large, missing, a picture or a text, or nothing that can be read.
    """
    if isinstance(source, Sound):
        return source
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        return Sound(b"", source)
    content = read_file(source, MAX_SOUND, "sound")
    sound = Sound(content, name=_name_of(source))
    if sound.mime.startswith("image/"):
        raise InvalidInputError(f"this is no sound, but {sound.mime}")
    if content.lstrip()[:1] in (b"<", b"{"):
        raise InvalidInputError("this is no sound, but a text")
    return sound


def _name_of(source: Any) -> str:
    """Return what a path or an open file is called; empty for all others."""
    if isinstance(source, str) and source.startswith("data:"):
        return ""
    found = source if isinstance(source, (str, os.PathLike)) else getattr(source, "name", "")
    return PurePath(os.fspath(found)).name if isinstance(found, (str, os.PathLike)) else ""


def _mime_by_name(name: str) -> str:
    found = mimetypes.guess_type(name)[0] or ""
    return found if found.startswith(("audio/", "video/")) else "application/octet-stream"


def read_file(source: Any, limit: int, what: str) -> bytes:
    """Return the bytes of *source*, which is called *what* in errors.

    Raises:
        InvalidInputError: It is empty, longer than *limit* bytes, cannot be read, or is nothing that can be.
    """
    content = read_source(source, limit, what)
    if content is None:
        raise InvalidInputError(
            f"a {what} is a path, bytes, an open binary file, a URL or an Audio, not {type(source).__name__}"
        )
    return checked_size(content, limit, what)


def fal_mime(sound: Sound) -> str:
    """Return the type to declare to fal-ai.

    Raises:
        InvalidInputError: It takes no sound of this type.
    """
    if sound.mime not in _FAL:
        raise InvalidInputError(f"fal-ai takes WAV, MP3 and WebM, not {sound.mime}")
    return _FAL[sound.mime]


def audio_output(answer: Answer) -> Output:
    """Return the sound in a provider's answer: the answer itself, a link, or base64.

    Raises:
        GenerationError: It reports an error, or holds no file.
        ProtocolError: It is nothing that is known.
    """
    if answer.is_media or (sniff(answer.body) or "").startswith("audio/"):
        return Output(content=answer.body, mime=answer.content_type or None)
    if answer.body.lstrip()[:1] == b"[":
        tracks = audio_tracks(answer)
        if not tracks:
            raise GenerationError("the provider says that it is done but gives no sound")
        return tracks[0][1]
    return outcome_of(answer).outputs[0]


def audio_tracks(answer: Answer) -> list[tuple[str, Output]]:
    """Return the labelled sounds of ``audio-to-audio``: base64 under ``blob``.

    Raises:
        GenerationError: It reports an error.
        ProtocolError: It is no such list.
    """
    try:
        data = loads(answer.body)
    except ValueError:
        data = None
    if isinstance(data, dict) and data.get("error"):
        raise generation_error(data)
    tracks = []
    for entry in data if isinstance(data, list) else [None]:
        track = entry if isinstance(entry, dict) else {}
        blob, mime = track.get("blob"), track.get("content-type")
        content = data_url_content(f"data:;base64,{blob}") if isinstance(blob, str) else None
        if content is None:
            raise ProtocolError("the answer is not a list of sounds", frame=excerpt(answer.body))
        output = Output(content=content, mime=mime if isinstance(mime, str) else None)
        tracks.append((str(track.get("label", "")), output))
    return tracks


def audio_from(content: bytes, output: Output, **facts: Any) -> Audio:
    """Return what a provider said aloud.

    Raises:
        ProtocolError: The bytes are no sound.
    """
    return media_from(Audio, content, output, **facts)
