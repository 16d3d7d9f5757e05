"""Providers as values: the requests that they would send, and the results in answers. No network."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from attrs import evolve

from hfclient.credentials import Secret
from hfclient.errors import GenerationError, InvalidInputError, ProtocolError, Unsupported, from_dict
from hfclient.inference.content.image_inputs import ImageInput
from hfclient.inference.models.mapping import ProviderEntry, parse_mapping
from hfclient.inference.providers import (
    ADDRESSES,
    IMAGE_SEGMENTATION,
    IMAGE_TO_IMAGE,
    IMAGE_TO_VIDEO,
    PROVIDERS,
    TAKES,
    TEXT_TO_IMAGE,
    TEXT_TO_VIDEO,
    Answer,
    MediaRequest,
    MediaResult,
    OutputFile,
    QueuedJob,
    Target,
    providers_for,
)
from hfclient.inference.providers.addresses import call_headers
from hfclient.inference.providers.base import id_path
from hfclient.inference.providers.parameters import checked, ignored_by, refuse_ignored, size_for
from hfclient.inference.providers.results import keep_body, parse_result
from hfclient.inference.tasks.embeddings import EMBEDDERS
from hfclient.inference.tasks.speech_requests import SPEAKERS, TRANSCRIBERS
from hfclient.inference.text.parameters import COMPLETION_ROUTES
from hfclient.transport import Multipart, Request

FLUX = "black-forest-labs/FLUX.1-schnell"
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x10\0\0\0\x08\x08\x02\0\0\0"
B64 = base64.b64encode(PNG).decode()
DATA_URL = f"data:image/png;base64,{B64}"
ROUTER = "https://router.huggingface.co"


def routed(name: str) -> Target:
    return Target(f"{ROUTER}/{name}", routed=True)


def direct(name: str) -> Target:
    place = ADDRESSES[name]
    assert place.direct
    return Target(place.direct, queue=place.queue or place.direct)


def work(task: str = TEXT_TO_IMAGE, model: str = FLUX, **fields: Any) -> MediaRequest:
    entry = fields.pop("entry", None) or ProviderEntry("any", model, model=FLUX)
    return MediaRequest(task=task, entry=entry, prompt=fields.pop("prompt", "a red fox"), **fields)


def build(name: str, asked: MediaRequest, target: Target | None = None) -> tuple[Request, dict[str, Any]]:
    request = PROVIDERS[name].build(asked, target or routed(name))
    assert (request.method, request.retryable, request.stream) == ("POST", False, True)
    assert isinstance(request.body, bytes)
    return request, json.loads(request.body)


def answer(data: Any, content_type: str = "application/json") -> Answer:
    return Answer(json.dumps(data).encode(), content_type)


ALL = {"width": 768, "height": 512, "steps": 4, "guidance": 3.5, "seed": 7, "negative_prompt": "blurry"}


def only(name: str, task: str = TEXT_TO_IMAGE) -> dict[str, Any]:
    """Those settings of ALL that the provider supports."""
    return {key: value for key, value in ALL.items() if key in TAKES[name][task]}


# What is sent


BODIES = {
    "hf-inference": (
        f"{ROUTER}/hf-inference/models/{FLUX}",
        {
            "inputs": "a red fox",
            "parameters": {
                "width": 768,
                "height": 512,
                "num_inference_steps": 4,
                "guidance_scale": 3.5,
                "seed": 7,
                "negative_prompt": "blurry",
            },
        },
    ),
    "together": (
        f"{ROUTER}/together/v1/images/generations",
        {
            "model": FLUX,
            "prompt": "a red fox",
            "response_format": "base64",
            "width": 768,
            "height": 512,
            "steps": 4,
            "guidance_scale": 3.5,
            "seed": 7,
            "negative_prompt": "blurry",
        },
    ),
    "fal-ai": (
        f"{ROUTER}/fal-ai/{FLUX}?_subdomain=queue",
        {
            "prompt": "a red fox",
            "num_inference_steps": 4,
            "guidance_scale": 3.5,
            "seed": 7,
            "negative_prompt": "blurry",
            "image_size": {"width": 768, "height": 512},
        },
    ),
    "replicate": (
        f"{ROUTER}/replicate/v1/models/{FLUX}/predictions",
        {
            "input": {
                "prompt": "a red fox",
                "width": 768,
                "height": 512,
                "num_inference_steps": 4,
                "guidance_scale": 3.5,
                "seed": 7,
                "negative_prompt": "blurry",
            }
        },
    ),
    "nscale": (
        f"{ROUTER}/nscale/v1/images/generations",
        {
            "model": FLUX,
            "prompt": "a red fox",
            "response_format": "b64_json",
            "size": "768x512",
            "n": 1,
            "guidance_scale": 3.5,
            "seed": 7,
            "negative_prompt": "blurry",
        },
    ),
    "deepinfra": (
        f"{ROUTER}/deepinfra/v1/openai/images/generations",
        {"model": FLUX, "prompt": "a red fox", "response_format": "b64_json", "size": "768x512", "n": 1},
    ),
    "wavespeed": (
        f"{ROUTER}/wavespeed/api/v3/{FLUX}",
        {
            "prompt": "a red fox",
            "width": 768,
            "height": 512,
            "size": "768*512",
            "num_inference_steps": 4,
            "guidance_scale": 3.5,
            "seed": 7,
            "negative_prompt": "blurry",
        },
    ),
    "zai-org": (
        f"{ROUTER}/zai-org/api/paas/v4/async/images/generations",
        {"model": FLUX, "prompt": "a red fox", "size": "768x512"},
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_images_from_text(name: str) -> None:
    """Each provider of images has its own URL and its own names for all settings that it supports."""
    url, body = BODIES[name]
    request, sent = build(name, work(parameters=only(name)))
    assert (request.url, sent) == (url, body)


@pytest.mark.parametrize("name", [name for name in TAKES if TEXT_TO_IMAGE in TAKES[name]])
def test_settings_without_a_value(name: str) -> None:
    """Settings that were not given are not sent: a body has no null."""
    asked = work(parameters=dict.fromkeys(ALL))
    target = Target("http://h/v1") if name == "openai-compatible" else routed(name)
    request = PROVIDERS[name].build(asked, target)
    assert isinstance(request.body, bytes)
    assert b"null" not in request.body


@pytest.mark.parametrize("name", [name for name in TAKES if TEXT_TO_IMAGE in TAKES[name]])
def test_model_comes_first(name: str) -> None:
    """A body with a model begins with it: the router reads only the start of a large one."""
    request = PROVIDERS[name].build(work(), routed(name))
    assert isinstance(request.body, bytes)
    if b'"model"' in request.body:
        assert request.body.startswith(b'{"model":')


def test_every_provider_is_reachable() -> None:
    """The tables agree: each provider has settings and a URL, except for the user's own servers."""
    assert set(PROVIDERS) == set(TAKES)
    assert set(TAKES) - set(ADDRESSES) == {"openai-compatible"}


