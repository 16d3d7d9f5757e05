"""Images and videos over real HTTP: each provider's protocol, jobs in queues, broken networks."""

from __future__ import annotations

import base64
import json
import signal
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from hfclient.credentials import Credentials, Secret
from hfclient.errors import (
    AuthenticationError,
    BadRequestError,
    Cancelled,
    ConnectError,
    CredentialsError,
    CreditsExhausted,
    GenerationError,
    InvalidInputError,
    ModelNotFound,
    NotFoundError,
    ProtocolError,
    RateLimitError,
    ServerError,
    TransportTimeout,
    Unsupported,
)
from hfclient.events import AnyEvent, Failover, JobProgress
from hfclient.inference import InferenceClient
from hfclient.inference.media import jobs
from hfclient.inference.media.image_lists import Images
from hfclient.inference.media.images import Image, Video
from hfclient.inference.routing import candidates
from hfclient.transport import Limits, Retry, Session, Timeouts, Transport
from tests.clock import FakeTime, Pauses
from tests.inference.answers import silence
from tests.server import CLOSE, PATIENCE, RST, SOON, UNTIL_GONE, Script, Server, delimited, head, json_answer, plain

MODEL = "acme/painter"
MP4 = b"\0\0\0\x18ftypmp42\0\0\0\0" + bytes(100)


def png(width: int = 16, height: int = 8, padding: int = 0) -> bytes:
    """A real PNG; *padding* adds bytes of text."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    rows = zlib.compress((b"\0" + b"\x80" * width * 3) * height)
    text = chunk(b"tEXt", b"padding\0" + b"x" * padding) if padding else b""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + text + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


PNG = png()
B64 = base64.b64encode(PNG).decode()
IMAGE = plain(PNG, 200, "Content-Type: image/png", "x-request-id: r1")
PACKED = json_answer({"data": [{"b64_json": B64}]}, 200, "x-request-id: r1")

Make = Callable[..., InferenceClient]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs are polled fifty times as often."""
    monkeypatch.setattr(jobs, "_PACE", 0.02)


@pytest.fixture
def make(server: Server, transport: Transport) -> Any:
    """Makes clients whose router and Hub are the server, over each transport in turn."""

    def make(**options: Any) -> InferenceClient:
        policy: dict[str, Any] = {"timeouts": Timeouts(idle=PATIENCE, total=2 * PATIENCE), "retry": Retry(backoff=0.01)}
        policy.update({key: options.pop(key) for key in ("timeouts", "retry") if key in options})
        token = options.pop("token", "hf_secret")
        credentials = Credentials(
            token=Secret(token) if token else None,
            explicit=True,
            cookies={"hf-chat": Secret("c00kie")},
            chat_url="http://chat.invalid",
            token_urls=[server.url],
        )
        urls = {"hub_url": server.url, "router_url": server.url}
        return InferenceClient(Session(transport, credentials, **policy), **{**urls, **options})

    return make


def mapping(server: Server, *entries: str, model: str = MODEL, task: str = "text-to-image") -> None:
    """Let the Hub list *entries* as providers of the model: ``"fal-ai"``, or ``"fal-ai:error"`` with a status."""
    found = {}
    for entry in entries:
        name, _, status = entry.partition(":")
        found[name] = {"status": status or "live", "providerId": f"{name}/paint", "task": task}
    server.on(f"/api/models/{model}", json_answer({"id": model, "inferenceProviderMapping": found}))


def calls(server: Server) -> list[str]:
    """The requests, without those to the Hub."""
    return [f"{r.method} {r.target}" for r in server.requests if not r.path.startswith("/api/models/")]


# Providers that answer at once


def test_an_image(server: Server, make: Make) -> None:
    """An image has all that is known about it; token and billing header were sent."""
    mapping(server, "hf-inference")
    server.on("/hf-inference/models/acme/painter", IMAGE)
    image = make(bill_to="acme").image("a red fox", model=MODEL, seed=7, size="16x8")
    assert (image.content, image.mime, image.width, image.height) == (PNG, "image/png", 16, 8)
    assert (image.prompt, image.model, image.provider, image.seed) == ("a red fox", MODEL, "hf-inference", 7)
    assert (image.request_id, image.failovers) == ("r1", ())
    assert server.last.headers["authorization"] == "Bearer hf_secret"
    assert server.last.headers["x-hf-bill-to"] == "acme"
    assert server.last.headers["accept"] == "image/png"
    assert server.last.json() == {"inputs": "a red fox", "parameters": {"seed": 7, "width": 16, "height": 8}}


def test_a_named_provider(server: Server, make: Make) -> None:
    """A provider can be named in an argument or as a suffix of the model; it gets its own id of the model."""
    mapping(server, "hf-inference", "together")
    server.on("/together/v1/images/generations", PACKED)
    inference = make()
    assert inference.image("a fox", model=MODEL, provider="together").provider == "together"
    assert inference.image("a fox", model=f"{MODEL}:together").model == MODEL
    assert server.last.json()["model"] == "together/paint"
    assert len([r for r in server.requests if r.path.startswith("/api/")]) == 1, "the mapping is kept for a while"


def test_mapping_as_a_list(server: Server, make: Make) -> None:
    """The Hub's other shape of the mapping works as well, and odd entries in it are skipped."""
    entry = {"provider": "together", "providerId": "t/p", "status": "live", "task": "text-to-image"}
    odd = [None, {"provider": "unheard-of", "providerId": "x", "status": "live", "task": "text-to-image"}]
    server.on(f"/api/models/{MODEL}", json_answer({"id": MODEL, "inferenceProviderMapping": [*odd, entry]}))
    server.on("/together/v1/images/generations", PACKED)
    assert make().image("a fox", model=MODEL).provider == "together"


def test_live_providers_first(server: Server, make: Make) -> None:
    """Providers that fail the Hub's checks are tried last."""
    mapping(server, "nscale:error", "together")
    server.on("/together/v1/images/generations", PACKED)
    server.on("/nscale/v1/images/generations", PACKED)
    assert make().image("a fox", model=MODEL).provider == "together"
    mapping(server, "nscale:error", model="acme/other")
    assert make().image("a fox", model="acme/other").provider == "nscale"


def test_several_images(server: Server, make: Make) -> None:
    """Several images come from one request if the provider can, else from several with a seed each."""
    mapping(server, "together", "hf-inference")
    server.on("/together/v1/images/generations", json_answer({"data": [{"b64_json": B64}] * 3}))
    server.on("/hf-inference/models/acme/painter", IMAGE)
    inference = make()
    assert len(inference.images("a fox", 3, model=MODEL, provider="together")) == 3
    assert server.last.json()["n"] == 3
    server.requests.clear()
    found = inference.images("a fox", 3, model=MODEL, provider="hf-inference", seed=2**32 - 2)
    assert [image.seed for image in found] == [2**32 - 2, 2**32 - 1, 0]
    assert [r.json()["parameters"]["seed"] for r in server.requests] == [2**32 - 2, 2**32 - 1, 0]


