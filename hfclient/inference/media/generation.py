"""The calls that make pictures and videos: one wing of `InferenceClient`.

A request for a picture may be billed as soon as it has arrived somewhere, so it is sent once. It is sent again only when
the provider said that it did nothing: it was not reached, a limit (429), a model that is being loaded (503 with an
estimated time), and to the next provider also when it failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast

from attrs import evolve

from hfclient.arguments.argument_types import checks_arguments
from hfclient.arguments.option_hints import refuse_unknown
from hfclient.credentials import origin_of
from hfclient.errors import HFClientError, InvalidInputError, ModelNotFound
from hfclient.events import AnyEvent
from hfclient.inference.content.pictures import MAX_PICTURE, Picture, PictureLike, load_picture
from hfclient.inference.failures import refined
from hfclient.inference.media.images import Image, Media, Video
from hfclient.inference.media.jobs import Job, Line, ticket_from
from hfclient.inference.models.defaults import DEFAULT_IMAGE_MODEL
from hfclient.inference.providers import (
    IMAGE_TO_IMAGE,
    IMAGE_TO_VIDEO,
    PROVIDERS,
    TAKES,
    TEXT_TO_IMAGE,
    TEXT_TO_VIDEO,
    Outcome,
    Ticket,
    Work,
)
from hfclient.inference.providers.parameters import MAX_SEED, checked
from hfclient.inference.providers.places import call_headers
from hfclient.inference.providers.results import bodied
from hfclient.inference.rounds import RoundClock
from hfclient.inference.routing.candidates import Candidate, ProviderLike, Routes
from hfclient.inference.routing.failover import try_each
from hfclient.transport import Request, Session, Timeouts

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["ImageOptions", "MediaCalls", "VideoOptions"]

_M = TypeVar("_M", bound=Media)
_TOTAL = {TEXT_TO_IMAGE: 300.0, IMAGE_TO_IMAGE: 300.0, TEXT_TO_VIDEO: 1200.0, IMAGE_TO_VIDEO: 1200.0}
_MOST = 64  # pictures of one call


class _Options(TypedDict, total=False):
    model: str | None
    provider: ProviderLike
    negative_prompt: str | None
    width: int | None
    height: int | None
    size: str | tuple[int, int] | None
    aspect_ratio: str | None
    steps: int | None
    guidance: float | None
    seed: int | None
    lora_scale: float | None
    extra_body: Mapping[str, Any] | None
    timeouts: Timeouts | None
    on_progress: Callable[[AnyEvent], object] | None


class ImageOptions(_Options, total=False):
    """The options of `InferenceClient.image`, which describes them."""

    scheduler: str | None


class VideoOptions(_Options, total=False):
    """The options of `InferenceClient.video`, which describes them."""

    num_frames: int | None


@checks_arguments
class MediaCalls:
    """Pictures and videos; the base of `InferenceClient` that makes them."""

    _session: Session
    _routes: Routes
    _bill_to: str | None
    _on_event: Callable[[AnyEvent], object] | None

    def image(self, prompt: str, **options: Unpack[ImageOptions]) -> Image:
        """Return a picture of *prompt*.

            image = inference.image("an astronaut riding a horse", model="black-forest-labs/FLUX.1-schnell", seed=7)
            image.save("astronaut")

        Settings that are None are not sent. One that the provider would ignore in silence is refused; with a choice among
        providers those that would are passed over. Models differ within a provider, and what a single one of them
        ignores nobody can know.

        Args:
            prompt: What to show.
            model: Its name on the Hub, with a provider's suffix or without (``"org/name:fal-ai"``); a LoRA adapter's name,
                too. None takes FLUX.1-dev, or what a server of your own has.
            provider: Who shall make it: an id, several in the order to try, or ``"auto"`` (the Hub's order, which is yours
                if you set one; the default). With a choice the next one is asked when one fails.
            negative_prompt: What not to show.
            width, height: In pixels, both or none.
            size: The same as one text, ``"768x512"``, or as a pair.
            aspect_ratio: The shape instead, such as ``"16:9"``.
            steps: Steps of denoising.
            guidance: How closely to follow the prompt.
            seed: 0 to 4294967295, for pictures that can be made again.
            scheduler: Name of the sampler.
            lora_scale: Strength of a LoRA adapter.
            extra_body: Fields of the provider's own, over all others; None removes one.
            timeouts: Deadlines of this call; ``total`` is 300 s where it is None.
            on_progress: Called with `JobProgress` while it waits in a queue, and with `Failover`.

        Raises:
            InvalidInputError: A setting cannot work, or the model makes no pictures.
            Unsupported: The provider would ignore a setting; the message names those that take it.
            CredentialsError: There is no token for the router, and no key for the provider.
            ModelNotFound: Nobody serves the model.
            GenerationError: The provider failed to make it.
            CreditsExhausted: The account's credits are used up.
            TransportTimeout: It was not done in time. Queued jobs are cancelled then.
            ProtocolError: What came is no picture.
            APIStatusError, TransportError: The provider refused, or did not answer.

        Reference: docs/protocol/inference ("images and video").
        """
        return _waited(self.image_job(prompt, **options))[0]

    def images(self, prompt: str, n: int, **options: Unpack[ImageOptions]) -> list[Image]:
        """Return *n* pictures of *prompt*: of one request where the provider can do that, else one after the other.

        With a seed the second request has the next one, and so on. When one of them fails, ``completed`` on the error holds the
        pictures that were there.

        Args:
            prompt: What to show.
            n: How many, 1 to 64.
            options: As for :meth:`image`, which also says what is raised.
        """
        if not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= _MOST:
            raise InvalidInputError(f"n is a number from 1 to {_MOST}, not {n!r}")
        clock = RoundClock(self._session.deadlines(options.get("timeouts")))
        seed = options.get("seed")
        if seed is not None:
            checked({"seed": seed})  # the next ones go round, but what was given is not cut
        made: list[Image] = []
        try:
            while len(made) < n:
                if made:
                    options["timeouts"] = clock.next_timeouts()
                if seed is not None:
                    options["seed"] = (seed + len(made)) % (MAX_SEED + 1)
                made += _waited(self.image_job(prompt, n=n - len(made), **options))[: n - len(made)]
        except HFClientError as error:
            error.completed = (*made, *error.completed)
            raise
        return made

    def image_to_image(self, image: PictureLike, prompt: str = "", **options: Unpack[ImageOptions]) -> Image:
        """Return a picture made from *image* as *prompt* says.

            inference.image_to_image("cat.png", "make it a tiger", model="black-forest-labs/FLUX.1-Kontext-dev")

        Args:
            image: A path, bytes, an open binary file, an `Image`, a PIL image, or a URL. A URL is given to the provider, or
                fetched here without credentials for those that take none.
            prompt: What to change.
            options: As for :meth:`image`, which also says what is raised; a model must be named.
        """
        return _waited(self.image_job(prompt, image=_given(image), **options))[0]

    def video(self, prompt: str = "", *, image: PictureLike | None = None, **options: Unpack[VideoOptions]) -> Video:
        """Return a video of *prompt*, of *image* that begins to move, or of both. It takes minutes.

            inference.video("a fox runs through snow", model="Wan-AI/Wan2.2-T2V-A14B").save("fox")

        Args:
            prompt: What happens.
            image: What it begins with; as for :meth:`image_to_image`.
            options: As for :meth:`image`, which also says what is raised; a model must be named. ``num_frames`` instead of
                ``scheduler``; ``timeouts.total`` is 1200 s where it is None.
        """
        return _waited(self.video_job(prompt, image=image, **options))[0]

    def image_job(
        self, prompt: str, *, image: PictureLike | None = None, n: int = 1, **options: Unpack[ImageOptions]
    ) -> Job[Image]:
        """Ask for pictures and return at once if the provider has a queue: see `Job`.

        Others are done when this returns. *n* is a wish: where one request makes one picture, there will be one.
        """
        task = TEXT_TO_IMAGE if image is None else IMAGE_TO_IMAGE
        return self._start(task, prompt, image, n, cast("dict[str, Any]", options))

    def video_job(
        self, prompt: str = "", *, image: PictureLike | None = None, **options: Unpack[VideoOptions]
    ) -> Job[Video]:
        """Ask for a video and return at once if the provider has a queue: see `Job`."""
        task = TEXT_TO_VIDEO if image is None else IMAGE_TO_VIDEO
        return self._start(task, prompt, image, 1, cast("dict[str, Any]", options))

    def restore_job(self, state: Mapping[str, Any], *, timeouts: Timeouts | None = None) -> Job[Any]:
        """Return the job that `Job.to_dict` described, in this or another process; its deadline begins anew.

        Raises:
            InvalidInputError: It describes no job, or one at a place that this client does not know.
            CredentialsError, Unsupported: There is no way to its provider from here.
        """
        known = state.get("facts") if isinstance(state, Mapping) else None
        if not isinstance(known, Mapping):
            raise InvalidInputError("this describes no job; Job.to_dict() does")
        ticket, task = ticket_from(state.get("ticket")), str(state.get("task"))
        provider = PROVIDERS.get(ticket.provider)
        if provider is None or task not in TAKES[ticket.provider]:
            raise InvalidInputError(f"this describes no job: nobody known as {ticket.provider!r} does {task!r}")
        target = self._routes.target(ticket.provider)
        places = {origin_of(target.base), origin_of(target.queue)}
        for url in (ticket.url, ticket.result_url, ticket.cancel and ticket.cancel[1]):
            if url and origin_of(url) not in places:
                raise InvalidInputError("this job was submitted in another way (router or own key) than it would be now")
        line = self._line(task, timeouts)
        billed = not self._routes.has_key(ticket.provider)
        line.headers = call_headers(ticket.provider, self._bill_to if billed else None)
        facts = {**known, "provider": ticket.provider, "request_id": ticket.id}
        return Job(line, provider, target, ticket, task=task, facts=facts, on_event=self._on_event)

    # How it is done

    def _start(
        self, task: str, prompt: str, image: PictureLike | None, n: int, options: dict[str, Any]
    ) -> Job[Any]:
        _refuse_unknown(options, task)
        model, provider = options.pop("model", None), options.pop("provider", None)
        extra, timeouts = options.pop("extra_body", None), options.pop("timeouts", None)
        tell = self._teller(options.pop("on_progress", None))
        settings = checked(options)
        if not isinstance(prompt, str) or not (prompt.strip() or image is not None):
            raise InvalidInputError("the prompt is empty" if isinstance(prompt, str) else f"the prompt is a text, not {type(prompt).__name__}")
        picture = None if image is None else load_picture(image)
        if provider is None and self._routes.is_endpoint:
            provider = "hf-inference"
        has_own_model = self._routes.own_server and provider in (None, "auto", "hf-inference")
        if model is None and task == TEXT_TO_IMAGE and not has_own_model:
            model = DEFAULT_IMAGE_MODEL
        candidates = self._routes.candidates(task, model, provider, settings)
        line = self._line(task, timeouts)

        def attempt(candidate: Candidate, is_last: bool) -> tuple[Outcome | Ticket, str | None]:
            maker = PROVIDERS[candidate.provider]
            line.headers = call_headers(candidate.provider, self._bill_to if candidate.billed else None, candidate.target.base)
            work = Work(
                task=task,
                entry=candidate.entry,
                prompt=prompt,
                picture=_fetched(picture, candidate.provider, line),
                parameters=settings,
                count=n,
                extra=extra or {},
            )
            request = self._refining(maker.build(work, candidate.target), candidate.entry.model)
            try:
                answer, request_id = line.submit(request, patient=is_last)
                with bodied(answer):
                    return maker.decode(work, candidate.target, answer), request_id
            except HFClientError as error:
                line.name(error)
                raise

        (state, request_id), candidate, failovers = try_each(candidates, attempt, billed=True, tell=tell)
        facts = {
            "prompt": prompt,
            "model": candidate.entry.model or candidate.entry.provider_id,
            "provider": candidate.provider,
            "seed": settings.get("seed"),
            "request_id": request_id or (state.id if isinstance(state, Ticket) else None),
            "failovers": failovers,
        }
        maker = PROVIDERS[candidate.provider]
        return Job(line, maker, candidate.target, state, task=task, facts=facts, on_event=tell)

    def _line(self, task: str, timeouts: Timeouts | None) -> Line:
        timeouts = self._session.deadlines(timeouts)
        return Line(self._session, evolve(timeouts, total=_TOTAL.get(task, 300.0) if timeouts.total is None else timeouts.total))

    def _teller(self, on_progress: Callable[[AnyEvent], object] | None) -> Callable[[AnyEvent], object]:
        if on_progress is not None and not callable(on_progress):  # told now, before anything is paid for
            raise InvalidInputError(f"on_progress is a function that takes an event, not {on_progress!r}")
        listeners = [listener for listener in (self._on_event, on_progress) if listener is not None]

        def tell(event: AnyEvent) -> None:
            for listener in listeners:
                listener(event)

        return tell

    def _refining(self, request: Request, model: str) -> Request:
        def refine(error: Any) -> Any:
            better = refined(error, model)
            if isinstance(better, ModelNotFound):
                self._routes.forget(model)
            return better

        return evolve(request, refine=refine)


def _waited(job: Job[_M]) -> list[_M]:
    """Return what the job makes. Nobody else has it: whatever ends the waiting (a listener that raises) ends the job."""
    with job:
        return job.result()


def _given(image: PictureLike) -> PictureLike:
    if image is None:  # whoever calls may have lost it; a picture of the prompt alone is another thing, and is billed
        raise InvalidInputError("there is no picture to change: image is None")
    return image


def _fetched(picture: Picture | None, provider: str, line: Line) -> Picture | None:
    """Return the picture with its bytes, for providers that take no URL."""
    if picture is None or picture.url is None or PROVIDERS[provider].takes_urls:
        return picture
    content, _ = line.fetch(picture.url, limit=MAX_PICTURE + 1)
    return load_picture(content)


def _refuse_unknown(options: Mapping[str, Any], task: str) -> None:
    is_video = task in (TEXT_TO_VIDEO, IMAGE_TO_VIDEO)
    known = VideoOptions if is_video else ImageOptions
    refuse_unknown("video" if is_video else "image", options, sorted(known.__optional_keys__))
