"""Prices of the Hugging Face router, for limits of credits."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from hfclient.errors import HFClientError, InvalidInputError
from hfclient.events import Usage
from hfclient.web.forks import reset_after_fork

if TYPE_CHECKING:
    from hfclient.inference import InferenceClient, Offer

__all__ = ["RouterPrices"]

_log = logging.getLogger("hfclient.web")
_RETRY = 60.0
_PATIENCE = 5.0  # seconds that the first answer waits for the list


class RouterPrices:
    """Costs of answers by the router's list of models, which is requested at the first answer and then each hour.

        guard = Guard("redis://...", credits="0.50/day", price=RouterPrices(client.inference))

    If the provider is not known, the highest price of the model's live providers counts.

    Args:
        inference: The client whose server has the prices: ``client.inference``.
        seconds: How long a list is used.
    """

    def __init__(self, inference: InferenceClient, *, seconds: float = 3600.0) -> None:
        self._inference = inference
        self._seconds = seconds
        self._reset()
        reset_after_fork(self._reset)

    def _reset(self) -> None:
        self._offers: dict[str, tuple[Offer, ...]] = {}
        self._until = 0.0
        self._requesting = threading.Lock()
        self._tried = threading.Event()

    def __reduce__(self) -> tuple[Any, ...]:
        raise InvalidInputError(
            "RouterPrices has a client, whose credentials are not sent to other processes; "
            "pass a function of a module as price=, which takes usage, model and provider"
        )

    def __call__(self, usage: Usage, model: str, provider: str | None) -> float | None:
        """Return the price in US dollars, or None if the router does not list one."""
        name, _, suffix = model.partition(":")
        offers = self._current().get(name, ())
        wanted = provider or suffix
        chosen = [offer for offer in offers if offer.provider == wanted] or [offer for offer in offers if offer.status == "live"]
        return max((cost for offer in chosen if (cost := _cost(offer, usage)) is not None), default=None)

    def _current(self) -> dict[str, tuple[Offer, ...]]:
        if time.monotonic() >= self._until and self._requesting.acquire(blocking=False):
            try:
                # Apart: an answer that has ended does not wait for a router that is slow.
                threading.Thread(target=self._request, name="hfclient-prices", daemon=True).start()
            except RuntimeError:  # the interpreter shuts down
                self._requesting.release()
                return self._offers
        self._tried.wait(_PATIENCE)
        return self._offers

    def _request(self) -> None:
        try:
            self._offers = {served.id: served.offers for served in self._inference.models()}
            self._until = time.monotonic() + self._seconds
        except HFClientError as error:
            self._until = time.monotonic() + _RETRY  # the old prices, if any
            _log.warning("the prices of the router are unknown: %s", type(error).__name__)
        finally:
            self._tried.set()
            self._requesting.release()


def _cost(offer: Offer, usage: Usage) -> float | None:
    if offer.is_free:
        return 0.0
    if offer.input_price is None or offer.output_price is None:
        return None
    return (usage.prompt_tokens * offer.input_price + usage.completion_tokens * offer.output_price) / 1_000_000