def test_fewer_than_requested(server: Server, make: Make) -> None:
    """If a provider returns fewer images, the rest is requested; if it returns more, the list is cut."""
    mapping(server, "together")
    two = json_answer({"data": [{"b64_json": B64}] * 2})
    server.on("/together/v1/images/generations", two)
    assert len(make().images("a fox", 3, model=MODEL)) == 3
    assert [r.json().get("n") for r in server.requests[1:]] == [3, None]


def test_several_images_share_a_deadline(server: Server, make: Make, clock: FakeTime) -> None:
    """The total deadline is for all requests of a call together."""
    server.on("/hf-inference/models/acme/painter", [lambda _: clock.advance(0.4 * PATIENCE), IMAGE])
    with pytest.raises(TransportTimeout):
        make().images("a fox", 50, model=MODEL, provider="hf-inference", timeouts=Timeouts(total=PATIENCE))
    assert len(server.requests) == 3


def test_several_images_with_the_default_deadline(server: Server, make: Make, clock: FakeTime) -> None:
    """Without a total deadline each request has the default of 300 s."""
    server.on("/hf-inference/models/acme/painter", [lambda _: clock.advance(200), IMAGE])
    inference = make(timeouts=Timeouts(first_token=None, idle=None))
    assert len(inference.images("a fox", 3, model=MODEL, provider="hf-inference")) == 3


def test_a_large_image(server: Server, make: Make) -> None:
    """An image of 20 MB arrives whole, as bytes and as base64."""
    large = png(padding=20_000_000)
    server.on("/hf-inference/models/acme/painter", plain(large, 200, "Content-Type: image/png"))
    image = make().image("a fox", model=MODEL, provider="hf-inference")
    assert image.content == large
    assert (image.width, image.height) == (16, 8)
    mapping(server, "together")
    server.on("/together/v1/images/generations", json_answer({"data": [{"b64_json": base64.b64encode(large).decode()}]}))
    assert make().image("a fox", model=MODEL).content == large


def test_memory_for_a_large_image(server: Server, make: Make) -> None:
    """A large image takes a few times its size in memory while it arrives, and its size afterwards, on every call."""
    size = 8_000_000
    large = png(padding=size)
    mapping(server, "together")
    server.on("/together/v1/images/generations", json_answer({"data": [{"b64_json": base64.b64encode(large).decode()}]}))
    inference = make()
    inference.image("a fox", model=MODEL)
    tracemalloc.start()
    try:
        for _ in range(3):
            image = inference.image("a fox", model=MODEL)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(image.content) > size
    assert kept < 1.2 * size
    assert peak < 6 * size, "the one before, base64 as bytes and as text, and what it holds"


def test_a_large_image_goes_out(server: Server, make: Make) -> None:
    """An image of 20 MB can be sent."""
    large = png(padding=20_000_000)
    server.on("/hf-inference/models/acme/painter", IMAGE)
    make().image_to_image(large, model=MODEL, provider="hf-inference")
    assert server.last.body == large
    assert server.last.headers["content-type"] == "image/png"


def test_own_server(server: Server, make: Make) -> None:
    """A server of the caller's own is called over OpenAI's API, without the Hub, with or without a model."""
    server.on("/v1/images/generations", PACKED)
    server.on("/v1/images/edits", PACKED)
    inference = make(base_url=server.url, router_url=None)
    assert inference.image("a fox").content == PNG
    assert server.last.json() == {"prompt": "a fox", "response_format": "b64_json", "n": 1}
    assert inference.image_to_image(PNG, "a wolf", model="m").provider == "openai-compatible"
    assert server.last.headers["content-type"].startswith("multipart/form-data")
    assert PNG in server.last.body
    assert b'name="model"\r\n\r\nm\r\n' in server.last.body
    assert calls(server) == ["POST /v1/images/generations", "POST /v1/images/edits"]


def test_inference_endpoint(server: Server, make: Make) -> None:
    """An Inference Endpoint is called over hf-inference's API, at its own URL."""
    server.on("/", IMAGE)
    image = make(base_url=server.url, router_url=None).image("a fox", provider="hf-inference", steps=3)
    assert server.last.json() == {"inputs": "a fox", "parameters": {"num_inference_steps": 3}}
    assert (image.provider, image.model) == ("hf-inference", "")


