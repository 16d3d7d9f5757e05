"""The Hub's models over real HTTP: pages, one model, errors, and the cache."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest

from hfclient.credentials import Credentials, Secret
from hfclient.errors import AuthenticationError, InvalidInputError, ModelNotFound, PermissionDeniedError, ProtocolError
from hfclient.inference.models.defaults import ALIASES, IMAGE_MODELS, TEXT_MODELS, VISION_MODELS, nearest, resolve
from hfclient.inference.models.expiring_cache import ExpiringCache
from hfclient.inference.models.hub import Hub, HubModel, next_page, parse_hub_model
from hfclient.inference.models.mapping import ProviderEntry
from hfclient.transport import Retry, Session, Transport
from hfclient.transport.requests_transport import RequestsTransport
from tests.server import Recorded, Server, json_answer, plain

LIST, LLAMA = "/api/models", "meta-llama/Llama-3.3-70B-Instruct"
ONE = f"{LIST}/{LLAMA}"
Make = Callable[..., Hub]


@pytest.fixture
def make(server: Server, transport: Transport) -> Make:
    """Makes Hubs, for each transport."""

    def make(token: str | None = "hf_secret", **options: Any) -> Hub:
        credentials = Credentials(token=Secret(token) if token else None, explicit=True, token_urls=[server.url])
        return Hub(Session(transport, credentials, retry=Retry(attempts=1)), server.url, **options)

    return make


def entries(*names: str) -> list[dict[str, Any]]:
    return [{"_id": "6", "id": name} for name in names]


def test_pages_are_followed_lazily(server: Server, make: Make) -> None:
    """Each page is requested when its first entry is needed; the link to the next page is used unchanged."""
    link = f'Link: <{server.url}/api/models?limit=2&cursor=a%2Bb>; rel="next"'
    server.on(LIST, json_answer(entries("o/a", "o/b"), 200, link), json_answer(entries("o/c")))
    found = make().models(task="text-to-image", provider="fal-ai", search="flux", sort="trending", limit=500)
    assert server.requests == []
    assert (next(found).id, next(found).id) == ("o/a", "o/b")
    assert len(server.requests) == 1
    asked = server.requests[0].query
    assert asked["pipeline_tag"] == "text-to-image"
    assert (asked["inference_provider"], asked["search"], asked["sort"]) == ("fal-ai", "flux", "trendingScore")
    assert asked["limit"] == "500"
    assert "expand%5B%5D=inferenceProviderMapping" in server.requests[0].target
    assert [model.id for model in found] == ["o/c"]
    assert server.last.target == "/api/models?limit=2&cursor=a%2Bb"
    assert server.last.headers["authorization"] == "Bearer hf_secret"


def test_limit(server: Server, make: Make) -> None:
    """With a limit no further page is requested, and a limit of 0 sends nothing."""
    server.on(LIST, json_answer(entries("o/a", "o/b"), 200, 'Link: </api/models?cursor=x>; rel="next"'))
    hub = make()
    assert [model.id for model in hub.models(limit=2)] == ["o/a", "o/b"]
    assert list(hub.models(limit=0)) == []
    assert len(server.requests) == 1


def test_entry_on_two_pages(server: Server, make: Make) -> None:
    """An entry that repeats on the next page, because the order changed, comes once."""
    link = 'Link: </api/models?cursor=x>; rel="next"'
    server.on(LIST, json_answer(entries("o/a", "o/b"), 200, link), json_answer(entries("o/b", "o/c")))
    assert [model.id for model in make().models()] == ["o/a", "o/b", "o/c"]


def test_next_page_on_another_host(server: Server, other_server: Server, make: Make) -> None:
    """A next page on another host is requested from this host; the token is not sent to the other."""
    link = f'Link: <{other_server.url}/api/models?cursor=x>; rel="next"'
    server.on(LIST, json_answer(entries("o/a"), 200, link), json_answer(entries("o/b")))
    assert [model.id for model in make().models()] == ["o/a", "o/b"]
    assert server.last.query == {"cursor": "x"}
    assert other_server.requests == []


@pytest.mark.parametrize("link", ["https://elsewhere.example/login", "ftp://x/api/models", "https://[/api/models"])
def test_next_page_of_another_route(link: str, server: Server, make: Make) -> None:
    """A link to another route raises an error."""
    server.on(LIST, json_answer(entries("o/a"), 200, f'Link: <{link}>; rel="next"'))
    with pytest.raises(ProtocolError, match="next page"):
        list(make().models())


def test_repeating_pages(server: Server, make: Make) -> None:
    """A list whose next page is itself raises an error."""
    server.on(LIST, json_answer(entries("o/a"), 200, 'Link: </api/models?c=1>; rel="next"'))
    with pytest.raises(ProtocolError, match="repeats its pages"):
        list(make().models())


@pytest.mark.parametrize("body", [{"error": "no"}, "text", None])
def test_answer_that_is_not_a_list(body: Any, server: Server, make: Make) -> None:
    """An answer that is not a list raises an error."""
    server.on(LIST, json_answer(body))
    with pytest.raises(ProtocolError, match="not a list"):
        next(make().models())


def test_next_page() -> None:
    """Link relations in any order and case are parsed; others are skipped; without a header there is no next page."""
    here = "http://h/api/models?limit=1"
    assert next_page(['</a?p>; rel="prev", </a?n>; title="x, y"; rel=next'], here) == "http://h/a?n"
    assert next_page(['</a>; REL="last NEXT"'], here) == "http://h/a"
    assert next_page(['</a>; rel="nextish"', "nonsense"], here) is None
    assert next_page([], here) is None


@pytest.mark.parametrize("options", [{"sort": "beauty"}, {"limit": -1}, {"limit": True}, {"limit": "5"}], ids=str)
def test_invalid_arguments(options: Any, make: Make) -> None:
    """Invalid arguments raise at the call, not at the first step."""
    with pytest.raises(InvalidInputError):
        make().models(**options)


def test_one_model(server: Server, make: Make) -> None:
    """A model has its providers in the Hub's order; a suffix is left out, and the answer is cached."""
    live = {"status": "live", "providerId": "llama-3.3-70b-versatile", "task": "conversational", "isModelAuthor": False}
    mapping = {"groq": live, "future": {"status": "staging", "providerId": "x", "task": "new"}, "odd": None}
    data = {"_id": "65", "id": LLAMA, "pipeline_tag": "text-generation", "gated": "manual", "inference": "warm"}
    server.on(ONE, json_answer({**data, "inferenceProviderMapping": mapping, "config": {"model_type": "llama"}}))
    hub = make()
    model = hub.model(f"{LLAMA}:groq")
    assert model.providers == (
        ProviderEntry("groq", "llama-3.3-70b-versatile", task="conversational", model=LLAMA),
        ProviderEntry("future", "x", status="staging", task="new", model=LLAMA),
    )
    assert (model.live_providers, model.gated, model.is_warm, model.author) == (("groq",), "manual", True, "meta-llama")
    assert model.provider("groq") is model.providers[0]
    assert model.raw["config"] == {"model_type": "llama"}
    assert hub.model("llama-3.3-70b") is model
    assert len(server.requests) == 1
    hub.forget(LLAMA)
    assert hub.model(LLAMA) == model
    assert len(server.requests) == 2


