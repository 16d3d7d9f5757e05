"""Requests for speech, for each provider. Pure functions.

Reference: docs/protocol/inference ("Speech").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hfclient.errors import Unsupported
from hfclient.inference.models.mapping import ProviderEntry
from hfclient.inference.providers.addresses import Target
from hfclient.inference.providers.base import id_path, pruned
from hfclient.inference.providers.replicate import prediction
from hfclient.inference.tasks.audio import AudioInput, fal_mime
from hfclient.inference.tasks.pipeline_requests import FileInput, json_request, pipeline_request
from hfclient.inference.tasks.table import TASKS
from hfclient.transport import Multipart, Part, Request

__all__ = ["OPENAI_ROOTS", "SPEAKERS", "TRANSCRIBERS", "speech_request", "transcription_request"]

OPENAI_ROOTS: Mapping[str, str] = {
    "deepinfra": "/v1/openai",
    "openai": "/v1",
    "openai-compatible": "",
    "scaleway": "/v1",
    "together": "/v1",
}
"""Providers with OpenAI's protocol for these tasks, and the path in front of their routes."""

_WHISPER = ("language", "prompt", "temperature", "timestamps")
TRANSCRIBERS: Mapping[str, tuple[str, ...]] = {
    "deepinfra": _WHISPER,
    "fal-ai": (),
    "hf-inference": ("language", "temperature", "timestamps"),
    "openai": _WHISPER,
    "openai-compatible": _WHISPER,
    "replicate": (),
    "together": _WHISPER,
}
"""Providers of speech recognition, and the settings that each of them takes."""

_VOICE = ("voice", "format", "speed")
SPEAKERS: Mapping[str, tuple[str, ...]] = {
    "deepinfra": _VOICE,
    "fal-ai": (),
    "hf-inference": (),
    "openai": _VOICE,
    "openai-compatible": _VOICE,
    "replicate": (),
    "together": _VOICE,
}
"""Providers of text to speech, and the settings that each of them takes."""

_KOKORO_VOICE = "af_alloy"  # together refuses a request without a voice; its model always has this one


def transcription_request(
    entry: ProviderEntry, target: Target, audio: AudioInput, settings: Mapping[str, Any], extra: Mapping[str, Any]
) -> Request:
    """Return the request for a transcript of *audio*; *settings* are ``language``, ``prompt``, ``temperature``, ``timestamps``.

    Raises:
        Unsupported: The provider would ignore one of them.
        InvalidInputError: The provider does not take audio of this type.
    """
    name, model = entry.provider, entry.provider_id
    given = _taken(TRANSCRIBERS, name, settings)
    timestamps = given.pop("timestamps", None)
    if name == "hf-inference":
        parameters = {"return_timestamps": timestamps or None, "generation_parameters": given or None}
        task = TASKS["automatic-speech-recognition"]
        url = target.url(f"/models/{id_path(model)}" if model else "")
        return pipeline_request(task, url, FileInput(audio.content, audio.mime), parameters, extra)
    if name == "fal-ai":
        return json_request(
            target.url(f"/{id_path(model)}"), pruned({"audio_url": audio.as_url(fal_mime(audio)), **extra})
        )
    if name == "replicate":
        return _prediction(model, target, {"audio": audio.as_url(), **extra})
    fields: dict[str, Any] = {"model": model or None, **given}
    if timestamps:
        fields["response_format"] = "verbose_json"
        fields["timestamp_granularities[]"] = "word" if timestamps == "word" else "segment"
    # The model comes first: a router searches for it in the first bytes of the form.
    parts = [Part(name=key, content=_field(value)) for key, value in pruned({**fields, **extra}).items()]
    file = Part(name="file", content=audio.content, filename=audio.filename, content_type=audio.mime)
    return Request(
        method="POST",
        url=target.url(f"{OPENAI_ROOTS[name]}/audio/transcriptions"),
        body=Multipart((*parts, file)),
        headers={"Accept": "application/json"},
        stream=True,
    )


def speech_request(
    entry: ProviderEntry, target: Target, text: str, settings: Mapping[str, Any], extra: Mapping[str, Any]
) -> Request:
    """Return the request for *text* as speech; *settings* are ``voice``, ``format`` and ``speed``.

    Raises:
        Unsupported: The provider would ignore one of them.
    """
    name, model = entry.provider, entry.provider_id
    given = _taken(SPEAKERS, name, settings)
    if name == "hf-inference":
        url = target.url(f"/models/{id_path(model)}" if model else "")
        return pipeline_request(TASKS["text-to-speech"], url, text, {}, extra)
    if name == "fal-ai":
        return json_request(target.url(f"/{id_path(model)}"), pruned({"text": text, **extra}))
    if name == "replicate":
        return _prediction(model, target, {"text": text, **extra})
    if name == "together" and "voice" not in given and "kokoro" in model.lower():
        given["voice"] = _KOKORO_VOICE
    body = {"model": model or None, "input": text, "voice": given.get("voice"), "speed": given.get("speed")}
    body["response_format"] = given.get("format")
    url = target.url(f"{OPENAI_ROOTS[name]}/audio/speech")
    return json_request(url, pruned({**body, **extra}), {"Accept": "audio/*, application/json;q=0.5"})


def _taken(takes: Mapping[str, tuple[str, ...]], provider: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    given = pruned(settings)
    if ignored := [name for name in given if name not in takes[provider]]:
        others = ", ".join(name for name in takes if set(given) <= set(takes[name]))
        raise Unsupported(
            f"{provider} would ignore {', '.join(ignored)}; those that take it: {others or 'none'}. A field of its own goes "
            "into extra_body"
        )
    return given


def _prediction(model: str, target: Target, inputs: Mapping[str, Any]) -> Request:
    path, body = prediction(model, inputs)
    return json_request(target.url(path), body, {"Prefer": "wait"})


def _field(value: Any) -> bytes:
    return (str(value).lower() if isinstance(value, bool) else str(value)).encode("utf-8", "replace")