def test_inference_endpoint_at_hugging_face(server: Server, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """At Hugging Face's own hosts, hf-inference's API is the default."""
    monkeypatch.setattr(candidates, "is_endpoint", lambda base: True)
    server.on("/", IMAGE)
    image = make().at(server.url).image("a fox", steps=3)
    assert server.last.json() == {"inputs": "a fox", "parameters": {"num_inference_steps": 3}}
    assert (image.provider, calls(server)) == ("hf-inference", ["POST /"])


# Credentials


def test_results_are_fetched_without_credentials(server: Server, other_server: Server, make: Make) -> None:
    """A result on a foreign host is fetched without token, cookie or billing header, redirects included."""
    mapping(server, "together")
    link = {"data": [{"url": f"{other_server.url}/s?signature=1"}]}
    server.on("/together/v1/images/generations", json_answer(link))
    other_server.on("/s", head(302, "Location: /cdn/x.png", "Content-Length: 0", "Set-Cookie: a=b"))
    other_server.on("/cdn/x.png", IMAGE)
    image = make(bill_to="acme").image("a fox", model=MODEL)
    assert image.content == PNG
    assert image.url == f"{other_server.url}/s?signature=1"
    assert [r.target for r in other_server.requests] == ["/s?signature=1", "/cdn/x.png"]
    for request in other_server.requests:
        assert not {"authorization", "cookie", "x-hf-bill-to"} & set(request.headers)
    assert "signature" not in repr(image)


def test_results_are_fetched_without_the_callers_headers(server: Server, other_server: Server, make: Make) -> None:
    """The caller's own headers may be secrets: they are not sent to a foreign host of a link."""
    mapping(server, "together", "hf-inference")
    server.on("/together/v1/images/generations", json_answer({"data": [{"url": f"{other_server.url}/s"}]}))
    other_server.on("/s", IMAGE)
    inference = make()
    inference._service.session.headers["X-Api-Key"] = "sesame"
    inference.image("a fox", model=MODEL)
    assert server.last.headers["x-api-key"] == "sesame"
    assert "x-api-key" not in other_server.last.headers
    assert other_server.last.headers["user-agent"] == server.last.headers["user-agent"]
    server.on("/hf-inference/models/acme/painter", IMAGE)
    inference.image_to_image(f"{other_server.url}/s", "bluer", model=MODEL, provider="hf-inference")
    assert "x-api-key" not in other_server.last.headers, "nor where an image to begin with comes from"


def test_result_links_do_not_collect_credentials(server: Server, other_server: Server, make: Make) -> None:
    """A link to a host with credentials of its own in this client is fetched without them."""
    mapping(server, "together")
    server.on("/together/v1/images/generations", json_answer({"data": [{"url": f"{other_server.url}/whoami"}]}))
    other_server.on("/whoami", IMAGE)
    inference = make()
    credentials = inference._service.session.credentials
    credentials._token_origins.add(other_server.url)
    assert credentials.headers_for(f"{other_server.url}/whoami")
    inference.image("a fox", model=MODEL)
    assert "authorization" not in other_server.last.headers


def test_own_servers_links(server: Server, make: Make) -> None:
    """A link to the server itself is fetched with that server's credentials, because it may need its key."""
    server.on("/v1/images/generations", json_answer({"data": [{"url": f"{server.url}/files/1"}]}))
    server.on("/files/1", IMAGE)
    make(base_url=server.url, router_url=None).image("a fox")
    assert server.last.headers["authorization"] == "Bearer hf_secret"


@pytest.mark.parametrize("link", ["/files/1", "files/1", "//127.0.0.1:{port}/files/1"])
def test_links_without_a_host(server: Server, make: Make, link: str) -> None:
    """A server of the caller's own may send links without a host; from a provider, such a link is an error."""
    link = link.format(port=server.url.rpartition(":")[2])
    server.on("/v1/images/generations", json_answer({"data": [{"url": link}]}))
    server.on("/files/1", IMAGE)
    server.on("/v1/files/1", IMAGE)
    assert make(base_url=f"{server.url}/v1/", router_url=None).image("a fox").content == PNG
    assert server.last.headers["authorization"] == "Bearer hf_secret"
    mapping(server, "together")
    server.on("/together/v1/images/generations", json_answer({"data": [{"url": link}]}))
    with pytest.raises(ProtocolError, match="leads nowhere"):
        make().image("a fox", model=MODEL)


@pytest.mark.parametrize("link", ["http://[", "http://h:99999/x", "ftp://h/x", "https:///x", "http://a b/", "http://h/\r\nx: y"])
def test_invalid_links(server: Server, make: Make, link: str) -> None:
    """Anything else in the place of a link is an error of hfclient's."""
    mapping(server, "together")
    server.on("/together/v1/images/generations", json_answer({"data": [{"url": link}]}))
    with pytest.raises(ProtocolError, match="leads nowhere"):
        make().image("a fox", model=MODEL)


def test_own_key(server: Server, other_server: Server, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider's key is sent to that provider alone, in its own form, and the Hub's token is not sent there."""
    from hfclient.inference.providers.addresses import ADDRESSES, ProviderAddress

    addresses = {**ADDRESSES, "fal-ai": ProviderAddress(other_server.url, scheme="Key")}
    monkeypatch.setattr("hfclient.inference.routing.candidates.ADDRESSES", addresses)
    mapping(server, "together", "fal-ai")
    ticket = {"request_id": "1", "response_url": "https://queue.fal.run/fal-ai/paint/requests/1", "status": "IN_QUEUE"}
    other_server.on("/fal-ai/paint", json_answer(ticket))
    other_server.on("/fal-ai/paint/requests/1/status", json_answer({"status": "COMPLETED"}))
    other_server.on("/fal-ai/paint/requests/1", json_answer({"images": [{"url": f"{server.url}/cdn"}]}))
    server.on("/cdn", IMAGE)
    inference = make(provider_keys={"fal-ai": "falkey:1"}, bill_to="acme", token="")
    image = inference.image("a fox", model=MODEL)  # the Hub lists together first, which cannot be reached
    assert image.provider == "fal-ai"
    assert [r.headers["authorization"] for r in other_server.requests] == ["Key falkey:1"] * 3
    assert not any("x-hf-bill-to" in r.headers for r in other_server.requests)
    assert not any("authorization" in r.headers for r in server.requests)
    assert all("?" not in r.target for r in other_server.requests)


def test_keys_are_hidden(make: Make) -> None:
    """No key shows in a repr, and a Hub token is not accepted as a provider's key."""
    inference = make(provider_keys={"together": "tk_1234"})
    for thing in (inference, inference._service.routes, inference._service.session.credentials):
        assert "tk_1234" not in repr(thing)
    assert "tk_1234" not in repr(vars(inference._service.session.credentials))
    with pytest.raises(InvalidInputError, match="Hugging Face token"):
        make(provider_keys={"together": "hf_abc"})
    with pytest.raises(InvalidInputError, match="takes a key"):
        make(provider_keys={"hf-inference": "x"})
    with pytest.raises(CredentialsError):
        make(provider_keys={"together": "two words"})


def test_without_credentials(server: Server, make: Make) -> None:
    """Without a token the router's providers are not called, except hf-inference, which has a free tier."""
    mapping(server, "together")
    with pytest.raises(CredentialsError, match="token"):
        make(token="").image("a fox", model=MODEL)
    with pytest.raises(CredentialsError, match="key of its own"):
        make().image("a fox", model="gpt-image-1", provider="openai")
    assert calls(server) == []
    server.on("/hf-inference/models/acme/painter", IMAGE)
    assert make(token="").image("a fox", model=MODEL, provider="hf-inference").content == PNG


# Refusals


def test_models_without_a_provider(server: Server, make: Make) -> None:
    """Each reason has its own error: unknown model, no provider, providers that this client does not know, another task."""
    inference = make()
    server.on("/api/models/acme/none", json_answer({"error": "Repository not found"}, 404))
    with pytest.raises(ModelNotFound, match="Hub"):
        inference.image("a fox", model="acme/none")
    server.on("/api/models/acme/alone", json_answer({"id": "acme/alone"}))
    with pytest.raises(ModelNotFound, match="no inference provider serves it"):
        inference.image("a fox", model="acme/alone")
    mapping(server, "together")
    with pytest.raises(ModelNotFound, match=r"fal-ai does not serve it.*together \(text-to-image\)"):
        inference.image("a fox", model=MODEL, provider="fal-ai")
    mapping(server, "groq", model="acme/chat", task="conversational")
    with pytest.raises(InvalidInputError, match="for conversational"):
        inference.image("a fox", model="acme/chat")
    mapping(server, "unheard-of", model="acme/new")
    with pytest.raises(Unsupported, match="unheard-of"):
        inference.image("a fox", model="acme/new")
    assert calls(server) == []


def test_providers_that_cannot(make: Make) -> None:
    """A provider without the task, an unknown one, and a chat router's policy are refused with names that work."""
    inference = make()
    with pytest.raises(Unsupported, match="groq does not have text-to-image here; these do: deepinfra, fal-ai"):
        inference.image("a fox", model=MODEL, provider="groq")
    with pytest.raises(Unsupported, match="'unknown' is known"):
        inference.image("a fox", model=MODEL, provider="unknown")
    with pytest.raises(Unsupported, match="chat models only"):
        inference.image("a fox", model=f"{MODEL}:cheapest")
    with pytest.raises(Unsupported, match="together cannot be reached through"):
        make(base_url="http://localhost:1/v1", router_url=None).image("a fox", model=MODEL, provider="together")


def test_calls_that_cannot_work(server: Server, make: Make) -> None:
    """Mistakes are found before anything is sent."""
    inference = make()
    for wrong in (
        lambda: inference.image(" ", model=MODEL),
        lambda: inference.image("a fox", model=" "),
        lambda: inference.image("a fox", model=MODEL, seed=-1),
        lambda: inference.images("a fox", 0, model=MODEL),
        lambda: inference.images("a fox", 65, model=MODEL),
        lambda: inference.video("a fox"),
        lambda: inference.image_to_image(b"no picture", model=MODEL),
        lambda: inference.image_to_image("/no/such/file.png", model=MODEL),
        lambda: inference.image("a fox", model=f"{MODEL}:together", provider="fal-ai"),
        lambda: inference.image("a fox", model="../../whoami", provider="hf-inference"),
    ):
        with pytest.raises(InvalidInputError):
            wrong()
    with pytest.raises(TypeError, match="stepz"):
        inference.image("a fox", model=MODEL, stepz=3)  # type: ignore[call-arg]
    assert server.requests == []


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(("kind", "task"), [("image", "image-text-to-image"), ("video", "image-text-to-video")])
def test_models_that_take_an_image_or_none(server: Server, make: Make, kind: str, task: str, named: bool) -> None:
    """A model for an image and a text also works with the text alone, at its own route."""
    entry = {"status": "live", "providerId": "fal-ai/flux-2/edit", "task": task}
    server.on(f"/api/models/{MODEL}", json_answer({"id": MODEL, "inferenceProviderMapping": {"fal-ai": entry}}))
    made = {kind: {"url": f"{server.url}/cdn"}}
    server.on("/fal-ai/fal-ai/flux-2/edit", json_answer(made))
    server.on("/cdn", IMAGE if kind == "image" else plain(MP4, 200, "Content-Type: video/mp4"))
    inference = make()
    options: dict[str, Any] = {"model": MODEL, "provider": "fal-ai" if named else None}
    call = inference.image if kind == "image" else inference.video
    assert call("a bee", **options).prompt == "a bee"
    assert [request.json() for request in server.requests if request.method == "POST"][-1] == {"prompt": "a bee"}
    if kind == "image":
        inference.image_to_image(PNG, "a bee", **options)
    else:
        inference.video("a bee", image=PNG, **options)
    assert "image_url" in [request.json() for request in server.requests if request.method == "POST"][-1]


def test_settings_choose_the_provider(server: Server, make: Make) -> None:
    """With a choice, providers that would ignore a setting are skipped; the error for a named one lists the others."""
    mapping(server, "nscale", "together")
    server.on("/together/v1/images/generations", PACKED)
    server.on("/nscale/v1/images/generations", PACKED)
    inference = make()
    assert inference.image("a fox", model=MODEL).provider == "nscale"
    assert inference.image("a fox", model=MODEL, steps=4).provider == "together"
    with pytest.raises(Unsupported, match="nscale would ignore steps"):
        inference.image("a fox", model=MODEL, steps=4, provider="nscale")
    with pytest.raises(Unsupported, match="hf-inference"):
        inference.image("a fox", model=MODEL, scheduler="ddim")


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (json_answer({"error": "Invalid username or password."}, 401), AuthenticationError),
        (json_answer({"error": "You have exceeded your monthly included credits"}, 402), CreditsExhausted),
        (json_answer({"error": {"message": "bad size"}}, 400), BadRequestError),
        (json_answer({"error": "Model not supported by provider together"}, 400), ModelNotFound),
        (json_answer({"error": "slow down"}, 429), RateLimitError),
        (json_answer({"error": "boom"}, 500), ServerError),
        (plain("<html>oops</html>", 200, "Content-Type: text/html"), ProtocolError),
        (plain("<html>no image</html>", 200, "Content-Type: image/png"), ProtocolError),
        (plain(b"", 200, "Content-Type: image/png"), ProtocolError),
        (plain(MP4, 200, "Content-Type: image/png"), ProtocolError),
        (json_answer({"data": [{"url": "ftp://x/y"}]}), ProtocolError),
        (json_answer({"data": [{"url": "//x/y"}]}), ProtocolError),
        (json_answer({"error": "content moderated"}), GenerationError),
        ([head(200, "Content-Length: 100", "Content-Type: image/png"), PNG[:20], RST], ConnectError),
    ],
)
def test_failures(server: Server, make: Make, script: Script, error: type[Exception]) -> None:
    """Every failure has its own error, and a request that was received is not sent twice."""
    mapping(server, "together")
    server.on("/together/v1/images/generations", script)
    with pytest.raises(error):
        make(retry=Retry(attempts=1)).image("a fox", model=MODEL)
    assert len(calls(server)) == 1


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_billed_requests_are_sent_once(server: Server, make: Make, status: int) -> None:
    """A request that may have been received is not repeated, although the session repeats other requests after such errors."""
    mapping(server, "together")
    server.on("/together/v1/images/generations", json_answer({"error": "x"}, status))
    with pytest.raises(Exception, match="x"):
        make().image("a fox", model=MODEL)
    assert len(calls(server)) == 1


