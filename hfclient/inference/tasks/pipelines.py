"""Classification, extraction, question answering and the other tasks of hf-inference's pipelines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import evolve

from hfclient.errors import InvalidInputError, ModelNotFound, Unsupported
from hfclient.files.media_types import media_type
from hfclient.files.pillow_images import is_pillow_image
from hfclient.files.sources import is_data_url, is_single_file, is_url, open_source
from hfclient.inference.content.image_inputs import MAX_IMAGE, ImageInput, ImageLike, load_image
from hfclient.inference.media.generation import MediaGeneration
from hfclient.inference.providers import IMAGE_SEGMENTATION
from hfclient.inference.providers.base import id_path
from hfclient.inference.providers.results import keep_body
from hfclient.inference.routing.provider_client import ProviderClient
from hfclient.inference.service import InferenceService
from hfclient.inference.tasks import Classification, Segment, Task, find_task
from hfclient.inference.tasks.audio import MAX_AUDIO, AudioInput, AudioLike, audio_tracks, load_audio, raw_result
from hfclient.inference.tasks.decoders import json_of
from hfclient.inference.tasks.downloads import audio_in, audio_of, audio_with_content, transcript_in
from hfclient.inference.tasks.pipeline_requests import (
    FileInput,
    check_inputs,
    json_request,
    pipeline_request,
    without_none,
)
from hfclient.inference.tasks.provider_calls import HF, TEI, ProviderCalls
from hfclient.inference.tasks.sending import provider_client, send_request
from hfclient.inference.tasks.table import ANY, AUDIO, IMAGE, QUESTION
from hfclient.inference.tasks.values import Finding
from hfclient.types import Results

__all__ = ["Pipelines"]

_FILES = ("image", "video", "audio")  # under such a key, and for a task that begins with it, a string is a path or a URL
_NOT_PARAMETERS = frozenset(("model", "provider", "parameters", "extra_body", "timeouts"))

# The other routes of text-embeddings-inference.
_TEI_ROUTES = {"feature-extraction": "/embed", "sentence-similarity": "/similarity", "text-classification": "/predict"}


class Pipelines(ProviderCalls):
    """The pipelines of one service.

    Args:
        service: The service.
        media: The image models, for providers that segment images like them.
    """

    def __init__(self, service: InferenceService, media: MediaGeneration) -> None:
        super().__init__(service)
        self._media = media

    def classify(
        self, inputs: str | ImageLike | AudioLike, labels: Iterable[str] | None, options: Mapping[str, Any]
    ) -> list[Classification]:
        """Return labels, best first; see `InferenceClient.classify`."""
        name, what = _classification_task(inputs)
        if labels is not None:
            if name == "audio-classification":
                raise Unsupported("audio cannot be classified by labels of your own")
            name = "zero-shot-image-classification" if name == "image-classification" else "zero-shot-classification"
            options = {**options, "candidate_labels": list(labels)}
        found: list[Classification] = self.run(name, what, options)
        return found

    def run(self, name: str, inputs: Any, options: Mapping[str, Any]) -> Any:
        """Return the result of a pipeline; see `InferenceClient.task`."""
        model, provider, extra_body = options.get("model"), options.get("provider"), options.get("extra_body")
        spec = find_task(name)
        settings = {key: value for key, value in options.items() if key not in _NOT_PARAMETERS and value is not None}
        settings.update(options.get("parameters") or {})
        spec.check(settings)
        if name == IMAGE_SEGMENTATION and self._is_for_fal(model, provider, settings):
            given = {"model": model, "provider": "fal-ai", "extra_body": extra_body, "timeouts": options.get("timeouts")}
            with self._media.start(name, "", given, image=inputs) as job:  # the object in the foreground, without a label
                return Results(Segment("mask", made.content) for made in job.result())
        inputs = check_inputs(spec, inputs)
        client = provider_client(self._service.session, options.get("timeouts"))
        inputs = _with_files(client, spec, inputs)
        if provider == TEI:
            place = self._tei(model or "")
            if name not in _TEI_ROUTES:
                raise Unsupported(f"text-embeddings-inference does not do {name}; it does {', '.join(_TEI_ROUTES)}")
            body = without_none({"inputs": inputs, **settings, **(extra_body or {})})
            request = json_request(place.target.url(_TEI_ROUTES[name]), body)
        else:
            if provider not in (None, "auto", HF):
                raise Unsupported(f"only hf-inference has pipelines, not {provider}")
            place = self._candidates_for(name, model, HF, (HF,))[0]
            named = place.entry.provider_id
            # An Inference Endpoint has one model and no paths.
            path = f"/models/{id_path(named)}{spec.path}" if named else ""
            request = pipeline_request(spec, place.target.url(path), inputs, settings, extra_body)
        client.headers = self._service.headers(place)
        answer, request_id = send_request(client, place, request)
        if spec.settings is None:
            facts = {"model": place.entry.model, "provider": place.provider, "request_id": request_id}
            return raw_result(answer, **facts)
        if spec.decode is None:
            return audio_in(client, place, answer, prompt=inputs, request_id=request_id)
        if name == "audio-to-audio":
            facts = {"model": place.entry.model, "provider": place.provider, "request_id": request_id}
            return Results(
                audio_of(client, place, output, label=label, prompt=label, **facts) for label, output in audio_tracks(answer)
            )
        if name == "automatic-speech-recognition":
            said = transcript_in(client, place, answer)
            return evolve(said, provider=place.provider, request_id=request_id)
        with keep_body(answer):
            found = spec.decode(json_of(answer))
        return Results(found) if isinstance(found, list) and found and isinstance(found[0], Finding) else found

    def _is_for_fal(self, model: str | None, provider: str | None, settings: Mapping[str, Any]) -> bool:
        """Return whether fal-ai segments the image; besides hf-inference only fal-ai can, and it has no settings."""
        named = provider == "fal-ai" or (model or "").endswith(":fal-ai")
        if named and settings:
            raise Unsupported(f"fal-ai would ignore {', '.join(settings)}; hf-inference does not")
        if named or settings or provider not in (None, "auto") or model is None or self._service.routes.own_server:
            return named
        try:
            return self._candidates_for(IMAGE_SEGMENTATION, model, None, (HF, "fal-ai"))[0].provider == "fal-ai"
        except ModelNotFound:  # hf-inference has models that the Hub does not list for it
            return False


def _with_files(client: ProviderClient, spec: Task, inputs: Any) -> Any:
    """Return *inputs* with their files read or fetched."""
    if spec.takes == AUDIO:
        audio = audio_with_content(client, load_audio(inputs))
        return FileInput(audio.content, audio.mime)
    if spec.takes == IMAGE:
        return _image_file(client, inputs)
    if spec.takes == ANY:
        if isinstance(inputs, Mapping):
            return {key: _any_file(client, value, key in _FILES) for key, value in inputs.items()}
        return _any_file(client, inputs, spec.name.partition("-")[0] in _FILES)
    return {**inputs, "image": _image_file(client, inputs["image"])} if spec.takes == QUESTION else inputs


def _image_file(client: ProviderClient, source: ImageLike) -> FileInput:
    image = load_image(source)
    if image.content is None:
        image = load_image(client.fetch(image.url or "", limit=MAX_IMAGE + 1)[0])
    return FileInput(image.content or b"", image.mime)


def _any_file(client: ProviderClient, value: Any, is_file: bool) -> Any:
    """Return a file as a `FileInput`; a string is one if *is_file*. Other JSON values stay as they are."""
    if isinstance(value, str) and not is_data_url(value) and not is_file:
        return value
    if not is_single_file(value):
        return value
    claimed = ""
    if is_url(value):
        value, claimed = client.fetch(value, limit=MAX_AUDIO + 1)
    file = open_source(value, MAX_AUDIO)
    content = file.read()
    return FileInput(content, media_type(content, file.name, file.claimed or claimed) or "application/octet-stream")


def _classification_task(inputs: Any) -> tuple[str, Any]:
    """Return the classification task for *inputs*, and the inputs in its form."""
    if isinstance(inputs, list):
        raise InvalidInputError("one text, image or audio file is classified at a time, not a list")
    if isinstance(inputs, str) and not is_data_url(inputs):
        return "text-classification", inputs
    if isinstance(inputs, AudioInput):
        return "audio-classification", inputs
    if isinstance(inputs, ImageInput) or is_pillow_image(inputs):
        return "image-classification", inputs
    file = open_source(inputs, MAX_AUDIO)
    content = file.read()
    mime = media_type(content, file.name, file.claimed) or ""
    if mime.startswith("image/"):
        return "image-classification", content
    if mime.startswith(("audio/", "video/")):
        return "audio-classification", AudioInput(content, name=file.name, claimed=file.claimed)
    what = repr(file.name) if file.name else "this"
    raise InvalidInputError(f"{what} is neither an image nor audio; a text is given as a string")
