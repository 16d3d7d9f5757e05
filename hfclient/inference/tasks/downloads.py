"""Inputs and results that are given by their URL."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from attrs import evolve

from hfclient.files.sources import open_source
from hfclient.inference.media.images import media_from
from hfclient.inference.providers import Answer, OutputFile
from hfclient.inference.providers.results import keep_body
from hfclient.inference.routing.candidates import Candidate
from hfclient.inference.routing.provider_client import ProviderClient
from hfclient.inference.tasks import Transcript
from hfclient.inference.tasks.audio import MAX_AUDIO, Audio, AudioInput, audio_output, check_audio
from hfclient.inference.tasks.transcripts import link_in, transcript_of

__all__ = ["audio_in", "audio_of", "audio_with_content", "transcript_in"]


def audio_with_content(client: ProviderClient, audio: AudioInput) -> AudioInput:
    """Return *audio* with its bytes, which are fetched without credentials if it is a URL."""
    if audio.url is None:
        return audio
    content, claimed = client.fetch(audio.url, limit=MAX_AUDIO + 1)
    name = PurePosixPath(urlsplit(audio.url).path).name
    file = open_source((name, content, claimed), MAX_AUDIO, "audio file")
    return check_audio(AudioInput(file.read(), name=file.name, claimed=file.claimed))


def audio_in(client: ProviderClient, candidate: Candidate, answer: Answer, **facts: Any) -> Audio:
    """Return the audio in *answer*, or at its link."""
    model = candidate.entry.model or candidate.entry.provider_id
    return audio_of(client, candidate, audio_output(answer), model=model, provider=candidate.provider, **facts)


def audio_of(client: ProviderClient, candidate: Candidate, output: OutputFile, **facts: Any) -> Audio:
    """Return *output* as audio; a link is fetched."""
    content = output.content
    if content is None:
        content, claimed = client.fetch(output.url or "", candidate.target.own_site)
        output = evolve(output, mime=output.mime or claimed)
    return media_from(Audio, content, output, **facts)


def transcript_in(client: ProviderClient, candidate: Candidate, answer: Answer) -> Transcript:
    """Return the transcript in *answer*, or at its link."""
    link = link_in(answer)
    if link is not None:
        answer = Answer(*client.fetch(link, candidate.target.own_site))
    with keep_body(answer):
        return transcript_of(answer)
