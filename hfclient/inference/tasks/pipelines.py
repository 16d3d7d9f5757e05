"""Speech, classification and the other small tasks: one wing of `InferenceClient`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any, Literal
from urllib.parse import urlsplit

from attrs import evolve

from hfclient.arguments.argument_types import checks_arguments
from hfclient.errors import InvalidInputError, ModelNotFound, Unsupported
from hfclient.files.magic import media_type
from hfclient.files.pillow import is_picture
from hfclient.files.sources import is_data_url, is_one, is_url, open_source
from hfclient.inference.content.pictures import MAX_PICTURE, Picture, PictureLike, load_picture
from hfclient.inference.media.jobs import Job, Line
from hfclient.inference.providers import IMAGE_SEGMENTATION, Answer
from hfclient.inference.providers.base import id_path
from hfclient.inference.providers.results import bodied
from hfclient.inference.routing.candidates import Candidate, ProviderLike
from hfclient.inference.tasks import Classification, Segment, Task, Transcript, task_named
from hfclient.inference.tasks.audio import (
    MAX_SOUND,
    Audio,
    Sound,
    SoundLike,
    as_it_comes,
    audio_tracks,
    checked_sound,
    load_sound,
)
from hfclient.inference.tasks.decoders import json_of
from hfclient.inference.tasks.errand import ask, errand, settled
from hfclient.inference.tasks.pipeline_requests import File, check_inputs, json_request, pipeline_request, without_none
from hfclient.inference.tasks.provider_calls import HF, TEI, Wing
from hfclient.inference.tasks.speech_requests import SPEAKERS, TRANSCRIBERS, speech_request, transcription_request
from hfclient.inference.tasks.table import ANY, PICTURE, QUESTION, SOUND
from hfclient.inference.tasks.transcripts import link_in, transcript_of
from hfclient.transport import Timeouts

__all__ = ["TaskCalls"]

_Body = Mapping[str, Any]
_FILES = ("image", "video", "audio")  # a string under such a name, or for a task that begins with it, is a path or a URL

# Routes of text-embeddings-inference for what it does besides.
_TEI_ROUTES = {"feature-extraction": "/embed", "sentence-similarity": "/similarity", "text-classification": "/predict"}


@checks_arguments
class TaskCalls(Wing):
    """The small tasks; the base of `InferenceClient` that does them."""

    _start: Callable[..., Job[Any]]

    # Speech

    def transcribe(
        self,
        audio: SoundLike,
        *,
        model: str | None = None,
        provider: ProviderLike = None,
        language: str | None = None,
        prompt: str | None = None,
        temperature: float | None = None,
        timestamps: bool | Literal["word"] | None = None,
        extra_body: _Body | None = None,
        timeouts: Timeouts | None = None,
    ) -> Transcript:
        """Return what is said in a recording.

            inference.transcribe("meeting.mp3", model="openai/whisper-large-v3").text

        Args:
            audio: A path, bytes, an open binary file, an `Audio`, or a URL, which is fetched without credentials.
            model: Hub id; None takes what the Hub shows for the task, or what a server of your own has.
            provider: Who shall do it; see `image`.
            language: Its language, such as ``"en"``.
            prompt: Words to expect, for spelling.
            temperature: 0 takes the likeliest words.
            timestamps: Give ``chunks`` with times: True for sentences, ``"word"`` for words.
            extra_body: Fields of the provider's own, over all others; None removes one.
            timeouts: Deadlines; ``total`` is 300 s where it is None.

        Raises:
            InvalidInputError: It is no sound, or cannot be read; or no model is known.
            Unsupported: The provider would ignore a setting.
            ModelNotFound: Nobody serves the model.
            GenerationError: The provider failed.
            APIStatusError, TransportError: It refused, or did not answer.

        Reference: docs/protocol/inference ("Speech").
        """
        sound = load_sound(audio)
        settings = {
            "language": language,
            "prompt": prompt,
            "temperature": temperature,
            "timestamps": timestamps or None,
        }
        candidates = self._serving("automatic-speech-recognition", model, provider, TRANSCRIBERS)
        line = errand(self._session, timeouts)
        sound = self._heard(line, sound)

        def ask_one(candidate: Candidate, is_last: bool) -> Transcript:
            request = transcription_request(candidate.entry, candidate.target, sound, settings, extra_body or {})
            repeatable = candidate.provider in (HF, "openai-compatible")
            answer, request_id = ask(line, candidate, request, patient=is_last, repeatable=repeatable)
            said = self._transcript(line, candidate, settled(line, candidate, answer))
            return evolve(said, provider=candidate.provider, request_id=request_id)

        said, _, failovers = self._each(line, candidates, self._or_pipelines(ask_one), billed=True)
        return evolve(said, failovers=failovers)

    def speak(
        self,
        text: str,
        *,
        model: str | None = None,
        provider: ProviderLike = None,
        voice: str | None = None,
        format: str | None = None,
        speed: float | None = None,
        extra_body: _Body | None = None,
        timeouts: Timeouts | None = None,
    ) -> Audio:
        """Return *text* spoken.

            inference.speak("Good morning.", model="hexgrad/Kokoro-82M").save("morning")

        Args:
            text: What to say.
            model: Hub id; None takes what the Hub shows for the task, or what a server of your own has.
            provider: Who shall do it; see `image`.
            voice: One of the model's voices.
            format: Such as ``"mp3"`` or ``"wav"``.
            speed: 1 is normal.
            extra_body: Fields of the provider's own, over all others; None removes one.
            timeouts: Deadlines; ``total`` is 300 s where it is None.

        Raises:
            InvalidInputError: The text is empty, or no model is known.
            Unsupported: The provider would ignore a setting.
            ModelNotFound: Nobody serves the model.
            GenerationError: The provider failed.
            ProtocolError: What came is no sound.
            APIStatusError, TransportError: It refused, or did not answer.

        Reference: docs/protocol/inference ("Speech").
        """
        if not isinstance(text, str) or not text.strip():
            said = "the text is empty" if isinstance(text, str) else f"a text is wanted, not {type(text).__name__}"
            raise InvalidInputError(f"there is nothing to say: {said}")
        settings = {"voice": voice, "format": format, "speed": speed}
        candidates = self._serving("text-to-speech", model, provider, SPEAKERS)
        line = errand(self._session, timeouts)

        def ask_one(candidate: Candidate, is_last: bool) -> tuple[Answer, str | None, Candidate]:
            request = speech_request(candidate.entry, candidate.target, text, settings, extra_body or {})
            answer, request_id = ask(line, candidate, request, patient=is_last, repeatable=candidate.provider == HF)
            return settled(line, candidate, answer), request_id, candidate

        found, _, failovers = self._each(line, candidates, self._or_pipelines(ask_one), billed=True)
        answer, request_id, candidate = found
        return self._audio(line, candidate, answer, prompt=text, request_id=request_id, failovers=failovers)

    @staticmethod
    def _transcript(line: Line, candidate: Candidate, answer: Answer) -> Transcript:
        """Return what was said; if the answer only says where that lies, from there."""
        link = link_in(answer)
        if link is not None:
            answer = Answer(*line.fetch(link, candidate.target.own_site))
        with bodied(answer):
            return transcript_of(answer)

    # Pictures and texts

    def caption(self, image: PictureLike, *, model: str | None = None, **options: Any) -> str:
        """Return what a picture shows, in words.

            inference.caption("cat.jpg", model="Salesforce/blip-image-captioning-large")

        Args:
            image: A path, bytes, an open binary file, an `Image`, a PIL image, or a URL, which is fetched without credentials.
            model: Hub id; None takes what the Hub shows for the task.
            options: As for :meth:`task`, which also says what is raised.
        """
        words: str = self.task("image-to-text", image, model=model, **options)
        return words

    def classify(
        self,
        inputs: str | PictureLike | SoundLike,
        labels: Iterable[str] | None = None,
        *,
        model: str | None = None,
        **options: Any,
    ) -> list[Classification]:
        """Return labels for a text, a picture or a sound, best first.

            inference.classify("I like it.", model="distilbert/distilbert-base-uncased-finetuned-sst-2-english")[0].label
            inference.classify(Path("cat.jpg"), ["cat", "dog"], model="openai/clip-vit-large-patch14")

        Args:
            inputs: A string is a text; a path object, bytes, an open binary file, an `Image`, a PIL image or an `Audio` is a
                picture or a sound, by its first bytes.
            labels: The labels to choose from; None takes the model's own. (None for sounds.)
            model: Hub id; None takes what the Hub shows for the task.
            options: Settings such as ``top_k``, or with labels ``multi_label`` and ``hypothesis_template``; all others as for
                :meth:`task`, which also says what is raised.
        """
        name, what = _classified(inputs)
        if labels is not None:
            options["candidate_labels"] = [labels] if isinstance(labels, str) else list(labels)
            if name == "audio-classification":
                raise Unsupported("sounds are not classified by labels of your own")
            name = "zero-shot-image-classification" if name == "image-classification" else "zero-shot-classification"
        found: list[Classification] = self.task(name, what, model=model, **options)
        return found

    def task(
        self,
        name: str,
        inputs: Any,
        *,
        model: str | None = None,
        provider: str | None = None,
        extra_body: _Body | None = None,
        timeouts: Timeouts | None = None,
        **settings: Any,
    ) -> Any:
        """Return what a pipeline makes of *inputs*: any task of hf-inference, or of an endpoint that speaks its language.

            inference.task("question-answering", {"question": "Who?", "context": "It was Ada."})[0].answer
            inference.task("object-detection", "street.jpg", threshold=0.8)[0].box
            inference.task("translation", "Guten Tag", model="Helsinki-NLP/opus-mt-de-en")

        Args:
            name: As on the Hub; `hfclient.inference.tasks.TASKS` has those whose answers become values. Any other one is
                asked for as well, such as ``"depth-estimation"``, and its answer comes as it is.
            inputs: A text; a file (path, bytes, open binary file, URL); a dict for tasks with several inputs: ``question``
                and ``context``, ``question`` and ``image``, ``query`` and ``table``, ``source_sentence`` and ``sentences``.
                For a task whose name is not known an object is a file, a string a text, or a path if the name begins with
                ``image-``, ``video-`` or ``audio-``; under ``image``, ``video`` and ``audio`` of a dict, too.
            model: Hub id; None takes what the Hub shows for the task, or what a server of your own has.
            provider: ``"hf-inference"``, ``"auto"`` or None; ``"tei"`` for a text-embeddings-inference server of your own;
                ``"fal-ai"`` for ``image-segmentation``. Other providers are reached by `embed`, `transcribe` and `speak`.
            extra_body: Fields at the root of the request, over all others; None removes one.
            timeouts: Deadlines; ``total`` is 300 s where it is None.
            settings: The task's own, such as ``top_k`` or ``candidate_labels``.

        Returns:
            Values by the task: a list of `Classification`, `Span`, `ExtractedAnswer`, `BoxedObject`, `Segment` or `MaskFill`
            (a list of such lists for several gaps), a `TableAnswer`, a `Transcript`, an `Audio` or a list of them, a list
            of numbers, or a string. For other tasks the answer's JSON, a text, an `Image`, `Video` or `Audio`, or bytes.

        Raises:
            InvalidInputError: The name is a known one misspelt, *inputs* are not what the task takes, or one setting needs
                another.
            Unsupported: The task has no such setting, or a method of its own.
            ModelNotFound: hf-inference does not serve the model.
            ProtocolError: The answer is not what the task gives.
            APIStatusError, TransportError: The server refused, or did not answer.

        Reference: POST {base}/models/{model}
        """
        spec = task_named(name)
        settings = {key: value for key, value in settings.items() if value is not None}
        spec.check(settings)
        if name == IMAGE_SEGMENTATION and self._is_for_fal(model, provider, settings):
            options = {"model": model, "provider": "fal-ai", "extra_body": extra_body, "timeouts": timeouts}
            with self._start(name, "", inputs, 1, options) as job:  # it gives the thing in front, without a label
                return [Segment("mask", made.content) for made in job.result()]
        inputs = check_inputs(spec, inputs)
        line = errand(self._session, timeouts)
        inputs = self._loaded(line, spec, inputs)
        if provider == TEI:
            place = self._tei(model or "")
            if name not in _TEI_ROUTES:
                raise Unsupported(f"text-embeddings-inference does not do {name}; it does {', '.join(_TEI_ROUTES)}")
            body = without_none({"inputs": inputs, **settings, **(extra_body or {})})
            request = json_request(place.target.url(_TEI_ROUTES[name]), body)
        else:
            if provider not in (None, "auto", HF):
                raise Unsupported(f"pipelines are asked at hf-inference only, not at {provider}")
            place = self._serving(name, model, HF, (HF,))[0]
            named = place.entry.provider_id
            # A deployment has one model and no paths.
            path = f"/models/{id_path(named)}{spec.path}" if named else ""
            request = pipeline_request(spec, place.target.url(path), inputs, settings, extra_body)
        line.headers = self._headers(place)
        answer, request_id = ask(line, place, request)
        if spec.settings is None:
            facts = {"model": place.entry.model, "provider": place.provider, "request_id": request_id}
            return as_it_comes(answer, **facts)
        if spec.decode is None:
            return self._audio(line, place, answer, prompt=inputs, request_id=request_id)
        if name == "audio-to-audio":
            facts = {"model": place.entry.model, "provider": place.provider, "request_id": request_id}
            return [
                self._fetched(line, place, output, label=label, prompt=label, **facts) for label, output in audio_tracks(answer)
            ]
        if name == "automatic-speech-recognition":
            said = self._transcript(line, place, answer)
            return evolve(said, provider=place.provider, request_id=request_id)
        with bodied(answer):
            return spec.decode(json_of(answer))

    def _is_for_fal(self, model: str | None, provider: str | None, settings: _Body) -> bool:
        """Tell whether a picture is to be taken apart by fal-ai, which does it besides hf-inference, without settings."""
        named = provider == "fal-ai" or (model or "").endswith(":fal-ai")
        if named and settings:
            raise Unsupported(f"fal-ai would ignore {', '.join(settings)}; hf-inference takes it")
        if named or settings or provider not in (None, "auto") or model is None or self._routes.own_server:
            return named
        try:
            return self._serving(IMAGE_SEGMENTATION, model, None, (HF, "fal-ai"))[0].provider == "fal-ai"
        except ModelNotFound:  # the mapping does not know all that hf-inference has
            return False

    # Files

    def _loaded(self, line: Line, spec: Task, inputs: Any) -> Any:
        """Return *inputs* with their file read or fetched."""
        if spec.takes == SOUND:
            sound = self._heard(line, load_sound(inputs))
            return File(sound.content, sound.mime)
        if spec.takes == PICTURE:
            return _seen(line, inputs)
        if spec.takes == ANY:
            if isinstance(inputs, Mapping):
                return {key: _any_file(line, value, key in _FILES) for key, value in inputs.items()}
            return _any_file(line, inputs, spec.name.partition("-")[0] in _FILES)
        return {**inputs, "image": _seen(line, inputs["image"])} if spec.takes == QUESTION else inputs

    @staticmethod
    def _heard(line: Line, sound: Sound) -> Sound:
        if sound.url is None:
            return sound
        content, claimed = line.fetch(sound.url, limit=MAX_SOUND + 1)
        name = PurePosixPath(urlsplit(sound.url).path).name
        file = open_source((name, content, claimed), MAX_SOUND, "sound")
        return checked_sound(Sound(file.read(), name=file.name, claimed=file.claimed))


def _seen(line: Line, source: PictureLike) -> File:
    picture = load_picture(source)
    if picture.content is None:
        picture = load_picture(line.fetch(picture.url or "", limit=MAX_PICTURE + 1)[0])
    return File(picture.content or b"", picture.mime)


def _any_file(line: Line, value: Any, is_file: bool) -> Any:
    """Return what names a file as its bytes; a string does if *is_file*. Whatever else JSON has stays as it is."""
    if isinstance(value, str) and not is_data_url(value) and not is_file:
        return value
    if not is_one(value):
        return value
    claimed = ""
    if is_url(value):
        value, claimed = line.fetch(value, limit=MAX_SOUND + 1)
    file = open_source(value, MAX_SOUND)
    content = file.read()
    return File(content, media_type(content, file.name, file.claimed or claimed) or "application/octet-stream")


def _classified(inputs: Any) -> tuple[str, Any]:
    """Return the task that gives labels to *inputs*, and the inputs as that task takes them."""
    if isinstance(inputs, list):
        raise InvalidInputError("one text, picture or sound is classified at a time, not a list")
    if isinstance(inputs, str) and not is_data_url(inputs):
        return "text-classification", inputs
    if isinstance(inputs, Sound):
        return "audio-classification", inputs
    if isinstance(inputs, Picture) or is_picture(inputs):
        return "image-classification", inputs
    file = open_source(inputs, MAX_SOUND)
    content = file.read()
    mime = media_type(content, file.name, file.claimed) or ""
    if mime.startswith("image/"):
        return "image-classification", content
    if mime.startswith(("audio/", "video/")):
        return "audio-classification", Sound(content, name=file.name, claimed=file.claimed)
    what = repr(file.name) if file.name else "this"
    raise InvalidInputError(f"{what} is neither a picture nor a sound; a text is given as a string")