def test_matrix() -> None:
    """The tasks of each provider match the protocol's matrix, plus deepinfra and OpenAI-compatible servers."""
    own = {"openai", "openai-compatible"}
    on_top = {"deepinfra", *own}
    assert set(providers_for(TEXT_TO_IMAGE)) - on_top == {
        "fal-ai", "hf-inference", "nscale", "replicate", "together", "wavespeed", "zai-org",
    }  # fmt: skip
    assert set(providers_for(IMAGE_TO_IMAGE)) - on_top == {"fal-ai", "hf-inference", "replicate", "together", "wavespeed"}
    assert set(providers_for(TEXT_TO_VIDEO)) == {"fal-ai", "novita", "replicate", "together", "wavespeed"}
    assert set(providers_for(IMAGE_TO_VIDEO)) == {"fal-ai", "together", "wavespeed"}
    assert providers_for(IMAGE_SEGMENTATION) == ["fal-ai"], "hf-inference does it as one of the small tasks"
    speech = {"deepinfra", "hf-inference", "fal-ai", "replicate", "together"}
    assert set(TRANSCRIBERS) - own == speech
    assert set(SPEAKERS) - own == speech
    assert set(EMBEDDERS) - own == {"deepinfra", "hf-inference", "scaleway", "together"}
    assert {"deepinfra", "featherless-ai", "novita", "together"} <= set(COMPLETION_ROUTES)
    assert {name for name, place in ADDRESSES.items() if not place.chat} == {"fal-ai", "replicate", "wavespeed"}


def test_headers() -> None:
    """Headers that a provider needs are sent: Accept and Prefer."""
    assert build("hf-inference", work())[0].headers["Accept"] == "image/png"
    assert build("replicate", work())[0].headers["Prefer"] == "wait"


def test_own_sites() -> None:
    """With the user's own key, the same routes are below the provider's own site; fal-ai's queue has its own host."""
    assert build("together", work(), direct("together"))[0].url == "https://api.together.xyz/v1/images/generations"
    request, _ = build("fal-ai", work(model="fal-ai/flux/dev"), direct("fal-ai"))
    assert request.url == "https://queue.fal.run/fal-ai/flux/dev"
    assert build("openai", work(model="gpt-image-1"), direct("openai"))[1] == {
        "model": "gpt-image-1", "prompt": "a red fox", "n": 1,
    }  # fmt: skip


def test_own_server() -> None:
    """Any OpenAI-compatible server: the base may have /v1 already, a query is kept, a model is optional."""
    target = Target("http://localhost:8080/v1?key=1")
    nameless = ProviderEntry("any", "")
    request, body = build("openai-compatible", work(entry=nameless, parameters={"width": 512, "height": 512}), target)
    assert request.url == "http://localhost:8080/v1/images/generations?key=1"
    assert body == {"prompt": "a red fox", "response_format": "b64_json", "size": "512x512", "n": 1}


def test_dedicated_endpoint() -> None:
    """A model without a name is a deployment: its URL is the route."""
    nameless = ProviderEntry("any", "")
    assert build("hf-inference", work(entry=nameless), Target("https://x.example/"))[0].url == "https://x.example"


@pytest.mark.parametrize(
    ("name", "key"), [("together", "n"), ("fal-ai", "num_images"), ("nscale", "n"), ("openai-compatible", "n")]
)
def test_several_at_once(name: str, key: str) -> None:
    """A provider that can make several images in one request gets the number."""
    assert build(name, work(count=3))[1][key] == 3


def test_several_one_by_one() -> None:
    """For other providers, the number is not sent; replicate has it among its inputs."""
    assert "n" not in build("hf-inference", work(count=3))[1]["parameters"]
    assert build("replicate", work(count=3))[1]["input"]["num_outputs"] == 3


def test_aspect_ratios() -> None:
    """An aspect ratio is sent as such if the provider supports it, and as a size otherwise."""
    shape = {"aspect_ratio": "16:9"}
    assert build("replicate", work(parameters=shape))[1]["input"]["aspect_ratio"] == "16:9"
    assert build("fal-ai", work(parameters=shape))[1]["image_size"] == {"width": 832, "height": 480}
    assert build("nscale", work(parameters=shape))[1]["size"] == "832x480"
    assert build("fal-ai", work(TEXT_TO_VIDEO, parameters=shape))[1]["aspect_ratio"] == "16:9"


def test_extra_fields() -> None:
    """Extra fields are sent next to the provider's settings, and replace them; None removes one."""
    extra = {"seed": 9, "quality": "high", "width": None}
    asked = work(parameters={"seed": 1, "width": 64, "height": 64}, extra=extra)
    assert build("hf-inference", asked)[1]["parameters"] == {"seed": 9, "height": 64, "quality": "high"}
    assert build("replicate", asked)[1]["input"] == {"prompt": "a red fox", "seed": 9, "height": 64, "quality": "high"}
    sent = build("together", asked)[1]
    assert (sent["seed"], sent["quality"], "width" in sent) == (9, "high", False)
    assert build("together", work(extra={"response_format": "url"}))[1]["response_format"] == "url"