def test_cut_answers_are_not_repeated(server: Server, make: Make) -> None:
    """A request whose answer broke off, before or in its body, is not repeated."""
    mapping(server, "together")
    server.on("/together/v1/images/generations", [CLOSE], PACKED)
    with pytest.raises(ConnectError):
        make().image("a fox", model=MODEL)
    server.on("/together/v1/images/generations", [head(200, "Content-Length: 900"), b'{"data', CLOSE], PACKED)
    with pytest.raises(ConnectError):
        make().image("a fox", model=MODEL)
    assert len(calls(server)) == 2


def test_rate_limits_are_retried(server: Server, make: Make) -> None:
    """After a 429 the request is repeated, as the session's Retry says: the provider did nothing."""
    mapping(server, "together")
    server.on("/together/v1/images/generations", json_answer({"error": "slow"}, 429, "Retry-After: 0"), PACKED)
    assert make().image("a fox", model=MODEL).content == PNG
    server.on("/together/v1/images/generations", json_answer({"error": "slow"}, 429, "Retry-After: 900"), PACKED)
    with pytest.raises(RateLimitError):
        make().image("a fox", model=MODEL)


def test_loading_models_are_retried(server: Server, make: Make) -> None:
    """The wait for a model that is being loaded is bounded by the total deadline only."""
    loading = json_answer({"error": "Model acme/painter is currently loading", "estimated_time": 0.02}, 503)
    server.on("/hf-inference/models/acme/painter", loading, loading, loading, loading, loading, IMAGE)
    assert make().image("a fox", model=MODEL, provider="hf-inference").content == PNG
    assert len(server.requests) == 6
    server.on("/hf-inference/models/acme/painter", json_answer({"error": "loading", "estimated_time": 20.0}, 503))
    with pytest.raises(ServerError, match="loading"):
        make(timeouts=Timeouts(total=SOON)).image("a fox", model=MODEL, provider="hf-inference")
    assert len(server.requests) == 7


