"""The list of models of a server: prices, context lengths, and irregular entries."""

from __future__ import annotations

from hfclient.inference.models.served_models import Offer, ServedModel, parse_models

ROUTER = {
    "object": "list",
    "data": [
        {
            "id": "openai/gpt-oss-120b",
            "object": "model",
            "created": 1754396541,
            "owned_by": "openai",
            "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
            "providers": [
                {
                    "provider": "cerebras",
                    "status": "live",
                    "context_length": 131072,
                    "pricing": {"input": 0.25, "output": 0.69},
                    "is_free": False,
                    "supports_tools": True,
                    "supports_structured_output": False,
                    "first_token_latency_ms": 310,
                    "throughput": 1100.5,
                    "is_model_author": False,
                },
                {"provider": "nscale", "status": "live", "context_length": 32768, "pricing": {"output": 0.4}},
                {"provider": "novita", "status": "error", "context_length": 1024, "is_model_author": False},
                None,
                {"status": "live"},
            ],
        }
    ],
}


def test_the_routers_list() -> None:
    """Providers have prices and context lengths; the smallest length of the live ones counts; missing fields are None."""
    (model,) = parse_models(ROUTER)
    assert model.offers == (
        Offer("cerebras", "live", 131072, 0.25, 0.69, False, True, False, 0.31, 1100.5),
        Offer("nscale", "live", 32768, output_price=0.4),
        Offer("novita", "error", 1024),
    )
    assert model.context_length == 32768
    assert (model.supports_images, model.supports_tools, model.owned_by) == (True, True, "openai")
    assert model.cheapest is model.offers[1]
    assert [offer.provider for offer in model.live] == ["cerebras", "nscale"]


def test_other_servers() -> None:
    """VLLM and llama.cpp have their own names for the context length; most servers omit it."""
    entries = [{"id": "a", "max_model_len": 4096}, {"id": "b", "meta": {"n_ctx_train": 8192}}, {"id": "c"}, "d", 5]
    models = parse_models({"data": entries})
    assert [(model.id, model.context_length) for model in models] == [
        ("a", 4096),
        ("b", 8192),
        ("c", None),
        ("d", None),
    ]
    assert models[2] == ServedModel("c")
    assert models[2].cheapest is None


def test_free_is_cheapest() -> None:
    """A free offer has the price zero, whatever its pricing is."""
    providers = [{"provider": "a", "pricing": {"output": 0.1}}, {"provider": "b", "is_free": True}]
    (model,) = parse_models([{"id": "m", "providers": providers}])
    assert model.cheapest is model.offers[1]


def test_invalid_numbers() -> None:
    """Invalid numbers count as missing."""
    providers = [{"provider": "a", "pricing": "free", "context_length": "many", "throughput": True, "is_free": 1}]
    (model,) = parse_models([{"id": "m", "providers": providers, "architecture": [], "owned_by": 5}])
    assert model.offers == (Offer("a"),)
    assert model.input_modalities == ()
