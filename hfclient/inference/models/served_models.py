"""The LLMs of an inference server: ``GET /v1/models``, with the router's additions.

Reference: docs/protocol/inference ("The router's models").
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from attrs import field, frozen

from hfclient.decoding.json_values import number_or_none
from hfclient.display import Displayed
from hfclient.errors import ProtocolError
from hfclient.types import Entries

__all__ = ["Offer", "ServedModel", "choose_default", "parse_models", "request_name"]


@frozen
class Offer:
    """A provider's offer of an LLM in the router's list. Missing values are None.

    Attributes:
        provider: The provider's id.
        status: ``"live"``, or ``"error"`` if its last check failed.
        context_length: Maximum number of tokens of prompt and answer together.
        input_price, output_price: US dollars for a million tokens.
        is_free: Whether it costs nothing.
        supports_tools: Whether it supports tools.
        supports_structured_output: Whether it supports JSON schemas.
        first_token: Seconds until the first token, as the router measured it.
        throughput: Tokens per second.
        is_model_author: Whether the provider made the model.
    """

    provider: str
    status: str = "live"
    context_length: int | None = None
    input_price: float | None = None
    output_price: float | None = None
    is_free: bool | None = None
    supports_tools: bool | None = None
    supports_structured_output: bool | None = None
    first_token: float | None = None
    throughput: float | None = None
    is_model_author: bool = False


@frozen
class ServedModel(Displayed):
    """An LLM that an inference server offers.

    Attributes:
        id: What to pass as ``model``.
        owned_by: Its author or operator, as the server names it, or None.
        raw: The entry as the server sent it.
        offers: Its providers; the router's list only.
        input_modalities, output_modalities: ``"text"``, ``"image"``, ...; empty if the server does not say.
        context_length: Maximum number of tokens of prompt and answer together: the minimum of all live offers, because the
            router may choose any; or the value of vLLM, llama.cpp and others. None if unknown.
    """

    id: str
    owned_by: str | None = None
    raw: dict[str, Any] = field(factory=dict, repr=False, eq=False)
    offers: tuple[Offer, ...] = field(default=(), repr=False)
    input_modalities: tuple[str, ...] = field(default=(), repr=False)
    output_modalities: tuple[str, ...] = field(default=(), repr=False)
    context_length: int | None = field(default=None, repr=False)

    @property
    def supports_images(self) -> bool:
        """Whether the server says that it accepts images."""
        return "image" in self.input_modalities

    @property
    def supports_tools(self) -> bool:
        """Whether one of its live offers supports tools."""
        return any(offer.supports_tools for offer in self.live)

    @property
    def live(self) -> tuple[Offer, ...]:
        """The offers that pass the router's checks."""
        return tuple(offer for offer in self.offers if offer.status == "live")

    @property
    def cheapest(self) -> Offer | None:
        """The live offer with the lowest price of an answer (what ``provider="cheapest"`` takes), or None."""
        priced = [(price, offer) for offer in self.live if (price := _price(offer)) is not None]
        return min(priced, key=lambda pair: pair[0])[1] if priced else None


def request_name(model: ServedModel) -> str:
    """Return the name for requests to a server that has only *model*.

    text-generation-inference reads any name but ``"tgi"``, even its model's own, as a LoRA adapter. Its entry has the time 0
    and its own id as its owner.
    """
    is_tgi = model.owned_by == model.id and model.raw.get("created") == 0
    return "tgi" if is_tgi else model.id


def choose_default(
    models: Iterable[ServedModel], providers: Collection[str] = (), *, sees: bool = False, calls_tools: bool = False
) -> ServedModel | None:
    """Return the first model that fits, as far as the server lists abilities.

    Args:
        models: As the server lists them; the router lists the most used ones first.
        providers: One of these must serve it; empty for any. Ignored for a list without offers.
        sees: The prompt has images.
        calls_tools: The call has tools.
    """
    found = [one for one in models if not (one.offers and providers) or any(offer.provider in providers for offer in one.live)]
    for wanted, able in (
        (sees, [one for one in found if one.supports_images]),
        (calls_tools, [one for one in found if one.supports_tools]),
    ):
        if wanted and able:
            found = [one for one in found if one in able]
    return found[0] if found else None


def parse_models(data: Any) -> list[ServedModel]:
    """Return the entries of ``GET /v1/models``: ``{"data": [...]}``, ``{"models": [...]}`` or a bare list.

    Raises:
        ProtocolError: It is none of these.
    """
    entries = data
    if isinstance(data, dict):
        entries = data["data"] if isinstance(data.get("data"), list) else data.get("models")
    if not isinstance(entries, list):
        raise ProtocolError("the server's list of models is not a list")
    return Entries(model for entry in entries if (model := _model(entry)) is not None)


def _model(entry: Any) -> ServedModel | None:
    if isinstance(entry, str):
        entry = {"id": entry}
    if not isinstance(entry, dict):
        return None
    name = next((entry[key] for key in ("id", "name", "model") if isinstance(entry.get(key), str) and entry[key]), None)
    if name is None:
        return None
    owner, providers = entry.get("owned_by"), entry.get("providers")
    offers = [_offer(offer) for offer in providers] if isinstance(providers, list) else []
    known = tuple(offer for offer in offers if offer is not None)
    lengths = [offer.context_length for offer in known if offer.status == "live" and offer.context_length]
    architecture = entry.get("architecture")
    architecture = architecture if isinstance(architecture, dict) else {}
    return ServedModel(
        name,
        owner if isinstance(owner, str) else None,
        entry,
        offers=known,
        input_modalities=_words(architecture.get("input_modalities")),
        output_modalities=_words(architecture.get("output_modalities")),
        context_length=min(lengths) if lengths else _context_length(entry),
    )


def _offer(data: Any) -> Offer | None:
    if not isinstance(data, dict) or not isinstance(data.get("provider"), str) or not data["provider"]:
        return None
    pricing, status = data.get("pricing"), data.get("status")
    pricing = pricing if isinstance(pricing, dict) else {}
    latency = _amount(data.get("first_token_latency_ms"))
    return Offer(
        provider=data["provider"],
        status=status if isinstance(status, str) else "live",
        context_length=_count(data.get("context_length")),
        input_price=_amount(pricing.get("input")),
        output_price=_amount(pricing.get("output")),
        is_free=_flag(data.get("is_free")),
        supports_tools=_flag(data.get("supports_tools")),
        supports_structured_output=_flag(data.get("supports_structured_output")),
        first_token=None if latency is None else latency / 1000,
        throughput=_amount(data.get("throughput")),
        is_model_author=data.get("is_model_author") is True,
    )


def _price(offer: Offer) -> float | None:
    return 0.0 if offer.is_free else offer.output_price


def _context_length(entry: dict[str, Any]) -> int | None:
    """Return the context length of vLLM, SGLang, OpenRouter or llama.cpp."""
    meta = entry.get("meta")
    places = (entry.get("max_model_len"), entry.get("context_length"), entry.get("context_window"))
    inner = (meta.get("n_ctx"), meta.get("n_ctx_train")) if isinstance(meta, dict) else ()
    return next((found for value in (*places, *inner) if (found := _count(value))), None)


def _words(value: Any) -> tuple[str, ...]:
    return tuple(word for word in value if isinstance(word, str)) if isinstance(value, list) else ()


def _amount(value: Any) -> float | None:
    number = number_or_none(value)
    return number if number is not None and 0 <= number < 1e15 else None


def _count(value: Any) -> int | None:
    found = _amount(value)
    return int(found) if found else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None
