"""`InferenceService`: one inference server, and what all capabilities of `InferenceClient` share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any, Literal

from hfclient.errors import (
    APIStatusError,
    BadRequestError,
    HFClientError,
    InvalidInputError,
    ModelNotFound,
    NotFoundError,
    ProtocolError,
)
from hfclient.events import AnyEvent, Failover
from hfclient.inference.generation_errors import refined
from hfclient.inference.models.defaults import resolve
from hfclient.inference.models.hub import Hub
from hfclient.inference.models.served_models import ServedModel, choose_default, parse_models, request_name
from hfclient.inference.providers.addresses import call_headers
from hfclient.inference.routing.candidates import Candidate, Routes, add_keys, check_name
from hfclient.inference.routing.failover import Providers
from hfclient.inference.routing.provider_client import ProviderClient
from hfclient.inference.schemas.dialects import detect_dialect
from hfclient.inference.server_urls import chat_url, is_router, models_url, refuse_url
from hfclient.inference.unsupported_tasks import TEXT_TASKS, explain_missing_route
from hfclient.stream import LastReply
from hfclient.transport import ONCE, Clock, Request, Response, Session, retrying
from hfclient.transport.retry import Attempt

__all__ = ["InferenceService"]


class InferenceService:
    """An inference server with its session and routes; `InferenceClient` describes the arguments.

    Attributes:
        session: Sends the requests.
        base_url: Base URL of the server.
        is_router: Whether the server is Hugging Face's router.
        chat_url: URL of its chat completions.
        models_url: URL of its list of models.
        bill_to: Organisation that pays, or None.
        on_event: Called with every event of every stream, or None.
        last: Gets the answer of every stream, or None.
        hub: The Hub's models.
        routes: The providers that can be reached.
    """

    def __init__(
        self,
        session: Session,
        *,
        base_url: str,
        bill_to: str | None,
        on_event: Callable[[AnyEvent], object] | None,
        hub_url: str,
        router_url: str | None,
        provider_keys: Mapping[str, str] | None,
        embedded: Literal["model", "upstream"] | None,
        last: LastReply | None,
    ) -> None:
        if provider_keys:
            session = session.with_credentials(add_keys(session.credentials, provider_keys))
        explain = partial(explain_missing_route, base_url=base_url, embedded=embedded is not None)
        self.is_router = is_router(base_url)
        self.session = session.with_refining(None if self.is_router else explain)
        self.base_url = base_url
        self.chat_url = chat_url(base_url)
        self.models_url = models_url(base_url)
        self.on_event = on_event
        self.last = last
        self.hub = Hub(self.session, hub_url)
        self.routes = Routes(
            self.session.credentials,
            base_url=base_url,
            hub=self.hub,
            keys=provider_keys or (),
            router_url=router_url,
            only=TEXT_TASKS if embedded == "model" else None,
        )
        self.bill_to = bill_to
        # Two threads may fetch these at once, which does no harm.
        self._served: list[ServedModel] | None = None
        self._dialect: str | None = None
        self._is_dialect_known = False
        self._strict_urls: set[str] = set()  # they refuse ``stream_options``

    def served_models(self) -> list[ServedModel]:
        """Return the models that the server lists."""
        return parse_models(self.session.send(Request.read(self.models_url)).json())

    def default_model(
        self, providers: Collection[str] = (), *, accepts_images: bool = False, calls_tools: bool = False
    ) -> str:
        """Return the model for a call without ``model=``: the first one that the server lists and that fits.

        Raises:
            InvalidInputError: The server lists none.
        """
        if self._served is None:
            self.routes.need_token()
            try:
                self._served = self.served_models()
            except (NotFoundError, ProtocolError) as error:
                raise InvalidInputError("name a model with model= (-m NAME): the server does not list its models") from error
        found = choose_default(self._served, providers, sees=accepts_images, calls_tools=calls_tools)
        if found is None:
            raise InvalidInputError("name a model with model= (-m NAME): the server lists none")
        return request_name(found)

    def schema_dialect(self) -> str | None:
        """Return the server's dialect of JSON schemas, if it says that it is text-generation-inference; it is asked once."""
        if not self._is_dialect_known:
            self._dialect, self._is_dialect_known = detect_dialect(self.session, self.base_url), True
        return self._dialect

    def model_name(self, model: str) -> str:
        """Return the server's name of *model*.

        Raises:
            InvalidInputError: It is a URL, or cannot be a name.
        """
        check_name(model)
        refuse_url(model)
        return resolve(model) if self.is_router else model  # on other servers "llama-3" may be a model's own name

    def headers(self, candidate: Candidate) -> dict[str, str]:
        """Return the headers of a request to *candidate*."""
        return call_headers(candidate.provider, self.bill_to if candidate.billed else None, candidate.target.base)

    def open_stream(
        self, candidate: Candidate, url: str, body: dict[str, Any], *, model: str | None, clock: Clock
    ) -> Response:
        """Send *body* once and return the response, whose body is read as it comes.

        Args:
            candidate: The provider.
            url: Of the route.
            body: The JSON body; a server that refuses ``stream_options`` gets it without.
            model: The model's name for error messages, if it has one.
            clock: Of the call.
        """
        if url in self._strict_urls:
            body.pop("stream_options", None)
        # No compression: compressed answers tend to be held back in buffers.
        headers = {"Accept": "text/event-stream, application/json", "Accept-Encoding": "identity", **self.headers(candidate)}
        fields: dict[str, Any] = {"stream": True, "refine": self.refining(model), "clock": clock, "retry": ONCE}
        try:
            return self.session.send(Request.with_json("POST", url, body, headers=headers, **fields))
        except BadRequestError as error:
            if "stream_options" not in body or "stream_options" not in f"{error.message} {error.body}":
                raise
        self._strict_urls.add(url)  # strict about unknown fields; its answers have no token counts
        del body["stream_options"]
        return self.session.send(Request.with_json("POST", url, body, headers=headers, **fields))

    def refining(self, model: str | None) -> Callable[[APIStatusError], HFClientError]:
        """Return a function that makes an error about *model* more specific, for ``Request.refine``."""

        def refine(error: APIStatusError) -> HFClientError:
            better = refined(error, model)
            if model and isinstance(better, ModelNotFound):  # the Hub's list of providers may be out of date
                self.routes.forget(model)
            return better

        return refine

    def each_provider(
        self, providers: Providers, client: ProviderClient, on_failover: Callable[[Failover], object] | None = None
    ) -> Iterator[Attempt]:
        """Yield an attempt for each provider until one succeeds; the loop has the form of `retrying`.

            providers = Providers(candidates, billed=True)
            for attempt in service.each_provider(providers, client):
                with attempt:
                    answer, _ = client.send(build(providers.candidate))

        Args:
            providers: The candidates; ``candidate`` is the one of the current attempt.
            client: The client of the call; it gets the headers for each candidate.
            on_failover: Called with each failover; ``on_event`` if None.

        Raises:
            HFClientError: The error of the last provider, or the first error after which no other one may be tried; its
                message has the errors of the providers before.
        """
        on_failover = on_failover or self.on_event

        def note(error: HFClientError) -> bool:
            error.request_id = error.request_id or client.request_id
            if isinstance(error, ModelNotFound):  # the Hub's list of providers is out of date
                self.routes.forget(providers.candidate.entry.model)
            return True

        for attempt in retrying(providers, client.clock, on=note):
            client.headers = self.headers(providers.candidate)
            yield attempt
            if attempt.wait is not None and on_failover is not None:
                on_failover(providers.failovers[-1])
