"""The calls of `InferenceClient` for images, videos and speech, with their documentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hfclient.arguments.argument_types import check_arguments
from hfclient.inference.models_client import ModelsClient
from hfclient.inference.options import ImageOptions, SpeakOptions, TranscribeOptions, VideoOptions
from hfclient.transport import Timeouts

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from hfclient.inference.content.image_inputs import ImageLike
    from hfclient.inference.media.image_lists import Images
    from hfclient.inference.media.images import Image, Video
    from hfclient.inference.media.jobs import Job
    from hfclient.inference.tasks import Transcript
    from hfclient.inference.tasks.audio import Audio, AudioLike

__all__ = ["MediaClient"]


class MediaClient(ModelsClient):
    """A client for models of images, videos and speech."""

    def image(self, prompt: str, **options: Unpack[ImageOptions]) -> Image:
        """Return an image of *prompt*.

            image = inference.image("an astronaut riding a horse", model="black-forest-labs/FLUX.1-schnell", seed=7)
            image.save("astronaut")

        An option that the provider would ignore is refused; with a choice of providers, those that would ignore it are
        skipped. Models of one provider differ, and a single model may still ignore an option.

        Args:
            prompt: What to show.
            options: model, provider, negative_prompt, width, height, size, aspect_ratio, steps, guidance, seed,
                lora_scale, extra_body, timeouts, on_progress, progress, scheduler; see `.ImageOptions`.

        Raises:
            InvalidInputError: An option is out of range, or the model does not make images.
            Unsupported: The provider would ignore an option; the message names the providers that take it.
            CredentialsError: There is no token for the router, and no key of the provider.
            ModelNotFound: No provider serves the model.
            GenerationError: The provider failed to make it.
            CreditsExhausted: The account's credits are used up.
            TransportTimeout: It was not done in time. A job in a queue is then cancelled.
            ProtocolError: The result is not an image.
            APIStatusError, TransportError: The provider refused, or did not answer.

        Reference: docs/protocol/inference ("images and video").
        """
        check_arguments(MediaClient.image, locals())
        from hfclient.inference.media.generation import result_of

        job: Job[Image] = self._media.start("text-to-image", prompt, options)
        return result_of(job)[0]

    def images(self, prompt: str, n: int, **options: Unpack[ImageOptions]) -> Images:
        """Return *n* images of *prompt*: with one request if the provider can, else one after the other.

            images = inference.images("a red fox", 4, model="black-forest-labs/FLUX.1-schnell", seed=7)
            images.save_all("out/{i:02d}-{slug}")

        With a seed, each further request has the next seed. If one fails, ``completed`` on the error holds the images before it.

        Args:
            prompt: What to show.
            n: Number of images, 1 to 64.
            options: model, provider, negative_prompt, width, height, size, aspect_ratio, steps, guidance, seed,
                lora_scale, extra_body, timeouts, on_progress, progress, scheduler; see `.ImageOptions`; errors are those of
                :meth:`image`.
        """
        check_arguments(MediaClient.images, locals())
        return self._media.images(prompt, n, options)

    def image_to_image(self, image: ImageLike, prompt: str = "", **options: Unpack[ImageOptions]) -> Image:
        """Return *image* changed as *prompt* says.

            inference.image_to_image("cat.png", "make it a tiger", model="black-forest-labs/FLUX.1-Kontext-dev")

        Args:
            image: A path, bytes, an open binary file, an `Image`, a PIL image, or a URL. A URL is passed on to the
                provider, or fetched here without credentials if the provider does not take URLs.
            prompt: What to change.
            options: model, provider, negative_prompt, width, height, size, aspect_ratio, steps, guidance, seed,
                lora_scale, extra_body, timeouts, on_progress, progress, scheduler; see `.ImageOptions`; errors are those of
                :meth:`image`. *model* is required.
        """
        check_arguments(MediaClient.image_to_image, locals())
        from hfclient.inference.media.generation import result_of

        job: Job[Image] = self._media.start("image-to-image", prompt, options, image=image)
        return result_of(job)[0]

    def video(self, prompt: str = "", *, image: ImageLike | None = None, **options: Unpack[VideoOptions]) -> Video:
        """Return a video of *prompt*, of *image* as its first frame, or of both. It takes minutes.

            inference.video("a fox runs through snow", model="Wan-AI/Wan2.2-T2V-A14B").save("fox")

        Args:
            prompt: What happens.
            image: The first frame; as for :meth:`image_to_image`.
            options: model, provider, negative_prompt, width, height, size, aspect_ratio, steps, guidance, seed,
                lora_scale, extra_body, timeouts, on_progress, progress, num_frames; see `.VideoOptions`; errors are those of
                :meth:`image`. *model* is required.
        """
        check_arguments(MediaClient.video, locals())
        from hfclient.inference.media.generation import result_of

        job: Job[Video] = self._media.start(_video_task(image), prompt, options, image=image)
        return result_of(job)[0]

    def image_job(
        self, prompt: str, *, image: ImageLike | None = None, n: int = 1, **options: Unpack[ImageOptions]
    ) -> Job[Image]:
        """Submit a request for images and return its job; see `Job`. Without a queue, it is done when this returns.

        Args:
            prompt: What to show.
            image: The image to change; as for :meth:`image_to_image`.
            n: Number of images; a provider that makes one image with one request makes one.
            options: model, provider, negative_prompt, width, height, size, aspect_ratio, steps, guidance, seed,
                lora_scale, extra_body, timeouts, on_progress, progress, scheduler; see `.ImageOptions`; errors are those of
                :meth:`image`.
        """
        check_arguments(MediaClient.image_job, locals())
        task = "text-to-image" if image is None else "image-to-image"
        return self._media.start(task, prompt, options, image=image, n=n)

    def video_job(
        self, prompt: str = "", *, image: ImageLike | None = None, **options: Unpack[VideoOptions]
    ) -> Job[Video]:
        """Submit a request for a video and return its job; see `Job`. Arguments are those of :meth:`video`."""
        check_arguments(MediaClient.video_job, locals())
        return self._media.start(_video_task(image), prompt, options, image=image)

    def restore_job(self, state: Mapping[str, Any], *, timeouts: Timeouts | None = None) -> Job[Any]:
        """Return the job that ``Job.to_dict()`` described, in this or another process; its timeouts begin anew.

        Args:
            state: From ``Job.to_dict()``.
            timeouts: Timeouts of the wait; if ``total`` is None, it is 300 s for images and 1200 s for videos.

        Raises:
            InvalidInputError: *state* does not describe a job, or names a host that this client does not know.
            CredentialsError, Unsupported: This client cannot reach its provider.
        """
        check_arguments(MediaClient.restore_job, locals())
        return self._media.restore(state, timeouts)

    def transcribe(self, audio: AudioLike, **options: Unpack[TranscribeOptions]) -> Transcript:
        """Return the transcript of a recording.

            inference.transcribe("meeting.mp3", model="openai/whisper-large-v3").text

        Args:
            audio: A path, bytes, an open binary file, an `Audio`, or a URL, which is fetched without credentials.
            options: model, provider, language, prompt, temperature, timestamps, extra_body, timeouts; see
                `.TranscribeOptions`.

        Raises:
            InvalidInputError: It is not audio, or cannot be read; or there is no model.
            Unsupported: The provider would ignore an option.
            ModelNotFound: No provider serves the model.
            GenerationError: The provider failed.
            APIStatusError, TransportError: It refused, or did not answer.

        Reference: docs/protocol/inference ("Speech").
        """
        check_arguments(MediaClient.transcribe, locals())
        return self._speech.transcribe(audio, options)

    def speak(self, text: str, **options: Unpack[SpeakOptions]) -> Audio:
        """Return *text* as speech.

            inference.speak("Good morning.", model="hexgrad/Kokoro-82M").save("morning")

        Args:
            text: What to say.
            options: model, provider, voice, format, speed, extra_body, timeouts; see `.SpeakOptions`.

        Raises:
            InvalidInputError: The text is empty, or there is no model.
            Unsupported: The provider would ignore an option.
            ModelNotFound: No provider serves the model.
            GenerationError: The provider failed.
            ProtocolError: The result is not audio.
            APIStatusError, TransportError: It refused, or did not answer.

        Reference: docs/protocol/inference ("Speech").
        """
        check_arguments(MediaClient.speak, locals())
        return self._speech.speak(text, options)


def _video_task(image: object) -> str:
    return "text-to-video" if image is None else "image-to-video"
