"""Images and videos: submitted once, to the next provider if one fails.

A provider may bill a request as soon as it has arrived, so it is sent once. It is sent again only if the provider did
nothing: it could not be reached, or it answered with a limit (429) or with a model that is being loaded (503 with an
estimated time). The next provider is also called if one failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from attrs import evolve

from hfclient.credentials import origin_of
from hfclient.errors import HFClientError, InvalidInputError
from hfclient.events import AnyEvent
from hfclient.inference.content.image_inputs import MAX_IMAGE, ImageInput, ImageLike, load_image
from hfclient.inference.media.image_lists import Images
from hfclient.inference.media.images import Image, Media
from hfclient.inference.media.jobs import Job, queued_job_from
from hfclient.inference.models.defaults import DEFAULT_IMAGE_MODEL
from hfclient.inference.providers import (
    IMAGE_SEGMENTATION,
    IMAGE_TO_IMAGE,
    IMAGE_TO_VIDEO,
    PROVIDERS,
    TAKES,
    TEXT_TO_IMAGE,
    TEXT_TO_VIDEO,
    MediaRequest,
    QueuedJob,
)
from hfclient.inference.providers.addresses import call_headers
from hfclient.inference.providers.parameters import MAX_SEED, checked
from hfclient.inference.providers.results import keep_body
from hfclient.inference.routing.failover import Providers
from hfclient.inference.routing.provider_client import ProviderClient
from hfclient.inference.service import InferenceService
from hfclient.progress import ProgressBar
from hfclient.transport import Clock, Timeouts

__all__ = ["MediaGeneration", "result_of"]

_M = TypeVar("_M", bound=Media)
_TOTAL = {TEXT_TO_IMAGE: 300.0, IMAGE_TO_IMAGE: 300.0, TEXT_TO_VIDEO: 1200.0, IMAGE_TO_VIDEO: 1200.0}
_MAX_IMAGES = 64  # images of one call


class MediaGeneration:
    """The image and video models of one service."""

    def __init__(self, service: InferenceService) -> None:
        self._service = service

    def images(self, prompt: str, n: int, options: Mapping[str, Any]) -> Images:
        """Return *n* images; see `InferenceClient.images`."""
        if not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= _MAX_IMAGES:
            raise InvalidInputError(f"n is a number from 1 to {_MAX_IMAGES}, not {n!r}")
        clock = self._service.session.clock(options.get("timeouts"))
        shared = None if clock.total is None else clock  # the default total is for each request
        given, seed = dict(options), options.get("seed")
        if seed is not None:
            checked({"seed": seed})  # seeds of later images wrap around; the given one must fit
        made: list[Image] = []
        progress = given.pop("progress", None)
        try:
            with ProgressBar(progress if n > 1 else False, total=n, unit="image", label="Images") as bar:
                given["progress"] = False if n > 1 else progress
                while len(made) < n:
                    if seed is not None:
                        given["seed"] = (seed + len(made)) % (MAX_SEED + 1)
                    job = self.start(TEXT_TO_IMAGE, prompt, given, n=n - len(made), clock=shared)
                    made += result_of(job)[: n - len(made)]
                    bar.update(len(made))
        except HFClientError as error:
            error.completed = (*made, *error.completed)
            raise
        return Images(made)

    def restore(self, state: Mapping[str, Any], timeouts: Timeouts | None) -> Job[Any]:
        """Return a job from ``Job.to_dict()``; see `InferenceClient.restore_job`."""
        known = state.get("facts") if isinstance(state, Mapping) else None
        if not isinstance(known, Mapping):
            raise InvalidInputError("this does not describe a job; Job.to_dict() does")
        job, task = queued_job_from(state.get("queued")), str(state.get("task"))
        provider = PROVIDERS.get(job.provider)
        if provider is None or task not in TAKES[job.provider]:
            raise InvalidInputError(f"this does not describe a job: no provider {job.provider!r} does {task!r}")
        target = self._service.routes.target(job.provider)
        origins = {origin_of(target.base), origin_of(target.queue)}
        for url in (job.url, job.result_url, job.cancel and job.cancel[1]):
            if url and origin_of(url) not in origins:
                raise InvalidInputError("this job was submitted by another route (router or own key) than this client has")
        client = ProviderClient(self._service.session, self._clock(task, timeouts))
        billed = not self._service.routes.has_key(job.provider)
        client.headers = call_headers(job.provider, self._service.bill_to if billed else None)
        facts = {**known, "provider": job.provider, "request_id": job.id}
        return Job(client, provider, target, job, task=task, facts=facts, on_event=self._service.on_event)

    def start(
        self,
        task: str,
        prompt: str,
        options: Mapping[str, Any],
        *,
        image: ImageLike | None = None,
        n: int = 1,
        clock: Clock | None = None,
    ) -> Job[Any]:
        """Submit a job, to the next provider if one fails; see `InferenceClient.image_job`.

        Args:
            task: Such as ``"text-to-image"``.
            prompt: Of the call.
            options: Of the call.
            image: The image to change, or the first frame of a video.
            n: Of the call.
            clock: Of a call that submits several jobs; None starts one, with the ``timeouts`` among the options.
        """
        given = dict(options)
        model, provider = given.pop("model", None), given.pop("provider", None)
        extra, timeouts = given.pop("extra_body", None), given.pop("timeouts", None)
        notify = self._notifier(given.pop("on_progress", None))
        progress = given.pop("progress", None)
        ProgressBar(progress)  # a wrong one is refused before anything is billed
        settings = checked(given)
        if image is None and task in (IMAGE_TO_IMAGE, IMAGE_SEGMENTATION):  # an image of the prompt alone would be billed
            raise InvalidInputError("there is no image to change: image is None")
        if not isinstance(prompt, str) or not (prompt.strip() or image is not None):
            wrong = "is empty" if isinstance(prompt, str) else f"must be a string, not {type(prompt).__name__}"
            raise InvalidInputError(f"the prompt {wrong}")
        loaded = None if image is None else load_image(image)
        if provider is None and self._service.routes.is_endpoint:
            provider = "hf-inference"
        has_own_model = self._service.routes.own_server and provider in (None, "auto", "hf-inference")
        if model is None and task == TEXT_TO_IMAGE and not has_own_model:
            model = DEFAULT_IMAGE_MODEL
        candidates = self._service.routes.candidates(task, model, provider, settings)
        client = ProviderClient(self._service.session, clock or self._clock(task, timeouts))

        providers = Providers(candidates, billed=True)
        for attempt in self._service.each_provider(providers, client, notify):
            with attempt:
                candidate = providers.candidate
                maker = PROVIDERS[candidate.provider]
                wanted = MediaRequest(
                    task=task,
                    entry=candidate.entry,
                    prompt=prompt,
                    image=_with_content(loaded, candidate.provider, client),
                    parameters=settings,
                    count=n,
                    extra=extra or {},
                )
                refine = self._service.refining(candidate.entry.model)
                request = evolve(maker.build(wanted, candidate.target), refine=refine)
                answer, request_id = client.send_once(request, is_last=not providers.left)
                with keep_body(answer):
                    state = maker.decode(wanted, candidate.target, answer)
        facts = {
            "prompt": prompt,
            "model": candidate.entry.model or candidate.entry.provider_id,
            "provider": candidate.provider,
            "seed": settings.get("seed"),
            "request_id": request_id or (state.id if isinstance(state, QueuedJob) else None),
            "failovers": tuple(providers.failovers),
        }
        return Job(client, maker, candidate.target, state, task=task, facts=facts, on_event=notify, progress=progress)

    def _clock(self, task: str, timeouts: Timeouts | None) -> Clock:
        return self._service.session.clock(timeouts, total=_TOTAL.get(task, 300.0))

    def _notifier(self, on_progress: Callable[[AnyEvent], object] | None) -> Callable[[AnyEvent], object]:
        if on_progress is not None and not callable(on_progress):  # raised before anything is billed
            raise InvalidInputError(f"on_progress is a function that takes an event, not {on_progress!r}")
        listeners = [listener for listener in (self._service.on_event, on_progress) if listener is not None]

        def notify(event: AnyEvent) -> None:
            for listener in listeners:
                listener(event)

        return notify


def result_of(job: Job[_M]) -> list[_M]:
    """Return the results of *job*. If the wait ends early (a listener raises, say), the job is cancelled."""
    with job:
        return job.result()


def _with_content(image: ImageInput | None, provider: str, client: ProviderClient) -> ImageInput | None:
    """Return the image with its bytes, for providers that do not take URLs."""
    if image is None or image.url is None or PROVIDERS[provider].takes_urls:
        return image
    content, _ = client.fetch(image.url, limit=MAX_IMAGE + 1)
    return load_image(content)
