"""Generated text: the prompt goes to the model as it stands. One wing of `InferenceClient`.

Two wires lead there: text-generation-inference's own, which hf-inference speaks too, and ``/v1/completions``. Which one a
server of the caller's own speaks is asked once, with ``GET /info``, when the first text is wanted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import urlsplit, urlunsplit

import msgspec
from attrs import evolve

from hfclient.arguments.argument_types import checks_arguments
from hfclient.errors import (
    APIStatusError,
    BadRequestError,
    HFClientError,
    InvalidInputError,
    ModelNotFound,
    NotFoundError,
    ProtocolError,
    ServerError,
    Unsupported,
)
from hfclient.events import AnyEvent, Failover, Route
from hfclient.inference.completions.chunks import ChunkDecoder
from hfclient.inference.completions.messages import Prompt, build_messages
from hfclient.inference.endpoints import root_url
from hfclient.inference.failures import refined
from hfclient.inference.models.hub import Hub
from hfclient.inference.providers.base import id_path
from hfclient.inference.providers.places import call_headers
from hfclient.inference.routing.candidates import Candidate, ProviderLike, Routes, named_providers
from hfclient.inference.routing.failover import ONCE, Attempts, Begun
from hfclient.inference.text.generation_events import TextStream, decoder_for
from hfclient.inference.text.layouts import LAYOUTS, layout_for, most_tokens, prompt_for, turns_of
from hfclient.inference.text.parameters import (
    COMPLETION_ROUTES,
    Generation,
    completions_body,
    generation_of,
    native_body,
)
from hfclient.transport import Request, Response, Session, Timeouts

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["TEXT_GENERATION", "TextCalls", "TextOptions"]

TEXT_GENERATION = "text-generation"
_CHAT = "conversational"

_ABLE = frozenset({"hf-inference", *COMPLETION_ROUTES})
_UNUSED = re.compile(r"`?model_kwargs`? are not used by the model: \[([^\[\]]*)\]")
_MOST_REFUSALS = 5
_ESSENTIAL = {"adapter_id", "best_of", "grammar"}


class TextOptions(TypedDict, total=False):
    """The parameters of `InferenceClient.text`, which describes them."""

    max_new_tokens: int | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    typical_p: float | None
    repetition_penalty: float | None
    frequency_penalty: float | None
    seed: int | None
    stop: str | Sequence[str] | None
    best_of: int | None
    grammar: Mapping[str, Any] | None
    do_sample: bool | None
    watermark: bool | None
    return_full_text: bool
    truncate: int | None
    details: bool | None
    decoder_input_details: bool
    adapter_id: str | None
    top_n_tokens: int | None


@checks_arguments
class TextCalls:
    """Generated text; the base of `InferenceClient` that asks for it."""

    base_url: str
    _session: Session
    _routes: Routes
    _hub: Hub
    _bill_to: str | None
    _on_event: Callable[[AnyEvent], object] | None
    _default_model: Callable[[Collection[str]], str]
    # Learnt from servers, and replaced rather than changed, because threads share it.
    _is_tgi: bool | None = None
    _no_usage: frozenset[str] = frozenset()
    _no_native: frozenset[str] = frozenset()
    _unused: Mapping[str, frozenset[str]] = {}

    def text(
        self,
        prompt: Prompt,
        *,
        model: str | None = None,
        provider: ProviderLike = None,
        action: str | None = None,
        layout: str | None = None,
        max_prompt_length: int | None = 4096,
        extra_body: Mapping[str, Any] | None = None,
        timeouts: Timeouts | None = None,
        **options: Unpack[TextOptions],
    ) -> TextStream:
        """Return the stream of a text that goes on where *prompt* ends; the request has been sent when this returns.

            inference.text("Once upon a time", model="Qwen/Qwen3-8B-Base", provider="featherless-ai", max_new_tokens=40).text
            for event in inference.text("1, 2, 3,", details=True): ...    # Token(text, id, logprob), Finish, Usage

        A prompt that is a string goes out as it is, and what comes back is the text as it is. A list of messages is
        written down in the layout that the Hub's data about the model choose, for models without a chat route; then
        ``<think>`` spans are reasoning and white space at the beginning is left out. Where there is a chat route, `chat` is
        better.

        The request is repeated, as the session's `Retry` says, until an answer begins. A model that is being loaded (503
        with an estimated time) is waited for, until ``timeouts.total`` or else ``timeouts.first_token``.

        Args:
            prompt: A text, or a list of messages.
            model: Its name on the Hub, with a provider's suffix or without. None takes the first one that the server offers,
                of the router's the first that a provider here completes texts with.
            provider: Who shall be asked, as for :meth:`image`; ``"hf-inference"`` makes a server of your own one that
                speaks its language.
            action: ``"continue"`` goes on with the last message, which is the assistant's. Messages only.
            layout: One of `hfclient.inference.text.layouts.LAYOUTS` instead of the Hub's word. Messages only.
            max_prompt_length: A longer prompt, in characters, is shortened once; None never does. Messages only.
            extra_body: Further parameters, over all others; None removes one.
            timeouts: Deadlines of this call.
            max_new_tokens: Longest text, in tokens; for messages 1024 if it is None.
            temperature: 0 takes the likeliest token each time.
            top_p, top_k, typical_p: Limits to the choice of tokens.
            repetition_penalty: Above 1 discourages what came already (not on ``/v1/completions``, as *typical_p*,
                *best_of*, *grammar*, *truncate*, *watermark*, *adapter_id*, *top_n_tokens*, *return_full_text* and
                *decoder_input_details*).
            frequency_penalty: -2 to 2.
            seed: For texts that can be made again.
            stop: Text, or up to four, at which it ends; text-generation-inference leaves it in the text.
            best_of: Make so many and give the best; not streamed.
            grammar: ``{"type": "json", "value": schema}`` or ``{"type": "regex", "value": expression}``.
            do_sample: False takes the likeliest token each time.
            watermark: Mark the text as made by a machine.
            return_full_text: Put the prompt in front.
            truncate: Keep only so many tokens of the prompt, the last ones.
            details: False asks for no ids and probabilities; True asks ``/v1/completions`` for them, too.
            decoder_input_details: Give the prompt's tokens, in ``Finish.extra``; not streamed.
            adapter_id: A LoRA adapter that the server has loaded.
            top_n_tokens: Up to 5 likely tokens for each place, in ``Token.extra["top_tokens"]``.

        Returns:
            A stream; ``.text`` reads all of it. A token that is no text, such as an end mark, comes as
            ``Token("", id=2, special=True)``.

        Raises:
            InvalidInputError: A parameter cannot work, or the model does something else.
            Unsupported: The server would ignore a parameter in silence.
            ModelNotFound: Nobody serves the model.
            GenerationError: The server failed inside its answer; ``code`` is its ``error_type``, such as
                ``"validation"`` or ``"overloaded"``, ``status_code`` what that means. Raised by the iterator.
            APIStatusError, TransportError: The server refused, or did not answer.

        Reference: POST {base}/generate_stream, POST {base}/v1/completions
        """
        wanted = generation_of(options)
        if model is None and not self._routes.own_server:
            model = self._default_model(named_providers(provider) or _ABLE)
        is_chat = not isinstance(prompt, str)
        if is_chat:
            prompt, wanted = self._written(prompt, model, action, layout, max_prompt_length, wanted)
        elif action is not None or layout is not None:
            raise InvalidInputError("action and layout are for lists of messages; a string goes out as it is")
        elif not prompt:
            raise InvalidInputError("the prompt is empty")
        text = str(prompt)

        def send(candidate: Candidate, attempts: Attempts[ChunkDecoder]) -> Response:
            return self._ask(candidate, _Call(text, wanted, extra_body, attempts))

        def begin(response: Response, candidate: Candidate, steps: Sequence[Failover]) -> Begun[ChunkDecoder]:
            return (
                decoder_for(
                    response,
                    first=_first(response, candidate, steps),
                    splits_thoughts=is_chat,
                    strips=is_chat and action != "continue",
                ),
                {"model": candidate.entry.model or candidate.entry.provider_id or None},
            )

        attempts = Attempts(
            self._fitting(self._candidates(model, provider), wanted),
            send,
            begin,
            retry=self._session.retry,
            timeouts=self._session.deadlines(timeouts),
        )
        stream = TextStream.of(attempts, on_event=self._on_event)
        stream.is_raw = not is_chat
        return stream

    def _written(
        self,
        messages: Sequence[Any],
        model: str | None,
        action: str | None,
        layout: str | None,
        max_prompt_length: int | None,
        wanted: Generation,
    ) -> tuple[str, Generation]:
        """Return the prompt for *messages*, and how long the answer may be."""
        turns = turns_of(build_messages(messages))
        data: Mapping[str, Any] = {}
        if layout is None:
            if model is None:
                raise InvalidInputError("name the model, or a layout=, for a prompt that is a list of messages")
            data = self._hub.model(model).raw
        elif layout not in LAYOUTS:
            raise InvalidInputError(f"no such layout: {layout!r}; there are {', '.join(LAYOUTS)}")
        chosen = LAYOUTS[layout] if layout is not None else layout_for(data)
        prompt = prompt_for(turns, chosen, action=action, max_prompt_length=max_prompt_length)
        return prompt, evolve(wanted, max_new_tokens=most_tokens(data, wanted.max_new_tokens))

    def _candidates(self, model: str | None, provider: ProviderLike) -> list[Candidate]:
        try:
            return self._routes.candidates(TEXT_GENERATION, model, provider, able=_ABLE)
        except (InvalidInputError, ModelNotFound, Unsupported):
            # The Hub lists most models for chats only. Whoever serves one completes texts with it, too.
            try:
                return self._routes.candidates(_CHAT, model, provider, able=_ABLE)
            except (InvalidInputError, ModelNotFound, Unsupported):
                pass
            raise

    def _fitting(self, candidates: list[Candidate], wanted: Generation) -> list[Candidate]:
        """Return those of several candidates that take all parameters; a single one may say so itself."""
        if len(candidates) > 1 and (only := wanted.native_only()):
            candidates = [one for one in candidates if one.provider == "hf-inference"]
            if not candidates:
                raise Unsupported(f"none of the providers takes {', '.join(only)}; text-generation-inference does")
        return candidates

    # The wires

    def _ask(self, candidate: Candidate, call: _Call) -> Response:
        target, model = candidate.target, candidate.entry.provider_id
        if candidate.provider == "hf-inference":
            url = target.url(f"/models/{id_path(model)}" if model else "")
            if url not in self._no_native or call.wanted.native_only():
                try:
                    return self._native(call, url, candidate, flag=True)
                except NotFoundError:
                    if not model or call.wanted.native_only():
                        raise
                self._no_native |= {url}  # newer backends have the other route only
            return self._complete(call, f"{url}/v1/completions", model, candidate)
        if route := COMPLETION_ROUTES.get(candidate.provider):
            return self._complete(call, target.url(route), model, candidate)
        if self._speaks_tgi(call):
            route = "/generate_stream" if call.wanted.streams else "/generate"
            return self._native(call, _beside(self.base_url, route), candidate, flag=False)
        return self._complete(call, target.url("/completions"), model or self._default_model(()), candidate)

    def _speaks_tgi(self, call: _Call) -> bool:
        if self._is_tgi is None:
            try:
                request = Request.read(_beside(self.base_url, "/info"))
                info = self._session.send(call.attempts.bounded(request)).json()
            except ServerError as error:
                if error.status == 503:
                    return False  # not awake yet; ask again next time
                info = None
            except (APIStatusError, ProtocolError):
                info = None
            self._is_tgi = isinstance(info, dict) and ("max_total_tokens" in info or "max_input_tokens" in info)
        return self._is_tgi

    def _native(self, call: _Call, url: str, candidate: Candidate, *, flag: bool) -> Response:
        """Ask in text-generation-inference's language; *flag*: the route needs to be told to stream."""
        for _ in range(_MOST_REFUSALS):
            without = self._unused.get(url, frozenset())
            stream = call.wanted.streams if flag else None
            body = native_body(call.prompt, call.wanted, stream=stream, extra=call.extra, without=without)
            try:
                return self._once(self._post(url, body, candidate), call)
            except BadRequestError as error:
                names = _unused_in(error)
                # Plain transformers stand behind it, which refuse what they do not know; without these the text would
                # be another one.
                if not names - without or names & _ESSENTIAL & set(body["parameters"]):
                    raise
            self._unused = {**self._unused, url: without | names}
        raise ProtocolError(f"{url} goes on refusing parameters")

    def _complete(self, call: _Call, url: str, model: str, candidate: Candidate) -> Response:
        usage = url not in self._no_usage
        body = completions_body(model, call.prompt, call.wanted, extra=call.extra, usage=usage)
        try:
            return self._once(self._post(url, body, candidate), call)
        except BadRequestError as error:
            if "stream_options" not in body or "stream_options" not in f"{error.message} {error.body}":
                raise
        self._no_usage |= {url}  # strict about fields it does not know: then there are no token counts
        del body["stream_options"]
        return self._once(self._post(url, body, candidate), call)

    def _post(self, url: str, body: dict[str, Any], candidate: Candidate) -> Request:
        headers = {"Accept": "text/event-stream, application/json", "Accept-Encoding": "identity"}
        headers.update(call_headers(candidate.provider, self._bill_to if candidate.billed else None, candidate.target.base))
        model = candidate.entry.model

        def refine(error: APIStatusError) -> HFClientError:
            better = refined(error, model)
            if isinstance(better, ModelNotFound):
                self._routes.forget(model)
            return better

        try:
            return Request.with_json("POST", url, body, headers=headers, stream=True, refine=refine)
        except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
            raise InvalidInputError(f"the request cannot be written as JSON: {error}") from error

    def _once(self, request: Request, call: _Call) -> Response:
        # Who is asked again, and when, is the business of *attempts*.
        return self._session.with_retry(ONCE).send(call.attempts.bounded(request))


