"""Speech recognition and text to speech.

Reference: docs/protocol/inference ("Speech").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve

from hfclient.errors import InvalidInputError
from hfclient.inference.providers import Answer
from hfclient.inference.routing.candidates import Candidate
from hfclient.inference.routing.failover import Providers
from hfclient.inference.tasks import Transcript
from hfclient.inference.tasks.audio import Audio, AudioLike, load_audio
from hfclient.inference.tasks.downloads import audio_in, audio_with_content, transcript_in
from hfclient.inference.tasks.provider_calls import HF, ProviderCalls
from hfclient.inference.tasks.sending import finished, provider_client, send_request, try_routes
from hfclient.inference.tasks.speech_requests import SPEAKERS, TRANSCRIBERS, speech_request, transcription_request

__all__ = ["Speech"]


class Speech(ProviderCalls):
    """The speech models of one service."""

    def transcribe(self, audio: AudioLike, options: Mapping[str, Any]) -> Transcript:
        """Return the transcript of a recording; see `InferenceClient.transcribe`."""
        recording = load_audio(audio)
        settings = {name: options.get(name) for name in ("language", "prompt", "temperature")}
        settings["timestamps"] = options.get("timestamps") or None
        task = "automatic-speech-recognition"
        candidates = self._candidates_for(task, options.get("model"), options.get("provider"), TRANSCRIBERS)
        client = provider_client(self._service.session, options.get("timeouts"))
        recording = audio_with_content(client, recording)

        providers = Providers(candidates, billed=True)

        def send(candidate: Candidate) -> Transcript:
            extra, is_last = options.get("extra_body") or {}, not providers.left
            request = transcription_request(candidate.entry, candidate.target, recording, settings, extra)
            repeatable = candidate.provider in (HF, "openai-compatible")
            answer, request_id = send_request(client, candidate, request, is_last=is_last, repeatable=repeatable)
            found = transcript_in(client, candidate, finished(client, candidate, answer))
            return evolve(found, provider=candidate.provider, request_id=request_id)

        for attempt in self._service.each_provider(providers, client):
            with attempt:
                found = try_routes(self._or_pipelines(providers.candidate), send)
        return evolve(found, failovers=tuple(providers.failovers))

    def speak(self, text: str, options: Mapping[str, Any]) -> Audio:
        """Return the text as speech; see `InferenceClient.speak`."""
        if not isinstance(text, str) or not text.strip():
            wrong = "the text is empty" if isinstance(text, str) else f"the text is a string, not {type(text).__name__}"
            raise InvalidInputError(f"there is nothing to say: {wrong}")
        settings = {name: options.get(name) for name in ("voice", "format", "speed")}
        candidates = self._candidates_for("text-to-speech", options.get("model"), options.get("provider"), SPEAKERS)
        client = provider_client(self._service.session, options.get("timeouts"))

        providers = Providers(candidates, billed=True)

        def send(candidate: Candidate) -> tuple[Answer, str | None, Candidate]:
            extra, is_last = options.get("extra_body") or {}, not providers.left
            request = speech_request(candidate.entry, candidate.target, text, settings, extra)
            answer, request_id = send_request(client, candidate, request, is_last=is_last, repeatable=candidate.provider == HF)
            return finished(client, candidate, answer), request_id, candidate

        for attempt in self._service.each_provider(providers, client):
            with attempt:
                answer, request_id, candidate = try_routes(self._or_pipelines(providers.candidate), send)
        failovers = tuple(providers.failovers)
        return audio_in(client, candidate, answer, prompt=text, request_id=request_id, failovers=failovers)
