"""`Provider`: a small class that turns values into values, without a network.

    build(wanted, target)                -> Request                     what to send
    decode(wanted, target, answer)       -> MediaResult or QueuedJob    files, or a job that is not done
    decode_poll(queued, target, answer)  -> MediaResult or QueuedJob    the same for each poll of the job

`QueuedJob` has everything that a later poll needs, so another process can continue a job.

Reference: docs/protocol/inference ("images and video", "queued jobs").
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from typing import Any, ClassVar, NoReturn
from urllib.parse import quote

from attrs import evolve, field, frozen

from hfclient.decoding.frames import excerpt
from hfclient.decoding.json_values import int_or_none, text_or_none
from hfclient.errors import GenerationError, InvalidInputError, ProtocolError
from hfclient.inference.content.image_inputs import ImageInput
from hfclient.inference.generation_errors import generation_error
from hfclient.inference.models.mapping import ProviderEntry
from hfclient.inference.providers.addresses import Target
from hfclient.inference.providers.parameters import TAKES, refuse_ignored, size_for
from hfclient.inference.providers.results import Answer, MediaResult, find_result, parse_result, result_in
from hfclient.transport import Request

__all__ = [
    "MediaRequest",
    "Provider",
    "QueuedJob",
    "child",
    "has_failed",
    "id_path",
    "pruned",
    "size_text",
    "word",
]

_JOB_ID = re.compile(r"(?!\.+$)[\w.:~-]+", re.ASCII)


_FAILED = re.compile(r"fail|error|cancel|abort|reject|expired|time_?d?_?out", re.IGNORECASE)


@frozen(kw_only=True)
class MediaRequest:
    """A request for images or a video, in the terms of no particular provider.

    Attributes:
        task: ``"text-to-image"``, ``"image-to-image"``, ``"text-to-video"`` or ``"image-to-video"``.
        entry: The model, and what it is called at the provider.
        prompt: The text; may be empty where there is an image.
        image: The image to start from, or None.
        parameters: Settings by our names: ``width``, ``steps``, ``guidance``, ... None values are left out.
        count: How many results this one request is for.
        extra: Fields that are sent as they are; they override all others.
    """

    task: str
    entry: ProviderEntry
    prompt: str = ""
    image: ImageInput | None = None
    parameters: Mapping[str, Any] = field(factory=dict)
    count: int = 1
    extra: Mapping[str, Any] = field(factory=dict)


@frozen(kw_only=True)
class QueuedJob:
    """A job in a provider's queue, and where to poll it.

    Attributes:
        provider: The provider's id.
        id: The provider's id of the job.
        url: What to GET next, with its query.
        state: ``"queued"`` or ``"running"``.
        position: How many jobs are in front of it, or None.
        progress: Done so far, 0 to 1, or None.
        message: The provider's words, or None.
        every: Shortest wait between two polls, in seconds.
        result_url: Where the result will be, if it is not at *url*.
        cancel: Method and URL of the request that cancels it, or None.
        wanted: How many files were requested: with fewer, a job that is not done continues.
    """

    provider: str
    id: str
    url: str
    state: str = "queued"
    position: int | None = None
    progress: float | None = None
    message: str | None = None
    every: float = 0.5
    result_url: str | None = None
    cancel: tuple[str, str] | None = None
    wanted: int = 1

    @property
    def is_done(self) -> bool:
        """Whether the next poll fetches the result itself."""
        return self.url == self.result_url

    def waiting(
        self, state: str, *, position: Any = None, progress: float | None = None, message: Any = None
    ) -> QueuedJob:
        """Return the same job with a new state, not done; *position* and *message* are taken as they came."""
        return evolve(
            self,
            state=state,
            position=int_or_none(position),
            progress=progress,
            message=text_or_none(message),
        )

    def fetch(self) -> QueuedJob:
        """Return the same job, done: the next poll fetches its result."""
        return evolve(self, url=self.result_url or self.url, state="running", every=0.0)


class Provider:
    """One provider. Subclasses build its requests and parse its answers; an instance has no state.

    Attributes:
        name: Its id on the Hub.
        takes_urls: Whether it takes images as URLs.
    """

    name: ClassVar[str]
    takes_urls: ClassVar[bool] = True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def build(self, wanted: MediaRequest, target: Target) -> Request:
        """Return the request for *wanted*."""
        raise NotImplementedError

    def decode(self, wanted: MediaRequest, target: Target, answer: Answer) -> MediaResult | QueuedJob:
        """Return the result in the answer to that request, or the job in it.

        Raises:
            GenerationError: It reports an error.
            ProtocolError: It is neither a result nor a job.
        """
        return parse_result(answer)

    def decode_poll(self, queued: QueuedJob, target: Target, answer: Answer) -> MediaResult | QueuedJob:
        """Return the result in the answer to a poll, or the job with its new state.

        Raises:
            GenerationError: The job failed or was cancelled, or is in an unknown state.
            ProtocolError: The answer does not describe a job.
        """
        raise ProtocolError(f"{self.name} has no queued jobs", frame=excerpt(answer.body))

    # For subclasses

    def settings(self, wanted: MediaRequest) -> dict[str, Any]:
        """Return the settings of *wanted* by the provider's own names; an aspect ratio becomes a size if it has sizes only.

        Raises:
            Unsupported: It would ignore one of them.
        """
        names = TAKES[self.name][wanted.task]
        given = pruned(wanted.parameters)
        if "aspect_ratio" in given and "aspect_ratio" not in names and "width" in names:
            given["width"], given["height"] = size_for(given.pop("aspect_ratio"))
        if wanted.count > 1 and "n" in names:
            given["n"] = wanted.count
        refuse_ignored(self.name, wanted.task, given)
        return {names[name]: value for name, value in given.items()}

    def post(self, url: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Request:
        """Return a POST of *body* without the fields that are None.

        The session never repeats it once it may have arrived, because it may be billed. Silence before its answer is bounded
        by ``Timeouts.first_token``, because the provider works meanwhile.

        Raises:
            InvalidInputError: Something in it cannot be written as JSON.
        """
        return Request.with_json("POST", url, pruned(body), headers=headers or {}, stream=True)

    def job_id(self, data: Mapping[str, Any], key: str) -> str:
        """Return the id of a job, fit for a URL.

        Raises:
            ProtocolError: It is missing, or has characters that an id never has.
        """
        found = data.get(key)
        if not isinstance(found, str) or not _JOB_ID.fullmatch(found):
            raise ProtocolError(f"{self.name} gave no usable id of the job", frame=str(found)[:200])
        return found

    def found(
        self, data: Any, state: str | None, *, done: Container[str | None], waiting: Container[str | None], why: Any = None
    ) -> MediaResult | None:
        """Return the files in the answer to a poll unless the job failed, whatever its state; None: poll again.

        The state may lag behind: replicate answers with all files as soon as they are there, and still says "processing".

        Args:
            data: Where the files are.
            state: The job's state as the provider calls it, or None.
            done: The states of a job that is done.
            waiting: The states of one that is not.
            why: What the provider says about a failure.

        Raises:
            GenerationError: The job failed, is done without a file, or is in an unknown state.
        """
        if not has_failed(state):
            result = find_result(data, is_job=state in waiting)
            if result is not None:
                return result
        if state in done:
            return result_in(data)
        if state not in waiting:
            self.failed(why, f"the job is {state!r}")
        return None

    def failed(self, data: Any, fallback: str) -> NoReturn:
        """Raise the `GenerationError` that *data* describes, or one that says *fallback*."""
        if not data:
            raise GenerationError(f"{self.name}: {fallback}")
        raise generation_error(data if isinstance(data, dict) else {"error": data})


def id_path(name: str) -> str:
    """Return a model's name or a job's id as a part of a path: slashes stay, and it cannot change the rest of the path.

    >>> id_path("fal-ai/flux/dev")
    'fal-ai/flux/dev'

    Raises:
        InvalidInputError: It has an empty segment, or one of dots.
    """
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise InvalidInputError(f"this is not a name of a model: {name!r}")
    return quote(name, safe="/:@", errors="replace")


def has_failed(state: str | None) -> bool:
    """Return whether a state of a job, as a provider calls it, means that it failed or was cancelled."""
    return _FAILED.search(state or "") is not None


def word(data: Mapping[str, Any], key: str) -> str | None:
    """Return the string under *key*, or None; any other type gives a string that is not a known state."""
    value = data.get(key)
    return value if value is None or isinstance(value, str) else f"not a string, but {type(value).__name__}"


def pruned(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return *fields* without those that are None: several servers refuse ``null``."""
    return {key: value for key, value in fields.items() if value is not None}


def child(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the object under *key*, or an empty one."""
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def size_text(settings: dict[str, Any]) -> str | None:
    """Take ``width`` and ``height`` out of *settings* and return them as one text such as ``"768x512"``, or None."""
    width, height = settings.pop("width", None), settings.pop("height", None)
    return None if width is None or height is None else f"{width}x{height}"