def test_cache_expires(server: Server, make: Make) -> None:
    """An expired answer is requested again; pages are cached, too."""
    server.on("*", json_answer({"id": LLAMA}))
    server.on(LIST, json_answer(entries("o/a")))
    short, long = make(keep=0.0), make()
    for hub in (short, long):
        for _ in range(2):
            hub.model(LLAMA)
            list(hub.models())
    assert len(server.requests) == 4 + 2


def test_cache_is_bounded() -> None:
    """The oldest entry is removed first, and a pickled cache is empty."""
    memory: ExpiringCache[int] = ExpiringCache(60, most=2)
    for number in range(3):
        memory.put(str(number), number)
    assert [memory.get(str(number)) for number in range(3)] == [None, 1, 2]
    assert pickle.loads(pickle.dumps(memory)).get("2") is None


def refusal(status: int, code: str | None, body: Any = None) -> bytes:
    headers = [f"X-Error-Code: {code}"] if code else []
    return json_answer(body or {"error": "Repository not found"}, status, *headers)


@pytest.mark.parametrize(
    ("token", "answer"),
    [
        (None, refusal(401, "RepoNotFound")),
        (None, refusal(401, None, {"error": "Invalid username or password."})),
        ("hf_secret", refusal(401, "RepoNotFound")),
        ("hf_secret", refusal(404, "RepoNotFound")),
        ("hf_secret", plain("Not Found", 404)),
    ],
)
def test_missing_models(token: str | None, answer: bytes, server: Server, make: Make) -> None:
    """A missing model raises `ModelNotFound` with similar names, for each of the Hub's answers."""
    server.on("*", answer)
    with pytest.raises(ModelNotFound) as caught:
        make(token).model("meta-lama/Llama-3.3-70B-Instruct")
    assert caught.value.model == "meta-lama/Llama-3.3-70B-Instruct"
    assert caught.value.suggestions[0] == LLAMA
    assert caught.value.status_code in (401, 404)
    assert ("HF_TOKEN" in caught.value.message) == (token is None)


def test_other_errors(server: Server, make: Make) -> None:
    """An invalid token and a gated model have their own errors."""
    server.on("*", refusal(401, None, {"error": "Invalid credentials in Authorization header"}))
    with pytest.raises(AuthenticationError, match="Invalid credentials"):
        make().model("o/a")
    server.on("*", refusal(403, "GatedRepo", {"error": "Access to model o/a is restricted"}))
    with pytest.raises(PermissionDeniedError, match="restricted") as caught:
        make().model("o/a")
    assert caught.value.code == "GatedRepo"