def test_lora() -> None:
    """An adapter is sent in each provider's own form, with the given strength."""
    mapped = {"provider": "fal-ai", "hfModelId": "acme/style", "providerId": "fal-ai/flux-lora", "status": "live"}
    mapped |= {"task": "text-to-image", "adapter": "lora", "adapterWeightsPath": "style.safetensors"}
    (entry,) = parse_mapping([mapped], "acme/style")
    file = "https://huggingface.co/acme/style/resolve/main/style.safetensors"
    _, body = build("fal-ai", work(entry=entry, parameters={"lora_scale": 0.5}))
    assert body == {"prompt": "a red fox", "loras": [{"path": file, "scale": 0.5}]}
    _, body = build("fal-ai", work(entry=evolve(entry, provider_id="fal-ai/lora")))
    assert body["model_name"] == "stabilityai/stable-diffusion-xl-base-1.0"
    assert body["loras"] == [{"path": file, "scale": 1}]
    _, body = build("replicate", work(entry=entry))
    assert body["input"]["lora_weights"] == "https://huggingface.co/acme/style"
    assert build("wavespeed", work(entry=entry))[1]["loras"] == [{"path": "acme/style", "scale": 1}]
    spaced = evolve(entry, adapter_weights="v2/my style.safetensors")
    path = "https://huggingface.co/acme/style/resolve/main/v2/my%20style.safetensors"
    assert build("fal-ai", work(entry=spaced))[1]["loras"] == [{"path": path, "scale": 1}]
    nameless = evolve(entry, adapter_weights=None)
    assert build("fal-ai", work(entry=nameless))[1]["loras"] == [{"path": "acme/style", "scale": 1}]


def test_replicate_versions() -> None:
    """A name with a version uses the route of predictions, with the version next to the input."""
    request, body = build("replicate", work(model="acme/fox:0123abc"))
    assert request.url == f"{ROUTER}/replicate/v1/predictions"
    assert body == {"version": "0123abc", "input": {"prompt": "a red fox"}}


# Images to begin with


def edit(name: str, **fields: Any) -> dict[str, Any]:
    return build(name, work(IMAGE_TO_IMAGE, image=fields.pop("image", ImageInput(PNG)), **fields))[1]


def test_edits() -> None:
    """The input image is sent in each provider's own field, as a data URL or as base64."""
    size = {"width": 512, "height": 256}
    assert edit("hf-inference", parameters=size) == {
        "inputs": B64,
        "parameters": {"prompt": "a red fox", "target_size": size},
    }
    assert edit("together", model="black-forest-labs/FLUX.1-Kontext-pro")["image_url"] == DATA_URL
    assert edit("together", model="google/flash-image")["reference_images"] == [DATA_URL]
    assert edit("fal-ai", parameters=size) == {
        "prompt": "a red fox", "image_url": DATA_URL, "image_urls": [DATA_URL], "image_size": size,
    }  # fmt: skip
    assert edit("replicate")["input"] == {
        "prompt": "a red fox",
        "image": DATA_URL,
        "images": [DATA_URL],
        "input_image": DATA_URL,
        "input_images": [DATA_URL],
    }
    assert edit("wavespeed")["image"] == DATA_URL


def test_edit_without_settings() -> None:
    """hf-inference gets the bare bytes without further settings."""
    request = PROVIDERS["hf-inference"].build(work(IMAGE_TO_IMAGE, prompt="", image=ImageInput(PNG)), routed("hf-inference"))
    assert (request.body, request.headers["Content-Type"]) == (PNG, "image/png")
    assert not request.retryable


def test_edit_as_a_form() -> None:
    """OpenAI's edits are a form: the settings as text, the model first, the image with a name that has its type."""
    asked = work(IMAGE_TO_IMAGE, model="m", image=ImageInput(PNG), parameters={"width": 64, "height": 64})
    request = PROVIDERS["openai-compatible"].build(asked, Target("http://h/v1"))
    assert request.url == "http://h/v1/images/edits"
    assert isinstance(request.body, Multipart)
    assert [part.name for part in request.body.parts] == ["model", "prompt", "response_format", "size", "n", "image"]
    assert (request.body.parts[-1].filename, request.body.parts[-1].content) == ("image.png", PNG)


def test_prompt_of_an_edit() -> None:
    """Together refuses a null prompt: an empty one is sent."""
    assert edit("together", prompt="")["prompt"] == ""


def test_images_by_url() -> None:
    """A URL is passed on to providers that support it; the others raise."""
    image = ImageInput(url="https://example.org/a.png")
    assert edit("fal-ai", image=image)["image_url"] == "https://example.org/a.png"
    assert [name for name, provider in PROVIDERS.items() if not provider.takes_urls] == [
        "deepinfra", "hf-inference", "nscale", "openai", "openai-compatible",
    ]  # fmt: skip
    with pytest.raises(InvalidInputError, match="by its URL"):
        edit("hf-inference", image=image)


# Videos


def test_videos() -> None:
    """Each provider of videos has its own route and names."""
    settings = {"steps": 20, "guidance": 5.0, "seed": 7, "negative_prompt": "blurry", "num_frames": 81}
    request, body = build("fal-ai", work(TEXT_TO_VIDEO, "fal-ai/wan-t2v", parameters=settings))
    assert request.url == f"{ROUTER}/fal-ai/fal-ai/wan-t2v?_subdomain=queue"
    assert body == {
        "prompt": "a red fox",
        "num_inference_steps": 20,
        "guidance_scale": 5.0,
        "seed": 7,
        "negative_prompt": "blurry",
        "num_frames": 81,
    }
    request, body = build("novita", work(TEXT_TO_VIDEO, "wan-t2v", parameters=settings))
    assert request.url == f"{ROUTER}/novita/v3/async/wan-t2v"
    assert (body["steps"], body["num_frames"]) == (20, 81)
    request, body = build("together", work(TEXT_TO_VIDEO, "acme/video", parameters={"steps": 20, "width": 640, "height": 480}))
    assert request.url == f"{ROUTER}/together/v2/videos"
    assert body == {"model": "acme/video", "prompt": "a red fox", "steps": 20, "width": 640, "height": 480}
    request, body = build("wavespeed", work(TEXT_TO_VIDEO, "wavespeed-ai/wan", parameters=settings))
    assert request.url == f"{ROUTER}/wavespeed/api/v3/wavespeed-ai/wan"
    assert body["num_frames"] == 81


def test_videos_of_images() -> None:
    """For a video from an image, fal-ai, together (frames) and wavespeed (image) have their own fields."""
    asked = work(IMAGE_TO_VIDEO, "acme/video", prompt="", image=ImageInput(PNG))
    assert build("fal-ai", asked)[1] == {"image_url": DATA_URL}
    assert build("together", asked)[1] == {
        "model": "acme/video", "frame_images": [{"input_image": DATA_URL, "frame": "first"}],
    }  # fmt: skip
    assert build("wavespeed", asked)[1] == {"image": DATA_URL}


