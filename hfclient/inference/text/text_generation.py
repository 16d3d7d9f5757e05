"""Text generation: the prompt goes to the model as it is.

There are two protocols: text-generation-inference's own, which hf-inference also has, and ``/v1/completions``. A server of
the caller's own is asked once which one it has, with ``GET /info`` at the first call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from attrs import define, evolve, field, frozen

from hfclient.errors import (
    APIStatusError,
    BadRequestError,
    InvalidInputError,
    ModelNotFound,
    NotFoundError,
    ProtocolError,
    ServerError,
    Unsupported,
)
from hfclient.events import AnyEvent, Failover, Route
from hfclient.inference.completions.answer_reader import AnswerReader
from hfclient.inference.completions.chunks import ChunkDecoder
from hfclient.inference.completions.messages import Prompt, build_messages
from hfclient.inference.providers.base import id_path
from hfclient.inference.routing.candidates import Candidate, ProviderLike, named_providers
from hfclient.inference.routing.failover import Attempts, Begun
from hfclient.inference.server_urls import root_url
from hfclient.inference.service import InferenceService
from hfclient.inference.text.generation_events import TextStream, decoder_for
from hfclient.inference.text.layouts import LAYOUTS, layout_for, max_answer_tokens, prompt_for, turns_of
from hfclient.inference.text.parameters import (
    COMPLETION_ROUTES,
    TextParameters,
    completions_body,
    native_body,
    parameters_of,
)
from hfclient.transport import Clock, Request, Response

__all__ = ["TEXT_GENERATION", "TextGeneration"]

TEXT_GENERATION = "text-generation"
_CHAT = "conversational"

_ABLE = frozenset({"hf-inference", *COMPLETION_ROUTES})
_UNUSED = re.compile(r"`?model_kwargs`? are not used by the model: \[([^\[\]]*)\]")
_MAX_REFUSALS = 5
_ESSENTIAL = {"adapter_id", "best_of", "grammar"}  # without these it would be another text
_MAX_PROMPT_LENGTH = 4096  # characters of a prompt made of messages


class TextGeneration:
    """The text generation of one service."""

    def __init__(self, service: InferenceService) -> None:
        self._service = service
        self._learned = _Learned()

    def start(self, prompt: Prompt, options: Mapping[str, Any]) -> TextStream:
        """Send the request and return the stream of its answer; see `InferenceClient.text`."""
        given, clock = options.get, self._service.session.clock(options.get("timeouts"))
        model, provider, action, layout = given("model"), given("provider"), given("action"), given("layout")
        wanted = parameters_of(options)
        if model is None and not self._service.routes.own_server:
            model = self._service.default_model(named_providers(provider) or _ABLE)
        is_chat = not isinstance(prompt, str)
        if is_chat:
            prompt, wanted = self._format_messages(prompt, model, options, wanted)
        elif action is not None or layout is not None:
            raise InvalidInputError("action and layout are for lists of messages; a string goes out as it is")
        elif not prompt:
            raise InvalidInputError("the prompt is empty")
        call = _TextCall(
            self._service,
            self._learned,
            str(prompt),
            wanted,
            given("extra_body"),
            splits_reasoning=is_chat,
            strips=is_chat and action != "continue",
        )
        attempts = Attempts(
            self._supporting(self._candidates(model, provider), wanted),
            call.send,
            call.begin,
            retry=self._service.session.retry,
            clock=clock,
        )
        answer = AnswerReader(attempts, *attempts.start())
        stream = TextStream(answer, on_event=self._service.on_event, last=self._service.last)
        stream.is_raw = not is_chat
        return stream

    def _format_messages(
        self, messages: Sequence[Any], model: str | None, options: Mapping[str, Any], wanted: TextParameters
    ) -> tuple[str, TextParameters]:
        """Return the prompt for *messages*, and how long the answer may be."""
        turns, layout = turns_of(build_messages(messages)), options.get("layout")
        data: Mapping[str, Any] = {}
        if layout is None:
            if model is None:
                raise InvalidInputError("name the model, or a layout=, for a prompt that is a list of messages")
            data = self._service.hub.model(model).raw
        elif layout not in LAYOUTS:
            raise InvalidInputError(f"no such layout: {layout!r}; there are {', '.join(LAYOUTS)}")
        chosen = LAYOUTS[layout] if layout is not None else layout_for(data)
        most = options.get("max_prompt_length", _MAX_PROMPT_LENGTH)
        prompt = prompt_for(turns, chosen, action=options.get("action"), max_prompt_length=most)
        return prompt, evolve(wanted, max_new_tokens=max_answer_tokens(data, wanted.max_new_tokens))

    def _candidates(self, model: str | None, provider: ProviderLike) -> list[Candidate]:
        try:
            return self._service.routes.candidates(TEXT_GENERATION, model, provider, able=_ABLE)
        except (InvalidInputError, ModelNotFound, Unsupported):
            # The Hub lists most models for chat only; their providers also complete texts with them.
            try:
                return self._service.routes.candidates(_CHAT, model, provider, able=_ABLE)
            except (InvalidInputError, ModelNotFound, Unsupported):
                pass
            raise

    def _supporting(self, candidates: list[Candidate], wanted: TextParameters) -> list[Candidate]:
        """Return those of several candidates that take all parameters; a single one may refuse them itself."""
        if len(candidates) > 1 and (only := wanted.native_only()):
            candidates = [one for one in candidates if one.provider == "hf-inference"]
            if not candidates:
                raise Unsupported(f"none of the providers takes {', '.join(only)}; text-generation-inference does")
        return candidates


@define
class _Learned:
    """What is known of servers. Values are replaced, not changed, because threads share them."""

    is_tgi: bool | None = None  # the server of base_url is text-generation-inference
    no_native: frozenset[str] = frozenset()  # URLs without text-generation-inference's own route
    unused: Mapping[str, frozenset[str]] = field(factory=dict)  # parameters that a URL refuses


@frozen
class _TextCall:
    """The request of one call, for each candidate."""

    service: InferenceService
    learned: _Learned
    prompt: str
    wanted: TextParameters
    extra: Mapping[str, Any] | None
    splits_reasoning: bool = field(kw_only=True)
    strips: bool = field(kw_only=True)

    def send(self, candidate: Candidate, clock: Clock) -> Response:
        """Send the request to *candidate* once, in the protocol that it has."""
        target, model = candidate.target, candidate.entry.provider_id
        if candidate.provider == "hf-inference":
            url = target.url(f"/models/{id_path(model)}" if model else "")
            if url not in self.learned.no_native or self.wanted.native_only():
                try:
                    return self._native(clock, url, candidate, flag=True)
                except NotFoundError:
                    if not model or self.wanted.native_only():
                        raise
                self.learned.no_native |= {url}  # newer backends have the other route only
            return self._complete(clock, f"{url}/v1/completions", model, candidate)
        if route := COMPLETION_ROUTES.get(candidate.provider):
            return self._complete(clock, target.url(route), model, candidate)
        if self._is_tgi(clock):
            route = "/generate_stream" if self.wanted.streams else "/generate"
            return self._native(clock, _native_url(self.service.base_url, route), candidate, flag=False)
        return self._complete(clock, target.url("/completions"), model or self.service.default_model(), candidate)

    def _is_tgi(self, clock: Clock) -> bool:
        if self.learned.is_tgi is None:
            try:
                request = Request.read(_native_url(self.service.base_url, "/info"), clock=clock)
                info = self.service.session.send(request).json()
            except ServerError as error:
                if error.status_code == 503:
                    return False  # not awake yet; ask again next time
                info = None
            except (APIStatusError, ProtocolError):
                info = None
            self.learned.is_tgi = isinstance(info, dict) and ("max_total_tokens" in info or "max_input_tokens" in info)
        return self.learned.is_tgi

    def _native(self, clock: Clock, url: str, candidate: Candidate, *, flag: bool) -> Response:
        """Send it in text-generation-inference's protocol; *flag*: on this route a field says whether to stream."""
        for _ in range(_MAX_REFUSALS):
            without = self.learned.unused.get(url, frozenset())
            stream = self.wanted.streams if flag else None
            body = native_body(self.prompt, self.wanted, stream=stream, extra=self.extra, without=without)
            try:
                return self.service.open_stream(candidate, url, body, model=candidate.entry.model, clock=clock)
            except BadRequestError as error:
                names = _unused_in(error)
                # hf-inference runs plain transformers there, which refuse parameters that they do not know.
                if not names - without or names & _ESSENTIAL & set(body["parameters"]):
                    raise
            self.learned.unused = {**self.learned.unused, url: without | names}
        raise ProtocolError(f"{url} keeps refusing parameters")

    def _complete(self, clock: Clock, url: str, model: str, candidate: Candidate) -> Response:
        body = completions_body(model, self.prompt, self.wanted, extra=self.extra)
        return self.service.open_stream(candidate, url, body, model=candidate.entry.model, clock=clock)

    def begin(self, response: Response, candidate: Candidate, steps: Sequence[Failover]) -> Begun[ChunkDecoder]:
        """Return the decoder of an answer, and the fields of the `Reply` that are known already."""
        first = _first_events(response, candidate, steps)
        decoder = decoder_for(response, first=first, splits_reasoning=self.splits_reasoning, strips=self.strips)
        return decoder, {"model": candidate.entry.model or candidate.entry.provider_id or None}


def _first_events(response: Response, candidate: Candidate, steps: Sequence[Failover]) -> list[AnyEvent]:
    """Return the events before the text: earlier failures, and the provider that answers."""
    provider = response.headers.get("x-inference-provider")
    if provider is None and candidate.billed and candidate.target.routed:
        provider = candidate.provider
    route = [Route("", candidate.entry.model, provider)] if provider else []
    return [*steps, *route]


def _native_url(base: str, route: str) -> str:
    """Return the URL of one of text-generation-inference's own routes, which hang beside ``/v1``.

    >>> _native_url("http://h/v1/?key=1", "/info"), _native_url("http://h", "/info")
    ('http://h/info?key=1', 'http://h/info')
    """
    parts = urlsplit(root_url(base))
    path = parts.path.removesuffix("/v1")
    return urlunsplit((parts.scheme, parts.netloc, path + route, parts.query, ""))


def _unused_in(error: BadRequestError) -> frozenset[str]:
    found = _UNUSED.search(error.message)
    return frozenset(re.findall(r"[\w.]+", found[1])) if found else frozenset()