@pytest.mark.parametrize("name", ["", "a/b/c", "../etc", "o/..", "a b", "https://h/x", None])
def test_invalid_names(name: Any, make: Make) -> None:
    """An invalid name raises before a request is sent."""
    with pytest.raises(InvalidInputError, match="not a name"):
        make().model(name)


@pytest.mark.parametrize("mapping", [None, {}, [], "x", [None, 5, {"provider": 3}], {"groq": {"status": "live"}}])
def test_invalid_mappings(mapping: Any) -> None:
    """A missing, empty or invalid mapping means that the model has no providers."""
    model = parse_hub_model({"id": "o/a", "inferenceProviderMapping": mapping})
    assert model == HubModel("o/a", author="o")


def test_invalid_entries() -> None:
    """Fields of a wrong type count as missing; an entry without a name is skipped."""
    odd = {"id": "gpt2", "likes": "many", "trendingScore": None, "tags": [1, "x"], "gated": True, "downloads": 1e99}
    assert parse_hub_model(odd) == HubModel("gpt2", tags=("x",), gated="auto")
    assert [parse_hub_model(entry) for entry in (None, [], {}, {"id": 5})] == [None] * 4


def test_the_list_form_of_a_mapping(server: Server, make: Make) -> None:
    """Lists of models have the mapping as a list, with adapters."""
    lora = {"provider": "fal-ai", "hfModelId": "o/base", "providerId": "fal-ai/flux-lora", "status": "live"}
    lora |= {
        "task": "text-to-image",
        "adapter": "lora",
        "adapterWeightsPath": "style.safetensors",
        "type": "tag-filter",
    }
    server.on(LIST, json_answer([None, {"id": "o/style", "inferenceProviderMapping": [lora, None]}]))
    (model,) = make().models(provider="all")
    expected = ProviderEntry(
        "fal-ai", "fal-ai/flux-lora", "live", "text-to-image", "o/base", "lora", "style.safetensors"
    )
    assert model.providers == (expected,)


def test_recommended_models(server: Server, make: Make) -> None:
    """The recommended model of a task is the one on its page; the tasks are requested once."""
    tasks = {
        "fill-mask": {"widgetModels": ["o/a"], "models": [{"id": "o/b"}]},
        "x": {"models": [{"id": "o/c"}]},
        "y": 5,
    }
    server.on("/api/tasks", json_answer(tasks))
    hub = make()
    assert [hub.recommended(task) for task in ("fill-mask", "x", "y", "z")] == ["o/a", "o/c", None, None]
    assert len(server.requests) == 1


def test_default_models(server: Server, make: Make) -> None:
    """Default models are the trending ones and then the well-known ones, without duplicates; they are cached."""

    def answer(request: Recorded) -> bytes:
        names = [{"id": "o/hot", "trendingScore": 20}, {"id": "o/cold"}, {"id": TEXT_MODELS[2], "trendingScore": 10}]
        return json_answer(names)

    server.on(LIST, [answer])
    hub = make()
    found = hub.default_models()
    assert found.is_fresh
    assert found.text == ("o/hot", TEXT_MODELS[2], *VISION_MODELS, *(TEXT_MODELS[i] for i in (0, 1, 3, 4, 5, 6, 8, 9)))
    assert found.image == (*IMAGE_MODELS, "o/hot")
    assert [request.query for request in server.requests] == [
        {"inference": "warm", "pipeline_tag": "text-generation"},
        {"pipeline_tag": "text-to-image"},
    ]
    assert hub.default_models() is found


@pytest.mark.parametrize("answer", [plain("", 500), plain("<html>"), json_answer({})])
def test_default_models_without_a_hub(answer: bytes, server: Server, make: Make) -> None:
    """If the Hub does not answer, the built-in lists are returned, marked as not fresh, and not cached."""
    server.on(LIST, answer)
    hub = make()
    found = hub.default_models()
    assert (found.is_fresh, found.image) == (False, IMAGE_MODELS)
    assert found.text[: len(TEXT_MODELS)] == TEXT_MODELS
    hub.default_models()
    assert len(server.requests) == 2


def test_default_models_without_a_network() -> None:
    """The same holds if no server listens."""
    transport = RequestsTransport()
    hub = Hub(Session(transport, Credentials(), retry=Retry(attempts=1)), "http://127.0.0.1:9")
    assert not hub.default_models().is_fresh
    transport.close()


def test_aliases() -> None:
    """Short names resolve to the Hub's, with their suffix; similar names are found; every alias has a full name."""
    assert resolve("flux") == "black-forest-labs/FLUX.1-dev"
    assert resolve("llama-3:fastest") == f"{LLAMA}:fastest"
    assert resolve("smollm2:135m") == "smollm2:135m"
    assert nearest("flux-schnel")[0] == "black-forest-labs/FLUX.1-schnell" or "flux-schnell" in nearest("flux-schnel")
    assert all("/" in name for name in ALIASES.values())