def test_large_first_frames() -> None:
    """For a video, together accepts an image of 60 KB; a larger one is refused before a request, a URL is not."""
    big = ImageInput(PNG + bytes(60 * 1024))
    with pytest.raises(InvalidInputError, match="60 KB"):
        build("together", work(IMAGE_TO_VIDEO, image=big))
    hosted = ImageInput(url="https://example.org/a.png")
    assert build("together", work(IMAGE_TO_VIDEO, image=hosted))[1]["frame_images"][0]["input_image"] == hosted.url


# Answers: images


RESULTS: dict[str, tuple[Any, OutputFile]] = {
    "b64_json": ({"data": [{"b64_json": B64, "revised_prompt": "a fox"}]}, OutputFile(content=PNG, prompt="a fox")),
    "url": ({"data": [{"index": 0, "url": "https://cdn/x.png"}]}, OutputFile(url="https://cdn/x.png")),
    "data url": ({"data": [{"url": DATA_URL}]}, OutputFile(content=PNG)),
    "b64 with prefix": ({"data": [{"b64_json": DATA_URL}]}, OutputFile(content=PNG)),
    "b64 without padding": ({"data": [{"b64_json": B64.rstrip("=")}]}, OutputFile(content=PNG)),
    "b64 in lines": ({"data": [{"b64_json": B64[:20] + "\n" + B64[20:]}]}, OutputFile(content=PNG)),
    "images": (
        {
            "images": [{"url": "https://cdn/x.png", "width": 768, "height": 512, "content_type": "image/png"}],
            "seed": 7,
            "has_nsfw_concepts": [False],
        },
        OutputFile(url="https://cdn/x.png", width=768, height=512, mime="image/png", seed=7, nsfw=False),
    ),
    "images as strings": ({"images": ["https://cdn/x.png"]}, OutputFile(url="https://cdn/x.png")),
    "images as base64": ({"images": [B64]}, OutputFile(content=PNG)),
    "image": ({"images": [{"image": B64}]}, OutputFile(content=PNG)),
    "one image": ({"image": {"url": "https://cdn/x.png"}}, OutputFile(url="https://cdn/x.png")),
    "output": ({"output": ["https://cdn/x.png"]}, OutputFile(url="https://cdn/x.png")),
    "output as a string": ({"output": "https://cdn/x.png"}, OutputFile(url="https://cdn/x.png")),
    "outputs": ({"data": {"outputs": ["https://cdn/x.png"]}}, OutputFile(url="https://cdn/x.png")),
    "video": ({"video": {"url": "https://cdn/x.mp4"}}, OutputFile(url="https://cdn/x.mp4")),
    "video_url": ({"outputs": {"video_url": "https://cdn/x.mp4"}}, OutputFile(url="https://cdn/x.mp4")),
    "videos": ({"images": [], "videos": [{"video_url": "https://cdn/x.mp4"}]}, OutputFile(url="https://cdn/x.mp4")),
    "image_result": ({"image_result": [{"url": "https://cdn/x.png"}]}, OutputFile(url="https://cdn/x.png")),
    "a list": ([{"url": "https://cdn/x.png"}], OutputFile(url="https://cdn/x.png")),
    "a list of texts": (["https://cdn/x.png"], OutputFile(url="https://cdn/x.png")),
    "a text": ("https://cdn/x.png", OutputFile(url="https://cdn/x.png")),
    "base64 alone": (B64, OutputFile(content=PNG)),
    "a data url alone": (DATA_URL, OutputFile(content=PNG)),
    "image as a link": ({"image": "https://cdn/x.png"}, OutputFile(url="https://cdn/x.png")),
    "nested": ({"output": {"images": [{"url": "https://cdn/x.png"}]}}, OutputFile(url="https://cdn/x.png")),
    "nested twice": ({"result": {"data": {"images": [[B64]]}}}, OutputFile(content=PNG)),
    "a name of its own": ({"output": {"gif_out": "https://cdn/x.gif"}}, OutputFile(url="https://cdn/x.gif")),
    "of a chat": (
        {"choices": [{"message": {"content": "Here.", "images": [{"type": "image_url", "image_url": {"url": DATA_URL}}]}}]},
        OutputFile(content=PNG),
    ),
    "inline data": (
        {"candidates": [{"content": {"parts": [{"text": "Here."}, {"inlineData": {"mimeType": "image/png", "data": B64}}]}}]},
        OutputFile(content=PNG, mime="image/png"),
    ),
    "predictions": ({"predictions": [{"bytesBase64Encoded": B64}]}, OutputFile(content=PNG)),
    "image URLs": ({"image_urls": ["https://cdn/x.png"]}, OutputFile(url="https://cdn/x.png")),
    "imageURL": ({"data": [{"imageURL": "https://cdn/x.png"}]}, OutputFile(url="https://cdn/x.png")),
    "task result": ({"task_result": {"images": [{"url": "https://cdn/x.png"}]}}, OutputFile(url="https://cdn/x.png")),
    "artifacts": ({"artifacts": [{"base64": B64, "seed": 3}]}, OutputFile(content=PNG, seed=3)),
    "a word beside the link": ({"data": "done", "url": "https://cdn/x.png"}, OutputFile(url="https://cdn/x.png")),
    "sample": ({"result": {"sample": "https://cdn/x.png"}}, OutputFile(url="https://cdn/x.png")),
}


@pytest.mark.parametrize("name", RESULTS)
def test_results(name: str) -> None:
    """All forms of results are read, for any provider."""
    data, expected = RESULTS[name]
    assert PROVIDERS["hf-inference"].decode(work(), routed("hf-inference"), answer(data)) == MediaResult((expected,))


@pytest.mark.parametrize("kind", ["image/png", "image/jpeg", "application/octet-stream", ""])
def test_bytes(kind: str) -> None:
    """A body that is the image is the result."""
    outcome = PROVIDERS["hf-inference"].decode(work(), routed("hf-inference"), Answer(PNG, kind))
    assert outcome == MediaResult((OutputFile(content=PNG, mime=kind or None),))


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "text/html"])
def test_bytes_of_another_type(kind: str) -> None:
    """A body that is an image is the result with any content type; so is a text with its base64 or its link."""
    provider = PROVIDERS["hf-inference"]
    for body, expected in ((PNG, OutputFile(content=PNG, mime=kind)), (B64.encode(), OutputFile(content=PNG)), (b"https://cdn/x.png\n", OutputFile(url="https://cdn/x.png"))):
        assert provider.decode(work(), routed("hf-inference"), Answer(body, kind)) == MediaResult((expected,))