# The next provider


@pytest.mark.parametrize(
    ("script", "status"),
    [
        (json_answer({"error": "boom"}, 500), 500),
        (json_answer({"error": "loading", "estimated_time": 20.0}, 503), 503),
        (json_answer({"error": "slow down"}, 429), 429),
        (json_answer({"error": "Not Found"}, 404), 404),
        (json_answer({"error": "Model not supported by provider nscale"}, 400), 400),
    ],
)
def test_failover(server: Server, make: Make, script: bytes, status: int) -> None:
    """When a provider fails, the next one is called at once; events and the result report it."""
    mapping(server, "nscale", "together")
    server.on("/nscale/v1/images/generations", script)
    server.on("/together/v1/images/generations", PACKED)
    seen: list[AnyEvent] = []
    heard: list[AnyEvent] = []
    image = make(on_event=seen.append).image("a fox", model=MODEL, on_progress=heard.append)
    assert image.provider == "together"
    (step,) = image.failovers
    assert (step.provider, step.to, step.status_code) == ("nscale", "together", status)
    assert seen == heard == [step]
    assert len(calls(server)) == 2


def test_failover_in_a_given_order(server: Server, make: Make) -> None:
    """Several providers can be named; one that does not serve the model is skipped."""
    mapping(server, "nscale", "together", "replicate")
    server.on("/replicate/v1/models/replicate/paint/predictions", json_answer({"detail": "down"}, 500))
    server.on("/nscale/v1/images/generations", PACKED)
    image = make().image("a fox", model=MODEL, provider=["replicate", "fal-ai", "nscale"])
    assert image.provider == "nscale"
    assert [(step.provider, step.reason) for step in image.failovers] == [("replicate", "down")]


def test_no_failover_while_it_may_be_billed(server: Server, make: Make, clock: FakeTime) -> None:
    """There is no failover while the first provider may still work on it: a gateway's timeout, silence, a cut."""
    bad, slow = json_answer({"error": "bad gateway"}, 502), json_answer({"error": "gateway timeout"}, 504)
    for script in (bad, slow, [CLOSE], silence(clock, last=b"HTTP/1.1 2")):
        mapping(server, "nscale", "together")
        server.on("/nscale/v1/images/generations", script)
        server.on("/together/v1/images/generations", PACKED)
        server.requests.clear()
        with pytest.raises((ServerError, ConnectError, TransportTimeout)):
            make(timeouts=Timeouts(first_token=PATIENCE)).image("a fox", model=MODEL)
        assert calls(server) == ["POST /nscale/v1/images/generations"]


def test_no_failover_for_mistakes(server: Server, make: Make) -> None:
    """There is no failover for errors of the call itself, or of the prompt."""
    for script in (
        json_answer({"error": "bad size"}, 422),
        json_answer({"error": "invalid token"}, 401),
        json_answer({"error": "content moderated"}),
    ):
        mapping(server, "nscale", "together")
        server.on("/nscale/v1/images/generations", script)
        server.requests.clear()
        with pytest.raises((BadRequestError, AuthenticationError, GenerationError)):
            make().image("a fox", model=MODEL)
        assert len(calls(server)) == 1


def test_no_provider_is_left(server: Server, make: Make) -> None:
    """If all providers fail, the last failure is raised, with the one before as its cause."""
    mapping(server, "nscale", "together")
    server.on("/nscale/v1/images/generations", json_answer({"error": "first"}, 500))
    server.on("/together/v1/images/generations", json_answer({"error": "second"}, 402))
    with pytest.raises(CreditsExhausted, match="second") as caught:
        make().image("a fox", model=MODEL)
    assert isinstance(caught.value.__cause__, ServerError)


def test_a_wrong_mapping_is_forgotten(server: Server, make: Make) -> None:
    """If a provider does not serve what the Hub lists, the Hub's list is requested again next time."""
    mapping(server, "nscale")
    server.on("/nscale/v1/images/generations", json_answer({"error": "Model not supported by provider nscale"}, 400))
    inference = make()
    with pytest.raises(ModelNotFound):
        inference.image("a fox", model=MODEL)
    mapping(server, "together")
    server.on("/together/v1/images/generations", PACKED)
    assert inference.image("a fox", model=MODEL).provider == "together"


# Jobs

FAL = {"status": "IN_QUEUE", "request_id": "764c", "response_url": "https://queue.fal.run/fal-ai/app/requests/764c"}
JOB = "/fal-ai/fal-ai/app/requests/764c"


def fal(server: Server, *looks: Script, result: Script | None = None, task: str = "text-to-image") -> None:
    """Let fal-ai have a job with these answers to its polls."""
    mapping(server, "fal-ai", task=task)
    server.on("/fal-ai/fal-ai/paint", json_answer({**FAL, "queue_position": 2}))
    server.on(f"{JOB}/status", *looks)
    server.on(f"{JOB}/cancel", json_answer({"status": "CANCELLATION_REQUESTED"}, 202))
    link = {"images": [{"url": f"{server.url}/cdn"}], "seed": 5} if task.endswith("image") else None
    server.on(JOB, result or json_answer(link or {"video": {"url": f"{server.url}/cdn"}}))
    server.on("/cdn", IMAGE if task.endswith("image") else plain(MP4, 200, "Content-Type: video/mp4"))


def state(name: str, **fields: Any) -> bytes:
    return json_answer({"status": name, **fields})


def test_a_job(server: Server, make: Make) -> None:
    """A job is polled until it is done, and its result fetched; each change is an event, the seed is the provider's."""
    fal(server, state("IN_QUEUE", queue_position=1), state("IN_QUEUE", queue_position=1), state("IN_PROGRESS"), state("COMPLETED"))
    seen: list[AnyEvent] = []
    image = make(bill_to="acme").image("a fox", model=MODEL, seed=4, on_progress=seen.append)
    assert (image.content, image.seed, image.request_id) == (PNG, 5, "764c")
    told = [(event.state, event.position) for event in seen if isinstance(event, JobProgress)]
    assert told == [("queued", 2), ("queued", 1), ("running", None)] or told == [
        ("queued", 2), ("queued", 1), ("running", None), ("running", None),
    ]  # fmt: skip
    assert calls(server) == [
        "POST /fal-ai/fal-ai/paint?_subdomain=queue",
        *[f"GET {JOB}/status?_subdomain=queue"] * 4,
        f"GET {JOB}?_subdomain=queue",
        "GET /cdn",
    ]
    assert all(r.headers["x-hf-bill-to"] == "acme" for r in server.requests[1:-1])
    assert "authorization" not in server.last.headers, "not even where the router is"