class _Call:
    """What one call wants, and its deadlines."""

    def __init__(
        self, prompt: str, wanted: Generation, extra: Mapping[str, Any] | None, attempts: Attempts[ChunkDecoder]
    ) -> None:
        self.prompt = prompt
        self.wanted = wanted
        self.extra = extra
        self.attempts = attempts


def _first(response: Response, candidate: Candidate, steps: Sequence[Failover]) -> list[AnyEvent]:
    """Return what is known before the text comes: who failed, and who answers."""
    provider = response.headers.get("x-inference-provider")
    if provider is None and candidate.billed and candidate.target.routed:
        provider = candidate.provider
    route = [Route("", candidate.entry.model, provider)] if provider else []
    return [*steps, *route]


def _beside(base: str, route: str) -> str:
    """Return the URL of one of text-generation-inference's own routes, which hang beside ``/v1``.

    >>> _beside("http://h/v1/?key=1", "/info"), _beside("http://h", "/info")
    ('http://h/info?key=1', 'http://h/info')
    """
    parts = urlsplit(root_url(base))
    path = parts.path.removesuffix("/v1")
    return urlunsplit((parts.scheme, parts.netloc, path + route, parts.query, ""))


def _unused_in(error: BadRequestError) -> frozenset[str]:
    found = _UNUSED.search(error.message)
    return frozenset(re.findall(r"[\w.]+", found[1])) if found else frozenset()