def test_an_unknown_answer_is_kept() -> None:
    """The error has the answer and all links in it; its message has one link, without parts that may be secret."""
    link = "https://cdn/x.glb?sig=secret"
    with pytest.raises(ProtocolError) as caught, keep_body(answer({"mesh": {"here": link}})):
        parse_result(answer({"mesh": {"here": link}}))
    assert caught.value.links == (link,)
    assert caught.value.body is not None
    assert "mesh" in caught.value.body
    assert "https://cdn/x.glb" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert from_dict(caught.value.to_dict()).links == (link,)


def test_secrets_in_an_unknown_answer() -> None:
    """A secret that a server repeats in such an answer is masked in the whole error, and control characters are escaped."""
    token = Secret("hf_aVeryLongTokenOfMine")
    link = f"https://evil/x?t={token.reveal()}"
    with pytest.raises(ProtocolError) as caught:
        parse_result(answer({"mesh": {"here": link, "there": "https://evil/\x1b[2J"}}))
    shown = json.dumps(caught.value.to_dict())
    assert "hf_aVery" not in shown + str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(caught.value.links) == 2


def test_json_without_a_type() -> None:
    """JSON is read as such without a content type."""
    assert PROVIDERS["together"].decode(work(), routed("together"), answer({"data": [{"b64_json": B64}]}, "")) == MediaResult(
        (OutputFile(content=PNG),)
    )


def test_several_results() -> None:
    """All results are read, each with its own flag."""
    data = {"images": [{"url": "https://cdn/1"}, {"url": "https://cdn/2"}], "has_nsfw_concepts": [True, False]}
    outcome = PROVIDERS["hf-inference"].decode(work(), routed("hf-inference"), answer(data))
    assert isinstance(outcome, MediaResult)
    assert [(output.url, output.nsfw) for output in outcome.outputs] == [("https://cdn/1", True), ("https://cdn/2", False)]


@pytest.mark.parametrize(
    ("body", "kind", "error"),
    [
        (b"<html>Bad gateway</html>", "text/html", ProtocolError),
        (b"[]", "application/json", ProtocolError),
        (b"", "application/json", ProtocolError),
        (b"{}", "application/json", ProtocolError),
        (b'{"data":[]}', "application/json", GenerationError),
        (b'{"choices":[{"message":{"content":"https://h/x.png"}}]}', "application/json", GenerationError),
        (b'{"data":[{}]}', "application/json", GenerationError),
        (b'{"data":[{"b64_json":""}]}', "application/json", GenerationError),
        (b'{"data":[{"b64_json":"\xc3\xa4"}]}', "application/json", ProtocolError),
        (b'{"code":400,"message":"no such model"}', "application/json", GenerationError),
        (b'{"error":"NSFW content detected"}', "application/json", GenerationError),
        (b'{"error":{"message":"out of memory","code":500}}', "application/json", GenerationError),
    ],
)
def test_answers_without_a_result(body: bytes, kind: str, error: type[Exception]) -> None:
    """An answer without an image is an error, with the provider's message if it has one."""
    with pytest.raises(error):
        PROVIDERS["together"].decode(work(), routed("together"), Answer(body, kind))


def test_the_providers_own_message() -> None:
    """An error inside a good answer has the provider's text."""
    with pytest.raises(GenerationError, match="NSFW content detected"):
        PROVIDERS["hf-inference"].decode(work(), routed("hf-inference"), answer({"error": "NSFW content detected"}))


# Answers: jobs

VIDEO_OUT = MediaResult((OutputFile(url="https://cdn/x.mp4"),))
IMAGE_OUT = MediaResult((OutputFile(url="https://cdn/x.png"),))


def start(name: str, data: Any, task: str = TEXT_TO_IMAGE, target: Target | None = None) -> Any:
    return PROVIDERS[name].decode(work(task), target or routed(name), answer(data))


def look(queued: QueuedJob, data: Any, target: Target | None = None) -> Any:
    return PROVIDERS[queued.provider].decode_poll(queued, target or routed(queued.provider), answer(data))


FAL = {
    "status": "IN_QUEUE",
    "request_id": "764c",
    "response_url": "https://queue.fal.run/fal-ai/flux/requests/764c",
    "status_url": "https://queue.fal.run/fal-ai/flux/requests/764c/status",
    "cancel_url": "https://queue.fal.run/fal-ai/flux/requests/764c/cancel",
    "queue_position": 2,
}


def test_fal_job() -> None:
    """fal-ai: the path of the answer's link, below the client's own base URL, with the queue's query if routed."""
    queued = start("fal-ai", FAL)
    base = f"{ROUTER}/fal-ai/fal-ai/flux/requests/764c"
    assert queued.url == f"{base}/status?_subdomain=queue"
    assert queued.result_url == f"{base}?_subdomain=queue"
    assert queued.cancel == ("PUT", f"{base}/cancel?_subdomain=queue")
    assert (queued.id, queued.state, queued.position) == ("764c", "queued", 2)
    running = look(queued, {"status": "IN_PROGRESS", "logs": [{"message": "30%"}]})
    assert (running.state, running.position, running.message) == ("running", None, "30%")
    done = look(running, {"status": "COMPLETED"})
    assert (done.url, done.is_done, done.every) == (queued.result_url, True, 0.0)
    assert look(done, {"images": [{"url": "https://cdn/x.png"}]}) == IMAGE_OUT


def test_fal_job_on_its_own_site() -> None:
    """With the user's own key, the queue's own host is used, without the query."""
    queued = start("fal-ai", FAL, target=direct("fal-ai"))
    assert queued.url == "https://queue.fal.run/fal-ai/flux/requests/764c/status"
    assert queued.result_url == "https://queue.fal.run/fal-ai/flux/requests/764c"


@pytest.mark.parametrize(
    "data",
    [
        {"status": "FAILED"},
        {"status": "IN_PROGRESS", "error": "worker died"},
        {"status": None},
        {},
    ],
)
def test_fal_failures(data: dict[str, Any]) -> None:
    """An unknown state, or an error next to a known one, ends the wait."""
    with pytest.raises(GenerationError):
        look(start("fal-ai", FAL), data)