def test_refreshing_a_job(server: Server, make: Make) -> None:
    """The state of a job can be polled now and then, without waiting for the end."""
    fal(server, state("IN_PROGRESS"), state("COMPLETED"))
    job = make().image_job("a fox", model=MODEL)
    assert (job.id, job.provider, job.state, job.is_finished) == ("764c", "fal-ai", "queued", False)
    assert [job.refresh(), job.refresh(), job.refresh()] == ["running", "running", "done"]
    assert job.is_finished
    (image,) = job.result()
    assert isinstance(image, Image)
    assert job.result() == [image], "it is fetched once"
    assert calls(server).count("GET /cdn") == 1


def test_a_video(server: Server, make: Make) -> None:
    """A video comes the same way, with its own type."""
    fal(server, state("COMPLETED"), task="text-to-video")
    video = make().video("a fox runs", model=MODEL, num_frames=81)
    assert isinstance(video, Video)
    assert (video.content, video.mime, video.suffix) == (MP4, "video/mp4", ".mp4")


def test_a_video_of_an_image(server: Server, make: Make) -> None:
    """With an image it is another task of the same model."""
    fal(server, state("COMPLETED"), task="image-to-video")
    make().video(image=PNG, model=MODEL)
    sent = next(r for r in server.requests if r.method == "POST").json()
    assert sent == {"image_url": f"data:image/png;base64,{B64}"}


def test_a_job_that_never_ends(server: Server, make: Make, clock: FakeTime) -> None:
    """If a provider never finishes, the deadline ends the wait, the job is cancelled, and the error names it."""
    fal(server, state("IN_PROGRESS"), [lambda _: clock.advance(0.6 * PATIENCE), state("IN_PROGRESS")])
    with pytest.raises(TransportTimeout, match=r"within 30 s.*job 764c at fal-ai was running, it was cancelled") as caught:
        make().image("a fox", model=MODEL, timeouts=Timeouts(total=PATIENCE))
    assert (caught.value.deadline, caught.value.seconds) == ("total", PATIENCE)
    assert server.last.method == "PUT"
    assert server.last.target == f"{JOB}/cancel?_subdomain=queue"
    assert [r.method for r in server.requests].count("PUT") == 1, "it is sent once"


def test_a_deadline_is_always_there(make: Make, server: Server, clock: FakeTime) -> None:
    """If the client has no total deadline, jobs have one."""
    fal(server, state("IN_PROGRESS"))
    job = make(timeouts=Timeouts()).image_job("a fox", model=MODEL)
    assert job._client.clock.remaining() == 300
    fal(server, state("IN_PROGRESS"), task="text-to-video")
    assert make(timeouts=Timeouts()).video_job("a fox", model=MODEL)._client.clock.remaining() == 1200


def test_a_poll_without_an_answer(server: Server, make: Make, clock: FakeTime) -> None:
    """Silence during a poll is bounded by the same deadline."""
    fal(server, silence(clock, last=b"HTTP/1.1 2"))
    with pytest.raises(TransportTimeout, match=r"within 30 s.*it was cancelled"):
        make().image("a fox", model=MODEL, timeouts=Timeouts(total=PATIENCE))


def test_cancelling(server: Server, make: Make, pauses: Pauses) -> None:
    """Another thread can cancel: the waiting one raises at once, and the provider gets the cancel request."""
    fal(server, state("IN_PROGRESS"))
    job = make().image_job("a fox", model=MODEL)
    agreed: list[bool] = []

    def cancel() -> None:
        assert pauses.begun.wait(PATIENCE)
        agreed.append(job.cancel())

    thread = threading.Thread(target=cancel)
    thread.start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        job.result()
    thread.join()
    assert time.monotonic() - started < SOON
    assert agreed == [True]
    assert job.state == "cancelled"
    assert f"PUT {JOB}/cancel?_subdomain=queue" in calls(server)
    with pytest.raises(Cancelled):
        job.result()
    assert job.cancel() is False


def test_cancelling_a_long_wait(server: Server, make: Make, monkeypatch: pytest.MonkeyPatch, pauses: Pauses) -> None:
    """A cancel ends the pause between two polls, however long it is."""
    monkeypatch.setattr(jobs, "_PACE", 1000.0)
    fal(server, state("IN_PROGRESS"))
    job = make().image_job("a fox", model=MODEL)
    pauses.over.set()
    thread = threading.Thread(target=lambda: pauses.begun.wait(PATIENCE) and job.cancel())
    thread.start()
    with pytest.raises(Cancelled):
        job.result()
    thread.join()


def test_cancelling_a_download(server: Server, make: Make) -> None:
    """A cancel wakes up a thread that reads a result."""
    fal(server, state("COMPLETED"))
    job = make().image_job("a fox", model=MODEL)
    begin = head(200, "Content-Length: 5000", "Content-Type: image/png") + PNG
    server.on("/cdn", [begin, lambda _: job._client.clock.cancellation.cancel(), UNTIL_GONE])
    for _ in job:
        pass
    with pytest.raises(Cancelled):
        job.result()


def test_ctrl_c(server: Server, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while waiting cancels the job and is raised."""
    fal(server, state("IN_PROGRESS"))
    job = make().image_job("a fox", model=MODEL)

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(job._client.clock.cancellation, "pause", interrupt)
    with pytest.raises(KeyboardInterrupt):
        job.result()
    assert server.last.method == "PUT"


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals for threads")
def test_a_real_ctrl_c(server: Server, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal wakes up the pause between two polls, however long it is, and the job is cancelled."""
    monkeypatch.setattr(jobs, "_PACE", 1000.0)
    fal(server, state("IN_PROGRESS"))
    job = make().image_job("a fox", model=MODEL)
    pause = job._client.clock.cancellation.pause

    def interrupted(seconds: float) -> None:
        threading.Timer(0.1, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)).start()
        pause(seconds)

    monkeypatch.setattr(job._client.clock.cancellation, "pause", interrupted)
    with pytest.raises(KeyboardInterrupt):
        job.result()
    assert server.last.target == f"{JOB}/cancel?_subdomain=queue"


def test_progress(server: Server, make: Make) -> None:
    """A job reports its state and its percentage with each poll; several images are counted; a wrong value sends nothing."""
    steps = (state("IN_QUEUE", queue_position=2), state("IN_PROGRESS"), state("COMPLETED"))
    fal(server, *steps)
    seen: list[tuple[float, float | None, str]] = []
    make().image("a fox", model=MODEL, progress=lambda *args: seen.append(args))
    assert seen[0] == (0, None, "queued, 2 before it")
    assert (0, None, "running") in seen
    assert seen[-1] == (0, None, "download")
    mapping(server, "together")
    server.on("/together/v1/images/generations", PACKED)
    seen.clear()
    make().images("a fox", 3, model=MODEL, provider="together", seed=1, progress=lambda *args: seen.append(args))
    assert seen[-1] == (3, 3, "")
    job = make().image_job("a fox", model=MODEL, provider="together")
    assert isinstance(job.result(), Images)
    sent = len(calls(server))
    with pytest.raises(InvalidInputError, match="progress is True"):
        make().image("a fox", model=MODEL, progress="bar")
    assert len(calls(server)) == sent


