"""Decodes transcripts: JSON in a dozen forms, plain text, SRT and WebVTT. Pure functions.

Reference: docs/protocol/inference ("Speech"); OpenAI's ``response_format`` (json, text, srt, verbose_json, vtt); the models for
speech at replicate.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from hfclient.decoding.json_repair import loads_repaired
from hfclient.decoding.json_values import number_or_none
from hfclient.files.sources import is_url
from hfclient.inference.providers import Answer
from hfclient.inference.tasks.decoders import unexpected_answer
from hfclient.inference.tasks.values import Transcript, TranscriptChunk

__all__ = ["link_in", "transcript", "transcript_of"]

_TEXTS = ("text", "transcription", "transcript", "generated_text", "transcribed_text", "full_text", "translation", "srt", "vtt")
_PARTS = ("chunks", "segments", "utterances", "sentences", "words")
_WORDS = ("text", "word", "punctuated_word", "transcript", "sentence")
_AROUND = ("output", "result", "results", "data", "response", "prediction", "predictions", "channels", "alternatives", "transcripts")
_FILES = ("txt_file", "text_file", "srt_file", "vtt_file", "json_file", "subtitles")
_DELIVERY = "replicate.delivery"  # the host of replicate's files; a model may answer with only such a link
_LANGUAGES = ("language", "detected_language", "language_code", "lang")
_MAX_DEPTH = 8
_TIMES = re.compile(
    r"\s*(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})\s*-->\s*(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
)
_TAG = re.compile(r"<[^<>]{0,200}>")  # WebVTT's <v Ann>, <i>, <00:00:01.000>


def transcript_of(answer: Answer) -> Transcript:
    """Return the transcript in an answer: JSON, or a text in a format of subtitles.

    Raises:
        GenerationError: It reports an error.
        ProtocolError: It is an HTML page, or of an unknown form.
    """
    if answer.content_type.startswith("text/") and answer.content_type != "text/html" and not answer.is_page:
        text = answer.body.decode("utf-8-sig", "replace")
        if text.lstrip()[:1] not in ("{", "[", '"'):
            return transcript(text)
        try:
            loads_repaired(answer.body)
        except ValueError:  # "[Music] Hello."
            return transcript(text)
    return transcript(answer.value())


def link_in(answer: Answer) -> str | None:
    """Return the URL of the transcript's file, if the answer is only a link to it.

    A URL within spoken words does not count: a speaker must not be able to make this client call a server.
    """
    try:
        return _link(loads_repaired(answer.body), _MAX_DEPTH)
    except ValueError:
        return None


def _link(value: Any, depth: int) -> str | None:
    if depth <= 0 or isinstance(value, str):
        return None
    if isinstance(value, list):
        return _link(value[0], depth - 1) if len(value) == 1 else None
    if not isinstance(value, dict) or any(value.get(key) for key in (*_TEXTS, *_PARTS)):
        return None
    for key in _FILES:
        if is_url(value.get(key)):
            return str(value[key])
    for key in _AROUND:
        inner = value.get(key)
        only = inner[0] if isinstance(inner, list) and len(inner) == 1 else inner
        if isinstance(only, str) and _is_delivered(only):
            return only
        if found := _link(inner, depth - 1):
            return found
    return None


def _is_delivered(text: str) -> bool:
    if not is_url(text) or re.search(r"\s", text):
        return False
    try:
        host = urlsplit(text).hostname or ""
    except ValueError:
        return False
    return host == _DELIVERY or host.endswith("." + _DELIVERY)


def transcript(data: Any) -> Transcript:
    """Return the transcript in any of the providers' forms.

    Raises:
        ProtocolError: Its form is unknown.
    """
    found = _find_transcript(data, _MAX_DEPTH)
    if found is None:
        raise unexpected_answer(data, "a transcript")
    text, chunks, language = found
    return Transcript(text, tuple(chunks), language, raw=data if isinstance(data, dict) else {"text": data})


_Found = tuple[str, list[TranscriptChunk], "str | None"]


def _find_transcript(value: Any, depth: int) -> _Found | None:
    if depth <= 0:
        return None
    if isinstance(value, str):
        cues = _cues(value)
        if cues is None:
            return value, [], None
        return " ".join(cue.text for cue in cues), cues, None
    if isinstance(value, list):
        return _of_list(value, depth)
    return _of_object(value, depth) if isinstance(value, dict) else None


def _of_list(value: list[Any], depth: int) -> _Found | None:
    if len(value) == 1:
        return _find_transcript(value[0], depth - 1)
    if value and all(isinstance(part, str) for part in value):
        return "".join(value), [], None
    chunks = _chunks(value)
    return (_joined(chunks), chunks, None) if value and len(chunks) == len(value) else None


def _of_object(value: dict[str, Any], depth: int) -> _Found | None:
    language = next((value[key] for key in _LANGUAGES if isinstance(value.get(key), str)), None)
    chunks: list[TranscriptChunk] = []
    for key in _PARTS:
        if isinstance(value.get(key), list) and (chunks := _chunks(value[key])):
            break
    for key in _TEXTS:
        if value.get(key) is not None and (inner := _find_transcript(value[key], depth - 1)) is not None:
            return inner[0], chunks or inner[1], language or inner[2]
    for key in _AROUND:
        if value.get(key) is not None and (inner := _find_transcript(value[key], depth - 1)) is not None:
            return inner[0], chunks or inner[1], language or inner[2]
    if chunks:
        return _joined(chunks), chunks, language
    if any(value.get(key) == [] for key in _PARTS):  # no speech
        return "", [], language
    return None


def _chunks(parts: Iterable[Any]) -> list[TranscriptChunk]:
    return [chunk for part in parts if isinstance(part, dict) and (chunk := _chunk(part)) is not None]


def _chunk(part: dict[str, Any]) -> TranscriptChunk | None:
    text = next((part[key] for key in _WORDS if isinstance(part.get(key), str)), None)
    times = part.get("timestamp", part.get("timestamps"))
    if not isinstance(times, list) or len(times) != 2:
        times = [part.get("start", part.get("start_time")), part.get("end", part.get("end_time"))]
    return None if text is None else TranscriptChunk(text, _seconds(times[0]), _seconds(times[1]), raw=part)


def _joined(chunks: list[TranscriptChunk]) -> str:
    """Return the text of all parts: Whisper's begin with a space, others do not."""
    between = "" if any(chunk.text[:1].isspace() for chunk in chunks) else " "
    return between.join(chunk.text for chunk in chunks).strip()


def _cues(text: str) -> list[TranscriptChunk] | None:
    """Return the cues of SRT or WebVTT; None if the text is neither."""
    lines = text.lstrip("\ufeff").replace("\r\n", "\n").split("\n")
    start = next((number for number, line in enumerate(lines) if line.strip()), None)
    if start is None:
        return None
    is_vtt = lines[start].startswith("WEBVTT")
    if not is_vtt and not any(_TIMES.match(line) for line in lines[start : start + 2]):
        return None
    cues: list[TranscriptChunk] = []
    times: tuple[float, float] | None = None
    words: list[str] = []
    for line in [*lines[start:], ""]:
        if found := _TIMES.match(line):
            times, words = (_clock(*found.groups()[:4]), _clock(*found.groups()[4:])), []
        elif line.strip() and times is not None:
            words.append(_TAG.sub("", line).strip() if is_vtt else line.strip())
        elif not line.strip():
            if times is not None:
                cues.append(TranscriptChunk(" ".join(words), *times))
            times = None
    return cues


def _clock(hours: str | None, minutes: str, seconds: str, fraction: str) -> float:
    return int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds) + int(fraction.ljust(3, "0")) / 1000


def _seconds(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return None if number_or_none(value) is None else float(value)