def test_fal_result_with_details() -> None:
    """A result that is an explanation is an error with its text."""
    done = start("fal-ai", FAL).fetch()
    with pytest.raises(GenerationError, match=r"body\.prompt: too long"):
        look(done, {"detail": [{"loc": ["body", "prompt"], "msg": "too long", "type": "value_error"}]})


REPLICATE = {
    "id": "abc",
    "status": "processing",
    "output": None,
    "error": None,
    "urls": {
        "get": "https://api.replicate.com/v1/predictions/abc",
        "cancel": "https://api.replicate.com/v1/predictions/abc/cancel",
    },
}


def test_replicate_job() -> None:
    """replicate: done at once, or polled below the client's own base URL until it is."""
    queued = start("replicate", REPLICATE)
    assert queued.url == f"{ROUTER}/replicate/v1/predictions/abc"
    assert queued.cancel == ("POST", f"{ROUTER}/replicate/v1/predictions/abc/cancel")
    done = {**REPLICATE, "status": "succeeded", "output": ["https://cdn/x.png"]}
    assert look(queued, done) == IMAGE_OUT
    assert start("replicate", done) == IMAGE_OUT
    assert start("replicate", {"id": "abc", "status": "starting"}).url == queued.url


@pytest.mark.parametrize("state", ["failed", "canceled", "aborted", "vanished"])
def test_replicate_failures(state: str) -> None:
    """All other ends are errors, with replicate's own text if it has one."""
    with pytest.raises(GenerationError, match=state):
        start("replicate", {**REPLICATE, "status": state})
    with pytest.raises(GenerationError, match="CUDA out of memory"):
        start("replicate", {**REPLICATE, "status": "failed", "error": "CUDA out of memory"})


WAVESPEED = {
    "code": 200,
    "message": "success",
    "data": {
        "id": "t1",
        "status": "created",
        "urls": {"get": "https://api.wavespeed.ai/api/v3/predictions/t1/result"},
        "outputs": [],
    },
}


def wavespeed(**fields: Any) -> dict[str, Any]:
    return {"code": 200, "message": "success", "data": {**WAVESPEED["data"], **fields}}  # type: ignore[dict-item]


def test_wavespeed_job() -> None:
    """wavespeed: created, processing, completed; the flag of each output is kept."""
    queued = start("wavespeed", WAVESPEED)
    assert queued.url == f"{ROUTER}/wavespeed/api/v3/predictions/t1/result"
    assert queued.cancel is None
    assert look(queued, wavespeed(status="processing")).state == "running"
    done = look(queued, wavespeed(status="completed", outputs=["https://cdn/x.png"], has_nsfw_contents=[True]))
    assert done == MediaResult((OutputFile(url="https://cdn/x.png", nsfw=True),))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (wavespeed(status="failed", error="bad prompt"), "bad prompt"),
        (wavespeed(status="gone"), "gone"),
        ({"code": 402, "message": "insufficient credits"}, "insufficient credits"),
        (wavespeed(status="completed", outputs=[]), "no file"),
    ],
)
def test_wavespeed_failures(data: dict[str, Any], words: str) -> None:
    """A failure has its text, also one with HTTP status 200."""
    with pytest.raises(GenerationError, match=words):
        look(start("wavespeed", WAVESPEED), data)


def test_zai_job() -> None:
    """zai-org: polled every five seconds by its id."""
    queued = start("zai-org", {"id": "T", "request_id": "r", "model": "m", "task_status": "PROCESSING"})
    assert (queued.url, queued.every) == (f"{ROUTER}/zai-org/api/paas/v4/async-result/T", 5.0)
    assert look(queued, {"task_status": "SUCCESS", "image_result": [{"url": "https://cdn/x.png"}]}) == IMAGE_OUT
    for data in ({"task_status": "FAIL"}, {}, {"task_status": "FAIL", "error": {"message": "sensitive"}}):
        with pytest.raises(GenerationError):
            look(queued, data)


def test_together_job() -> None:
    """together: videos are jobs; a missing status means that the job waits."""
    queued = start("together", {"id": "v1", "status": "queued"}, TEXT_TO_VIDEO)
    assert (queued.url, queued.every) == (f"{ROUTER}/together/v2/videos/v1", 2.0)
    assert start("together", {"id": "v1"}, TEXT_TO_VIDEO).state == "queued"
    assert look(queued, {"id": "v1", "status": "in_progress"}).state == "running"
    done = {"id": "v1", "status": "completed", "outputs": {"cost": 0.28, "video_url": "https://cdn/x.mp4"}}
    assert look(queued, done) == VIDEO_OUT
    with pytest.raises(GenerationError, match="moderated"):
        look(queued, {"id": "v1", "status": "failed", "error": {"message": "moderated"}})


LOOKS: dict[str, list[tuple[Any, Any]]] = {
    # the first answer and a poll of the job, both with a state that is not done and with the file
    "fal-ai": [
        ({**FAL, "images": [{"url": "https://cdn/x.png"}]}, None),
        (FAL, {"status": "IN_PROGRESS", "images": [{"url": "https://cdn/x.png"}]}),
        (FAL, {"status": "COMPLETED", "images": [{"url": "https://cdn/x.png"}]}),
    ],
    "replicate": [
        *(({"id": "p1", "status": state, "output": output}, None) for state in ("processing", "starting", "succeeded", "new word", None)
          for output in ("https://cdn/x.png", ["https://cdn/x.png"], {"image": "https://cdn/x.png"})),
        ({"id": "p1", "status": "starting"}, {"id": "p1", "status": "processing", "output": ["https://cdn/x.png"]}),
        ({"output": ["https://cdn/x.png"]}, None),
    ],
    "wavespeed": [
        ({"code": 200, "data": {"id": "w1", "status": "processing", "outputs": ["https://cdn/x.png"]}}, None),
        ({"data": {"id": "w1", "status": "created"}}, {"data": {"id": "w1", "status": "processing", "outputs": ["https://cdn/x.png"]}}),
        ({"data": {"outputs": ["https://cdn/x.png"]}}, None),
    ],
    "zai-org": [
        ({"id": "z1", "task_status": "PROCESSING", "image_result": [{"url": "https://cdn/x.png"}]}, None),
        ({"id": "z1", "task_status": "PROCESSING"}, {"task_status": "PROCESSING", "image_result": [{"url": "https://cdn/x.png"}]}),
        ({"image_result": [{"url": "https://cdn/x.png"}]}, None),
    ],
}  # fmt: skip
VIDEO_LOOKS: dict[str, list[tuple[Any, Any]]] = {
    "novita": [
        ({"task_id": "n1"}, {"task": {"status": "TASK_STATUS_PROCESSING"}, "videos": [{"video_url": "https://cdn/x.mp4"}]}),
        ({"task_id": "n1", "videos": [{"video_url": "https://cdn/x.mp4"}]}, None),
        ({"video": {"video_url": "https://cdn/x.mp4"}}, None),
    ],
    "together": [
        ({"id": "t1", "status": "in_progress", "outputs": {"video_url": "https://cdn/x.mp4"}}, None),
        ({"id": "t1", "status": "queued"}, {"id": "t1", "status": "in_progress", "outputs": {"video_url": "https://cdn/x.mp4"}}),
        ({"outputs": {"video_url": "https://cdn/x.mp4"}}, None),
    ],
}