def test_a_listener_that_raises(server: Server, make: Make) -> None:
    """A job that only the call itself holds is cancelled if the wait ends early, once; the caller's own job continues."""
    fal(server, state("IN_PROGRESS"), task="text-to-video")

    def stop(event: AnyEvent) -> None:
        raise LookupError("enough")

    with pytest.raises(LookupError):
        make().video("a fox", model=MODEL, on_progress=stop)
    assert [r.method for r in server.requests].count("PUT") == 1
    job = make().video_job("a fox", model=MODEL, on_progress=stop)
    with pytest.raises(LookupError):
        job.result()
    assert job.state == "queued"
    assert [r.method for r in server.requests].count("PUT") == 1


def test_leaving(server: Server, make: Make) -> None:
    """Leaving a with block cancels; leaving a loop does not."""
    fal(server, state("IN_PROGRESS"))
    job = make().image_job("a fox", model=MODEL)
    for _ in job:
        break
    assert "PUT" not in {r.method for r in server.requests}
    with job:
        pass
    assert server.last.method == "PUT"
    assert job.state == "cancelled"


def test_providers_that_cannot_be_stopped(server: Server, make: Make, clock: FakeTime) -> None:
    """If a provider cannot cancel, cancel() returns False, and the error of a deadline says that it may be charged for."""
    mapping(server, "wavespeed")
    created = {"code": 200, "data": {"id": "t1", "status": "processing", "urls": {"get": "https://x/api/v3/predictions/t1"}}}
    server.on("/wavespeed/api/v3/wavespeed/paint", json_answer(created))
    server.on("/wavespeed/api/v3/predictions/t1", [lambda _: clock.advance(0.6 * PATIENCE), json_answer(created)])
    assert make().image_job("a fox", model=MODEL).cancel() is False
    with pytest.raises(TransportTimeout, match="may still be charged for"):
        make().image("a fox", model=MODEL, timeouts=Timeouts(total=PATIENCE))


def test_failed_polls(server: Server, make: Make) -> None:
    """A poll that fails is repeated: polling is free, and the job continues."""
    fal(server, plain("", 502), [CLOSE], json_answer({"error": "slow"}, 429), plain("", 503), state("COMPLETED"))
    assert make().image("a fox", model=MODEL).content == PNG


def test_polls_answered_with_pages(server: Server, make: Make) -> None:
    """A poll that is answered with a page, or with half a document, counts as failed: the job was paid for."""
    page = plain("<html>wait</html>", 200, "Content-Type: text/html")
    fal(server, page, plain('{"stat', 200), json_answer([]), state("COMPLETED"))
    assert make().image("a fox", model=MODEL).content == PNG
    fal(server, page)
    with pytest.raises(ProtocolError) as caught:
        make().image("a fox", model=MODEL)
    assert caught.value.body == "<html>wait</html>"


def test_polls_that_always_fail(server: Server, make: Make) -> None:
    """After six failed polls, or an error that will not change, it is raised."""
    fal(server, plain("", 502))
    with pytest.raises(ServerError):
        make().image("a fox", model=MODEL)
    assert calls(server).count(f"GET {JOB}/status?_subdomain=queue") == 6
    fal(server, json_answer({"error": "invalid token"}, 401))
    server.requests.clear()
    with pytest.raises(AuthenticationError):
        make().image("a fox", model=MODEL)
    assert calls(server).count(f"GET {JOB}/status?_subdomain=queue") == 1


@pytest.mark.parametrize(
    ("look", "result"),
    [
        (state("FAILED", error="worker died"), None),
        (state("UNHEARD_OF"), None),
        (state("COMPLETED"), json_answer({"detail": [{"loc": ["body"], "msg": "worker died"}]}, 422)),
        (state("COMPLETED"), json_answer({"detail": "worker died"}, 500)),
        (state("COMPLETED"), json_answer({"images": []})),
    ],
)
def test_jobs_that_fail(server: Server, make: Make, look: bytes, result: bytes | None) -> None:
    """A job that failed raises the provider's error on every call, and is not polled any more."""
    fal(server, look, result=result)
    job = make().image_job("a fox", model=MODEL)
    with pytest.raises(GenerationError) as caught:
        job.result()
    assert (job.state, caught.value.request_id) == ("failed", "764c")
    count = len(server.requests)
    with pytest.raises(GenerationError) as again:
        job.result()
    assert again.value is caught.value
    assert len(server.requests) == count


def test_a_result_that_breaks_off(server: Server, make: Make) -> None:
    """The download of a result is repeated: it was paid for."""
    fal(server, state("COMPLETED"))
    cut: Script = [head(200, f"Content-Length: {len(PNG)}", "Content-Type: image/png"), PNG[:30], RST]
    server.on("/cdn", cut, cut, IMAGE)
    assert make().image("a fox", model=MODEL).content == PNG


def test_a_missing_result(server: Server, make: Make) -> None:
    """A result that cannot be fetched can be requested again while the job object exists."""
    fal(server, state("COMPLETED"))
    server.on("/cdn", plain("gone for now", 404), IMAGE)
    job = make().image_job("a fox", model=MODEL)
    with pytest.raises(Exception, match="gone for now"):
        job.result()
    assert job.result()[0].content == PNG


def test_an_endless_result(server: Server, make: Make) -> None:
    """A result is read to a limit and no further."""
    fal(server, state("COMPLETED"))
    server.on("/cdn", delimited(png(padding=100_000), headers=["Content-Type: image/png"]))
    client = make()
    client._service.session.limits = Limits(file=1000)
    with pytest.raises(ProtocolError, match=r"longer than 1,000 bytes \(Limits.file\)"):
        client.image("a fox", model=MODEL)


def test_a_job_in_another_process(server: Server, make: Make) -> None:
    """A job can be stored, without secrets, and continued elsewhere."""
    fal(server, state("IN_PROGRESS"), state("COMPLETED"))
    written = json.dumps(make().image_job("a fox", model=MODEL, seed=3).to_dict())
    assert "hf_secret" not in written
    job = make().restore_job(json.loads(written))
    (image,) = job.result()
    assert (image.prompt, image.model, image.provider, image.request_id) == ("a fox", MODEL, "fal-ai", "764c")
    with pytest.raises(InvalidInputError, match="the job is done"):
        job.to_dict()


