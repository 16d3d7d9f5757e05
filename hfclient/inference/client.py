"""`InferenceClient`: Hugging Face's router, or any OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from hfclient.arguments.argument_types import checks_arguments
from hfclient.decoding.html_pages import instead, what_came
from hfclient.errors import (
    APIStatusError,
    BadRequestError,
    HFClientError,
    InvalidInputError,
    NotFoundError,
    ProtocolError,
)
from hfclient.events import AnyEvent, Failover, Route
from hfclient.inference.abilities import TEXT_TASKS, explain_missing_route
from hfclient.inference.completions.chunks import ChunkDecoder
from hfclient.inference.completions.messages import Prompt, build_messages, normalised
from hfclient.inference.completions.options import ChatOptions, chat_options
from hfclient.inference.completions.stream import CompletionStream
from hfclient.inference.composed.calls import ComposedCalls
from hfclient.inference.content.attachments import FileLike, with_attachments
from hfclient.inference.content.pictures import PictureLike
from hfclient.inference.endpoints import HUB_URL, ROUTER_URL, chat_url, is_router, models_url, refuse_url
from hfclient.inference.failures import refined
from hfclient.inference.media.generation import MediaCalls
from hfclient.inference.models.catalogue import ServedModel, default_among, name_to_ask
from hfclient.inference.models.defaults import resolve
from hfclient.inference.models.hub import Hub
from hfclient.inference.models.hubcalls import HubCalls
from hfclient.inference.providers.places import call_headers
from hfclient.inference.routing.candidates import Candidate, ProviderLike, Routes, add_keys, check_name, named_providers
from hfclient.inference.routing.failover import ONCE, Attempts, Begun
from hfclient.inference.schemas.dialects import SchemaFormat, format_fields
from hfclient.inference.schemas.functions import ToolLike, wire_tools
from hfclient.inference.tasks.embeddings import EmbedCalls
from hfclient.inference.tasks.pipelines import TaskCalls
from hfclient.inference.text.text_generation import TextCalls
from hfclient.transport import Request, Response, Session, Timeouts
from hfclient.transport.base import safe_url

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["InferenceClient"]


@checks_arguments
class InferenceClient(ComposedCalls, MediaCalls, EmbedCalls, TaskCalls, HubCalls, TextCalls):
    """Asks LLMs over the chat-completions protocol, and models of pictures and videos through any provider.

    Holds no connection of its own; threads may share it.

    Args:
        session: The way to the network; its credentials decide which token goes where.
        base_url: The router, or any OpenAI-compatible server: with or without ``/v1``, or the whole URL of its chat
            completions.
        bill_to: Organisation that pays, sent as ``X-HF-Bill-To`` with every request.
        on_event: Called with every event of every stream, before the stream's reader gets it.
        hub_url: Base URL of the Hub, which knows who serves a model.
        router_url: Root of a router below which every provider has a path; None takes Hugging Face's, if *base_url* is there.
        provider_keys: Keys of your own for single providers, by their ids; those are then asked on their own sites. A
            provider's key goes there and nowhere else, and the token does not.
        embedded: *base_url* is of ``Client.local()``: its small ``"model"``, which writes texts and does nothing else, or
            its ``"upstream"``.

    Raises:
        InvalidInputError: A URL is no http(s) URL, or a key is for nobody, or is a Hub token.
        CredentialsError: A key is malformed.
    """

    def __init__(
        self,
        session: Session,
        *,
        base_url: str = ROUTER_URL,
        bill_to: str | None = None,
        on_event: Callable[[AnyEvent], object] | None = None,
        hub_url: str = HUB_URL,
        router_url: str | None = None,
        provider_keys: Mapping[str, str] | None = None,
        embedded: Literal["model", "upstream"] | None = None,
    ) -> None:
        if provider_keys:
            session = session.with_credentials(add_keys(session.credentials, provider_keys))
        explain = partial(explain_missing_route, base_url=base_url, embedded=embedded is not None)
        session = session.with_refining(None if is_router(base_url) else explain)
        self.base_url = base_url
        self.chat_url = chat_url(base_url)
        self.models_url = models_url(base_url)
        self._session = session
        self._bill_to = bill_to
        self._on_event = on_event
        self._hub = Hub(session, hub_url)
        self._routes = Routes(
            session.credentials,
            base_url=base_url,
            hub=self._hub,
            keys=provider_keys or (),
            router_url=router_url,
            only=TEXT_TASKS if embedded == "model" else None,
        )
        # Learnt from the server. Two threads may learn the same thing at once; that does no harm.
        self._served: list[ServedModel] | None = None
        self._no_stream_options = False
        self._strict_urls: set[str] = set()

    def __repr__(self) -> str:
        return f"<InferenceClient {safe_url(vars(self).get('base_url', ''))}>"

    def at(self, url: str) -> InferenceClient:
        """Return a client for another server over the same connections, such as a dedicated endpoint.

            inference.at("https://x1y2.us-east-1.aws.endpoints.huggingface.cloud").image("a red fox")

        The token goes there as it goes to an ``inference_url``: one that was passed as ``token=`` to any *url*, one that was
        found to Hugging Face's own hosts and deployments only. So *url* must not come from somebody else.

        Args:
            url: Base URL of the server, in any form that ``inference_url`` takes.

        Raises:
            InvalidInputError: It is no http(s) URL.
        """
        if not isinstance(url, str):
            raise InvalidInputError(f"a URL is a text, not {type(url).__name__}")
        session = self._session.with_credentials(self._session.credentials.with_token_url(url))
        return InferenceClient(session, base_url=url, on_event=self._on_event, hub_url=self._hub.url)

    def chat(
        self,
        prompt: Prompt,
        *,
        model: str | None = None,
        system_prompt: str | None = None,
        images: Iterable[PictureLike] | PictureLike | None = None,
        files: Iterable[FileLike] | FileLike | None = None,
        provider: ProviderLike = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        frequency_penalty: float | None = None,
        presence_penalty: float | None = None,
        logit_bias: Mapping[str, float] | None = None,
        logprobs: bool | None = None,
        top_logprobs: int | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] | None = None,
        response_format: Mapping[str, Any] | SchemaFormat | None = None,
        tools: Sequence[ToolLike] | None = None,
        tool_choice: str | ToolLike | None = None,
        parallel_tool_calls: bool | None = None,
        reasoning_effort: str | None = None,
        user: str | None = None,
        keep_reasoning: bool = False,
        extra_body: Mapping[str, Any] | None = None,
        timeouts: Timeouts | None = None,
        **options: Unpack[ChatOptions],
    ) -> CompletionStream:
        """Return the stream of one answer; the request has been sent when this returns.

            for event in inference.chat("hi", model="Qwen/Qwen3-8B"): ...
            inference.chat([{"role": "user", "content": "hi"}], model="Qwen/Qwen3-8B", max_tokens=20).text

        The request is repeated, as the session's `Retry` says, until an answer begins, and then sent to the next provider if
        the choice is open; never after the first token. Fields that are None are not sent.

        Args:
            prompt: A question, or a list of messages: dicts with ``role`` and ``content``, `UserMessage` and the like, or
                a `Reply`. A user's message may have files under ``images``, ``files``, ``audio`` or ``video``, where a string
                is a URL or base64, never a path; a server's own fields go into its ``extra_body``. Other keys are refused.
            model: Hub id such as ``"Qwen/Qwen3-8B"``, with a provider's suffix or without. None takes the first model that
                the server lists: of the router's, one that *provider* serves, and that sees pictures or takes tools if there
                are any.
            system_prompt: Put in front as a system message.
            images: Pictures for the last message of the user's, one or several: paths, bytes, open binary files, `Image` objects, PIL
                images, data URLs, ``(name, content)``, or http(s) URLs, which the server fetches. Such objects may also stand
                in a message's ``content``, next to its texts.
            files: Files for it: texts, sounds, PDFs, videos and pictures, as far as the model takes them.
            provider: Who shall serve the model: a provider's id, ``"fastest"``, ``"cheapest"``, ``"preferred"`` (your own
                order) or ``"auto"``; or several of them, in the order to try: when one fails before its first token, the next
                is asked, and a `Failover` says so. With ``"auto"`` or None the router chooses, and when its choice fails
                others that the Hub names are asked. Router only, save for providers in *provider_keys*.
            max_tokens: Longest answer, in tokens.
            temperature: 0 or more; 0 takes the likeliest token each time.
            top_p: Take tokens from the likeliest that make up this share, 0 to 1.
            frequency_penalty: -2 to 2; above 0 discourages words that came often.
            presence_penalty: -2 to 2; above 0 discourages words that came at all.
            logit_bias: Token id to bias.
            logprobs: Give ``Token.logprob``.
            top_logprobs: Give so many alternatives for each token, in ``Token.extra["logprobs"]``.
            seed: For answers that can be repeated, where the server can.
            stop: Text, or up to four, at which the answer ends.
            response_format: Shape of the answer, such as ``{"type": "json_schema", ...}``; `parse` makes one of a class.
            tools: What the model may call: functions, `Tool` objects, or JSON schemas as dicts. Calls come out as
                `ToolCall` events; `run_tools` runs them, too.
            tool_choice: ``"auto"``, ``"none"``, ``"required"``, or the one to call: a function, a `Tool` or a name.
            parallel_tool_calls: Whether several calls may come at once.
            reasoning_effort: ``"none"``, ``"minimal"``, ``"low"``, ``"medium"``, ``"high"`` or ``"xhigh"``; models differ.
            user: Your own name for the user behind the call.
            keep_reasoning: Send the reasoning of earlier answers, which most servers refuse and a few want back.
            extra_body: Further fields for the root of the request; these override all others, and None removes one.
            timeouts: Deadlines of this call.
            n: Make so many answers, where the server can. The first one is the answer; chunks of the others come as
                ``Unknown("choice", ...)``.
            max_completion_tokens: As *max_tokens*, for the models of OpenAI's that refuse that.
            tool_prompt: Text in front of the tools (text-generation-inference).
            metadata, store, service_tier, modalities, audio, prediction, verbosity, web_search_options, safety_identifier:
                As OpenAI describes them; other servers refuse or ignore them.

        Returns:
            A stream; ``.text`` and ``.result()`` read all of it.

        Raises:
            InvalidInputError: The prompt is empty, something is no JSON, a number or the seed is out of range, or no model
                was named and the server names none.
            TypeError: There is no option of that name.
            CredentialsError: The router needs a token and there is none. Nothing was sent.
            Unsupported: *provider* with a server that is not the router.
            ModelNotFound: Nobody serves the model.
            APIStatusError: The server refused: `AuthenticationError`, `CreditsExhausted`, `RateLimitError`, ...
            TransportError: No answer came.

        Reference: POST {base}/v1/chat/completions
        """
        further = chat_options(options, InferenceClient.chat)
        messages = build_messages(prompt, system_prompt, keep_reasoning=keep_reasoning)
        messages = with_attachments(messages, images, files)
        if model is None:
            sees = any(part.get("type") == "image_url" for message in messages for part in _parts(message))
            model = self._default_model(named_providers(provider), sees=sees, calls_tools=bool(tools))
        candidates = self._routes.chat(self._named(model), provider)
        fields = {
            "model": candidates[0].entry.provider_id,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": max_tokens,
            "temperature": temperature,
            "top_p": top_p,
            "frequency_penalty": frequency_penalty,
            "presence_penalty": presence_penalty,
            "logit_bias": logit_bias,
            "logprobs": logprobs,
            "top_logprobs": top_logprobs,
            "seed": seed,
            "stop": stop,
            "response_format": None if isinstance(response_format, SchemaFormat) else response_format,  # for its checks
            "tools": wire_tools(tools),
            "tool_choice": tool_choice,
            "parallel_tool_calls": parallel_tool_calls,
            "reasoning_effort": reasoning_effort,
            "user": user,
            **further,
        }
        body = normalised(fields, extra_body)

        def asked(candidate: Candidate) -> dict[str, Any]:
            named = {} if "model" in (extra_body or {}) else {"model": candidate.entry.provider_id}
            return {**body, **named}

        def send(candidate: Candidate, attempts: Attempts[ChunkDecoder]) -> Response:
            data = asked(candidate)
            if response_format is not None:
                # The router translates, a provider's own site does not: each candidate is asked in the form it knows.
                provider = None if candidate.billed else candidate.provider
                form = format_fields(response_format, candidate.target.base, provider)
                data.update((name, value) for name, value in form.items() if name not in (extra_body or {}))
            return self._send(data, candidate, attempts)

        def begin(response: Response, candidate: Candidate, steps: Sequence[Failover]) -> Begun[ChunkDecoder]:
            decoder = ChunkDecoder(first=[*steps, *_route(response, candidate)], limits=response.limits)
            return decoder, {"model": asked(candidate).get("model")}

        attempts = Attempts(
            candidates,
            send,
            begin,
            retry=self._session.retry,
            timeouts=self._session.deadlines(timeouts),
            stand_ins=self._stand_ins(candidates[0].entry.model) if provider in (None, "auto") else None,
        )
        return CompletionStream.of(attempts, on_event=self._on_event)

    def _stand_ins(self, model: str) -> Callable[[str], list[Candidate]] | None:
        """Return what finds others for a call in which the router was to choose; None if it was not."""
        if not is_router(self.base_url) or ":" in model:
            return None
        return lambda failed: self._routes.stand_ins(model, failed)

    def _named(self, model: str) -> str:
        """Return the name that the server knows *model* by."""
        check_name(model)
        refuse_url(model)
        # Elsewhere "llama-3" may be a model's own name.
        return resolve(model) if is_router(self.base_url) else model

    def _default_model(self, providers: Collection[str] = (), *, sees: bool = False, calls_tools: bool = False) -> str:
        """Return the model to ask when none was named: the first that the server offers and that can do it.

        Raises:
            InvalidInputError: The server names none.
        """
        if self._served is None:
            self._routes.need_token()
            try:
                self._served = self._served_models()
            except (NotFoundError, ProtocolError) as error:
                raise InvalidInputError(
                    "name a model with model=: the server does not say which ones it has"
                ) from error
        found = default_among(self._served, providers, sees=sees, calls_tools=calls_tools)
        if found is None:
            raise InvalidInputError("name a model with model=: the server lists none")
        return name_to_ask(found)

    def _send(self, body: dict[str, Any], to: Candidate, attempts: Attempts[ChunkDecoder]) -> Response:
        url = to.target.base
        session = self._session.with_retry(ONCE)  # who is asked again, and when, is the business of *attempts*
        if url in self._strict_urls:
            body = {key: value for key, value in body.items() if key != "stream_options"}
        try:
            response = session.send(attempts.bounded(self._request(body, to)))
        except BadRequestError as error:
            told = "stream_options" in f"{error.message} {error.body}"
            if not told or "stream_options" not in body:
                raise
            # Servers that are strict about fields they do not know: then there are no token counts.
            self._strict_urls.add(url)
            body = {key: value for key, value in body.items() if key != "stream_options"}
            response = session.send(attempts.bounded(self._request(body, to)))
        if response.is_page():
            page = response.read_start(4096)
            failure = instead(
                f"{response.url} answered with {what_came(page)} instead of a chat completion; is the URL right?",
                page,
                method=response.method,
                url=response.url,
            )
            failure.request_id = response.request_id
            raise failure
        return response

    def _request(self, body: dict[str, Any], to: Candidate) -> Request:
        # No compression: packed answers tend to wait in somebody's buffer.
        headers = {"Accept": "text/event-stream, application/json", "Accept-Encoding": "identity"}
        headers.update(call_headers(to.provider, self._bill_to if to.billed else None, to.target.base))
        model = body.get("model")

        def refine(error: APIStatusError) -> HFClientError:
            return refined(error, model if isinstance(model, str) else None)

        try:
            return Request.with_json(
                "POST",
                to.target.base,
                body,
                headers=headers,
                stream=True,
                refine=refine,
            )
        except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
            raise InvalidInputError(f"the request cannot be written as JSON: {error}") from error


def _parts(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    content = message.get("content")
    return [part for part in content if isinstance(part, Mapping)] if isinstance(content, list) else []


def _route(response: Response, used: Candidate) -> list[AnyEvent]:
    """Return who answers, if the headers say so, or if it was asked on its own site."""
    headers = response.headers
    provider = headers.get("x-inference-provider") or (None if used.billed else used.provider)
    route, model = headers.get("x-router-route", ""), headers.get("x-router-model", "")
    return [Route(route, model, provider)] if provider or route or model else []