@pytest.mark.parametrize(
    ("name", "first", "second", "task", "expected"),
    [
        *((name, *pair, TEXT_TO_IMAGE, IMAGE_OUT) for name, pairs in LOOKS.items() for pair in pairs),
        *((name, *pair, TEXT_TO_VIDEO, VIDEO_OUT) for name, pairs in VIDEO_LOOKS.items() for pair in pairs),
    ],
)
def test_a_file_in_an_answer_is_the_result(name: str, first: Any, second: Any, task: str, expected: MediaResult) -> None:
    """A file in an answer is the result, for any state of the job."""
    found = start(name, first, task)
    assert (found if second is None else look(found, second)) == expected


def test_links_of_a_job_are_not_results() -> None:
    """A job that is not done may have links to its input image, or to a page about itself."""
    own = {"image_url": "https://h/given.png", "url": "https://h/job", "image": B64, "outputs": []}
    started = [
        start("fal-ai", {**FAL, **own}),
        start("wavespeed", {"data": {"id": "w1", "status": "processing", **own}}),
        start("zai-org", {"id": "z1", "task_status": "PROCESSING", **own}),
        start("novita", {"task_id": "n1", **own}, TEXT_TO_VIDEO),
        start("together", {"id": "t1", "status": "queued", **own}, TEXT_TO_VIDEO),
        start("replicate", {"id": "p1", "status": "processing", "input": own, **own}),
    ]
    assert all(isinstance(found, QueuedJob) for found in started)
    assert isinstance(look(started[0], {"status": "IN_PROGRESS", **own}), QueuedJob)
    assert isinstance(look(started[0], {"status": "COMPLETED", **own}), QueuedJob)


@pytest.mark.parametrize("state", ["failed", "canceled", "cancelled", "aborted", "FAILED", "error", "timed_out"])
def test_a_job_that_failed_has_no_result(state: str) -> None:
    """Files in the answer of a failed job are not results."""
    with pytest.raises(GenerationError):
        start("replicate", {"id": "p1", "status": state, "output": ["https://cdn/x.png"]})
    with pytest.raises(GenerationError):
        start("wavespeed", {"data": {"id": "w1", "status": state, "outputs": ["https://cdn/x.png"]}})
    with pytest.raises(GenerationError):
        look(start("novita", {"task_id": "n1"}, TEXT_TO_VIDEO), {"task": {"status": f"TASK_STATUS_{state}"}, "videos": [{"video_url": "https://cdn/x.mp4"}]})


def test_jobs_with_some_of_several_files() -> None:
    """With fewer files than requested, a job that is not done is polled again; one that is done is returned."""
    asked = MediaRequest(task=TEXT_TO_IMAGE, entry=work().entry, prompt="x", count=2)
    provider = PROVIDERS["replicate"]
    for state, is_over in (("processing", False), ("succeeded", True)):
        data = {"id": "p1", "status": state, "output": ["https://cdn/x.png"]}
        assert isinstance(provider.decode(asked, routed("replicate"), answer(data)), MediaResult) is is_over


def test_novita_job() -> None:
    """novita: the task's id is in the query; progress is reported."""
    queued = start("novita", {"task_id": "n1"}, TEXT_TO_VIDEO)
    assert queued.url == f"{ROUTER}/novita/v3/async/task-result?task_id=n1"
    running = look(queued, {"task": {"status": "TASK_STATUS_PROCESSING", "progress_percent": 40}})
    assert (running.state, running.progress) == ("running", 0.4)
    done = {"task": {"status": "TASK_STATUS_SUCCEED"}, "images": [], "videos": [{"video_url": "https://cdn/x.mp4"}]}
    assert look(queued, done) == VIDEO_OUT
    assert start("novita", {"video": {"video_url": "https://cdn/x.mp4"}}, TEXT_TO_VIDEO) == VIDEO_OUT, "done at once"
    with pytest.raises(GenerationError, match="no GPU"):
        look(queued, {"task": {"status": "TASK_STATUS_FAILED", "reason": "no GPU"}})


@pytest.mark.parametrize(
    ("name", "task"),
    [("replicate", TEXT_TO_IMAGE), ("wavespeed", TEXT_TO_IMAGE), ("zai-org", TEXT_TO_IMAGE), ("together", TEXT_TO_VIDEO)],
)
def test_jobs_without_an_id(name: str, task: str) -> None:
    """An answer that is neither a result nor a job is refused."""
    with pytest.raises(ProtocolError):
        start(name, {"data": {"status": "created"}, "status": "queued"}, task)


def test_hosts_of_links_are_ignored() -> None:
    """Only the path of a job's link is used: no credentials are sent to a host that an answer names."""
    evil = {**REPLICATE, "urls": {"get": "https://evil.example/v1/predictions/abc", "cancel": "//evil.example/x"}}
    queued = start("replicate", evil)
    assert queued.url == f"{ROUTER}/replicate/v1/predictions/abc"
    assert queued.cancel == ("POST", f"{ROUTER}/replicate/x")
    queued = start("fal-ai", {**FAL, "response_url": "https://evil.example/a"})
    assert queued.url == f"{ROUTER}/fal-ai/a/status?_subdomain=queue"


@pytest.mark.parametrize("path", ["/a/../../whoami", "/a/%2e%2e/%2E%2e/whoami", "/a/./b", "/..\\x", "", "relative", "http://[", "/a b", "/\ud800", "/\u0430pp/requests/1"])
def test_links_with_dots(path: str) -> None:
    """A path that would leave the provider's part of the router is refused."""
    with pytest.raises(ProtocolError):
        routed("fal-ai").resolve_link(f"https://queue.fal.run{path}" if path.startswith("/") else path)