def test_invalid_job_states(server: Server, make: Make) -> None:
    """A state that does not describe a job, or describes one at a foreign host, is refused before anything is sent."""
    fal(server, state("IN_PROGRESS"))
    good = make().image_job("a fox", model=MODEL).to_dict()
    count = len(server.requests)
    for bad in (
        {},
        {**good, "queued": {}},
        {**good, "task": "make-coffee"},
        {**good, "queued": {**good["queued"], "provider": "unknown"}},
        {**good, "queued": {**good["queued"], "url": "https://evil.example/x"}},
        {**good, "queued": {**good["queued"], "cancel": ["PUT", "https://evil.example/x"]}},
    ):
        with pytest.raises(InvalidInputError):
            make().restore_job(json.loads(json.dumps(bad)))
    assert len(server.requests) == count


def test_replicate_waits_by_itself(server: Server, make: Make) -> None:
    """A prediction that is done with the first answer is not a job; another one is polled."""
    mapping(server, "replicate")
    route = "/replicate/v1/models/replicate/paint/predictions"
    done = {"id": "p1", "status": "succeeded", "output": [f"{server.url}/cdn"]}
    links = {"get": "https://api.replicate.com/v1/predictions/p1"}
    server.on("/cdn", IMAGE)
    server.on(route, json_answer(done), json_answer({"id": "p1", "status": "starting", "output": None, "urls": links}))
    server.on("/replicate/v1/predictions/p1", json_answer(done))
    inference = make()
    job = inference.image_job("a fox", model=MODEL)
    assert (job.state, job.id) == ("done", None)
    assert server.last.headers["prefer"] == "wait"
    assert inference.image("a fox", model=MODEL).request_id == "p1"
    assert calls(server)[-2:] == ["GET /replicate/v1/predictions/p1", "GET /cdn"]


def test_a_result_before_the_status(server: Server, make: Make) -> None:
    """A prediction whose files are there is done: another poll, which the router may answer with 404, is not needed."""
    mapping(server, "replicate")
    links = {"get": "https://api.replicate.com/v1/predictions/p1"}
    early = {"id": "p1", "status": "processing", "error": None, "output": [f"{server.url}/cdn"], "urls": links}
    server.on("/cdn", IMAGE)
    server.on("/replicate/v1/models/replicate/paint/predictions", json_answer(early, 201))
    assert make().image("a fox", model=MODEL).content == PNG
    assert calls(server)[-1] == "GET /cdn"
    assert not any("predictions/p1" in call for call in calls(server))


def test_links_of_unavailable_results(server: Server, make: Make) -> None:
    """The error has the link of a result that could not be fetched, or its content; a transient failure is retried."""
    mapping(server, "together")
    route = "/together/v1/images/generations"
    server.on(route, json_answer({"data": [{"url": f"{server.url}/cdn?sig=1"}]}))
    server.on("/cdn", plain("not yet", 503), IMAGE)
    assert make().image("a fox", model=MODEL).content == PNG
    server.on("/cdn", plain("gone", 404))
    with pytest.raises(NotFoundError) as caught:
        make().image("a fox", model=MODEL)
    assert caught.value.links == (f"{server.url}/cdn?sig=1",)
    assert "sig=1" not in str(caught.value)
    server.on(route, json_answer({"mesh": [f"{server.url}/other.glb"]}))
    with pytest.raises(ProtocolError, match=r"other\.glb") as broken:
        make().image("a fox", model=MODEL)
    assert broken.value.links == (f"{server.url}/other.glb",)
    assert broken.value.body is not None
    server.on(route, plain(MP4, 200, "Content-Type: image/png"))
    with pytest.raises(ProtocolError) as other:
        make().image("a fox", model=MODEL)
    assert [made.content for made in other.value.completed] == [MP4]


def test_other_queues(server: Server, make: Make) -> None:
    """zai-org, together and novita: submit, poll, fetch."""
    mapping(server, "zai-org")
    server.on("/zai-org/api/paas/v4/async/images/generations", json_answer({"id": "T", "task_status": "PROCESSING"}))
    done = {"id": "T", "task_status": "SUCCESS", "image_result": [{"url": f"{server.url}/cdn"}]}
    server.on("/zai-org/api/paas/v4/async-result/T", json_answer(done))
    server.on("/cdn", IMAGE)
    assert make().image("a fox", model=MODEL).provider == "zai-org"
    looked = next(r for r in server.requests if r.path.endswith("/async-result/T"))
    assert looked.headers["x-source-channel"] == "hugging_face"
    server.on("/cdn", plain(MP4, 200, "Content-Type: application/octet-stream"))
    mapping(server, "together", model="acme/v1", task="text-to-video")
    server.on("/together/v2/videos", json_answer({"id": "v1"}))
    server.on("/together/v2/videos/v1", json_answer({"id": "v1", "status": "completed", "outputs": {"video_url": f"{server.url}/cdn"}}))
    assert make().video("a fox", model="acme/v1").provider == "together"
    mapping(server, "novita", model="acme/v2", task="text-to-video")
    server.on("/novita/v3/async/novita/paint", json_answer({"task_id": "n1"}))
    task = {"task": {"status": "TASK_STATUS_SUCCEED"}, "videos": [{"video_url": f"{server.url}/cdn"}]}
    server.on("/novita/v3/async/task-result", json_answer(task))
    assert make().video("a fox", model="acme/v2").content == MP4
    assert server.requests[-2].query == {"task_id": "n1"}


def test_images_by_url(server: Server, other_server: Server, make: Make) -> None:
    """A URL is passed on; for a provider that does not take URLs it is fetched here, without credentials."""
    other_server.on("/cat.png", IMAGE)
    fal(server, state("COMPLETED"))
    mapping(server, "fal-ai", task="image-to-image")
    make().image_to_image(f"{other_server.url}/cat.png", "a tiger", model=MODEL)
    assert other_server.requests == []
    server.on("/hf-inference/models/acme/painter", IMAGE)
    make().image_to_image(f"{other_server.url}/cat.png", "a tiger", model=MODEL, provider="hf-inference")
    assert not {"authorization", "cookie"} & set(other_server.last.headers)
    assert server.last.json() == {"inputs": B64, "parameters": {"prompt": "a tiger"}}


def test_events_reach_the_client(server: Server, make: Make) -> None:
    """The client's own listener gets the events of jobs, too; events turn into JSON."""
    fal(server, state("COMPLETED"))
    seen: list[AnyEvent] = []
    make(on_event=seen.append).image("a fox", model=MODEL)
    assert {type(event) for event in seen} == {JobProgress}
    assert Failover("a", "b", "c").reason == "c"


def test_threads(server: Server, make: Make) -> None:
    """Several threads share a client; two that wait for one job get the same result, fetched once."""
    fal(server, state("IN_PROGRESS"), state("COMPLETED"))
    job = make().image_job("a fox", model=MODEL)
    found: list[list[Image]] = []
    threads = [threading.Thread(target=lambda: found.append(job.result())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(found) == 3
    assert found[0] == found[1] == found[2]
    assert calls(server).count("GET /cdn") == 1