# Settings


def test_ignored_settings() -> None:
    """A setting that a provider would ignore is refused; the error names those that support it."""
    with pytest.raises(Unsupported, match=r"nscale would ignore steps.*fal-ai, hf-inference, replicate, together, wavespeed"):
        refuse_ignored("nscale", TEXT_TO_IMAGE, ["steps", "seed"])
    with pytest.raises(Unsupported, match="none takes all"):
        refuse_ignored("zai-org", TEXT_TO_IMAGE, ["scheduler", "lora_scale"])
    with pytest.raises(Unsupported, match="nscale would ignore steps"):
        PROVIDERS["nscale"].build(work(parameters={"steps": 4}), routed("nscale"))
    assert ignored_by("nscale", TEXT_TO_IMAGE, ["aspect_ratio", "size"]) == ["size"]


@pytest.mark.parametrize(
    "settings",
    [
        {"width": 512},
        {"width": 512, "height": 0},
        {"width": 512.5, "height": 512},
        {"width": True, "height": 512},
        {"size": "huge"},
        {"size": "512x512", "width": 512, "height": 512},
        {"size": (512, 512, 3)},
        {"aspect_ratio": "16:9", "size": "512x512"},
        {"aspect_ratio": "wide"},
        {"aspect_ratio": "1:0"},
        {"aspect_ratio": "100:1"},
        {"steps": 0},
        {"steps": "many"},
        {"seed": -1},
        {"seed": 2**32},
        {"guidance": "strong"},
        {"guidance": float("nan")},
    ],
)
def test_invalid_settings(settings: dict[str, Any]) -> None:
    """Invalid values are refused before a request."""
    with pytest.raises(InvalidInputError):
        checked(settings)


def test_valid_settings() -> None:
    """Sizes may be text, a pair or two numbers; the largest seed is 2**32 - 1."""
    assert checked({"size": "768×512"}) == checked({"size": (768, 512)}) == {"width": 768, "height": 512}
    assert checked({"seed": 2**32 - 1, "guidance": 0, "steps": None}) == {"seed": 2**32 - 1, "guidance": 0}


@pytest.mark.parametrize(("ratio", "size"), [("1:1", (1024, 1024)), ("16:9", (832, 480)), ("9:16", (480, 832))])
def test_sizes_of_earlier_clients(ratio: str, size: tuple[int, int]) -> None:
    """The three aspect ratios of earlier clients have their sizes."""
    assert size_for(ratio) == size


@pytest.mark.parametrize("ratio", ["4:3", "3:4", "3:2", "2:3", "21:9", "9:21", "5:4", "4:1", "1:4"])
def test_sizes(ratio: str) -> None:
    """Other aspect ratios get about a megapixel, in multiples of 32, with the right ratio."""
    width, height = size_for(ratio)
    wide, high = map(int, ratio.split(":"))
    assert width % 32 == height % 32 == 0
    assert 0.7e6 < width * height < 1.2e6
    assert abs(width / height - wide / high) < 0.1 * wide / high


@pytest.mark.parametrize("name", ["", "/etc", "a//b", "../whoami", "a/../b", "a/./b", "a/"])
def test_names_that_lead_elsewhere(name: str) -> None:
    """A model's name cannot lead to another route."""
    with pytest.raises(InvalidInputError):
        id_path(name)


def test_names_are_quoted() -> None:
    """An id cannot become a query or a fragment."""
    assert id_path("a/b?c#d e") == "a/b%3Fc%23d%20e"


# The mapping


def test_forms_of_mappings() -> None:
    """Both forms give the same entries, in order; invalid entries are skipped."""
    one = {"status": "live", "providerId": "m1", "task": "text-to-image"}
    by_name = parse_mapping({"fal-ai": one, "new-one": {"providerId": "x"}, "broken": None, "worse": {"providerId": 3}}, "a/b")
    as_list = parse_mapping([{"provider": "fal-ai", **one}, {"provider": "new-one", "providerId": "x"}, None, {}], "a/b")
    assert by_name == as_list
    assert [entry.provider for entry in by_name] == ["fal-ai", "new-one"]
    assert by_name[0] == ProviderEntry("fal-ai", "m1", "live", "text-to-image", "a/b")


@pytest.mark.parametrize("nothing", [None, {}, [], "x", 3])
def test_empty_mapping(nothing: Any) -> None:
    """An empty mapping in any form means that no provider serves the model."""
    assert parse_mapping(nothing, "a/b") == []


@pytest.mark.parametrize("name", [name for name in PROVIDERS if TEXT_TO_IMAGE in TAKES[name]])
def test_values_that_are_not_json(name: str) -> None:
    """Values that JSON cannot carry are an hfclient error for all providers."""
    for asked in (work(prompt="half a pair \ud83d"), work(extra={"x": object()})):
        with pytest.raises(InvalidInputError, match="JSON"):
            build(name, asked)


def test_hf_inference_uses_the_hubs_names() -> None:
    """hf-inference's routes have the Hub's name, whatever name the mapping has."""
    entry = {"provider": "hf-inference", "providerId": "other", "status": "live", "task": "text-to-image"}
    assert parse_mapping([entry], "org/m")[0].provider_id == "org/m"
    assert parse_mapping([{**entry, "provider": "together"}], "org/m")[0].provider_id == "other"


@pytest.mark.parametrize(
    ("provider", "base"),
    [
        ("zai-org", "https://router.huggingface.co/v1/chat/completions"),
        ("openai-compatible", "https://api.z.ai/api/paas/v4"),
        ("openai-compatible", "https://api.z.ai/api/paas/v4/chat/completions"),
        ("openai-compatible", "https://router.huggingface.co/zai-org/api/paas/v4"),
    ],
)
def test_headers_of_a_provider(provider: str, base: str) -> None:
    """A provider's own headers are sent however it is reached: by its name, its site as the server, its part of the router."""
    assert call_headers(provider, None, base)["Accept-Language"] == "en-US,en"
    for other in ("https://api.groq.com/openai/v1", "https://router.huggingface.co/v1", "http://localhost:8080", "https://x.api.z.ai"):
        assert call_headers("openai-compatible", "org", other) == {"X-HF-Bill-To": "org"}
