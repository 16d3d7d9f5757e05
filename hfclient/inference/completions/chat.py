"""Chat completions: options become a request, and its answer a stream.

Reference: docs/protocol/inference ("request fields").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import frozen

from hfclient.decoding.html_pages import describe_body, unexpected_content
from hfclient.errors import HFClientError, StreamInterrupted
from hfclient.events import AnyEvent, Failover, Route
from hfclient.inference.completions.answer_reader import AnswerReader
from hfclient.inference.completions.chunks import ChunkDecoder
from hfclient.inference.completions.messages import Prompt, build_messages, request_body
from hfclient.inference.completions.stream import CompletionStream, split_reasoning
from hfclient.inference.content.attachments import with_attachments
from hfclient.inference.routing.candidates import Candidate, named_providers
from hfclient.inference.routing.failover import Attempts, Begun
from hfclient.inference.schemas.dialects import SchemaFormat, response_format_fields
from hfclient.inference.schemas.tools import wire_tools
from hfclient.inference.service import InferenceService
from hfclient.reply_builder import ReplyBuilder
from hfclient.transport import Clock, Response
from hfclient.transport.response import add_address
from hfclient.types import Reply

__all__ = ["ChatCompletions"]

# Options that are not fields of the request, or become fields under another name.
_NOT_FIELDS = frozenset(
    ("model", "system_prompt", "images", "files", "provider", "keep_reasoning", "extra_body", "timeouts")
)


_IN_PIECES = {"stream": True, "stream_options": {"include_usage": True}}


class ChatCompletions:
    """The chat completions of one service.

    Attributes:
        service: The service.
    """

    def __init__(self, service: InferenceService) -> None:
        self.service = service

    def send(
        self, prompt: Prompt, options: Mapping[str, Any], clock: Clock | None = None, *, in_pieces: bool = True
    ) -> AnswerReader:
        """Send the request and return its answer; see `InferenceClient.chat`.

        Args:
            prompt: Of the call.
            options: Of the call.
            clock: Of a call that takes several answers; None starts one, with the ``timeouts`` among the options.
            in_pieces: Request the answer as a stream of events, else as one document.
        """
        service, given, provider = self.service, options.get, options.get("provider")
        clock = clock or service.session.clock(given("timeouts"))
        messages = build_messages(prompt, given("system_prompt"), keep_reasoning=bool(given("keep_reasoning")))
        messages = with_attachments(messages, given("images"), given("files"))
        model, tools, extra_body = given("model"), given("tools"), given("extra_body")
        if model is None:
            has_images = any(part.get("type") == "image_url" for message in messages for part in _parts(message))
            model = service.default_model(named_providers(provider), accepts_images=has_images, calls_tools=bool(tools))
        candidates = service.routes.chat(service.model_name(model), provider)
        response_format = given("response_format")
        fields = {
            "model": candidates[0].entry.provider_id,
            "messages": messages,
            **(_IN_PIECES if in_pieces else {}),
            **{name: value for name, value in options.items() if name not in _NOT_FIELDS},
            "tools": wire_tools(tools),
            "response_format": None if isinstance(response_format, SchemaFormat) else response_format,
        }
        body = request_body(fields, extra_body)
        call = _ChatCall(service, body, response_format, frozenset(extra_body or ()))
        attempts = Attempts(
            candidates,
            call.send,
            call.begin,
            retry=service.session.retry,
            clock=clock,
            fallbacks=self._fallbacks(candidates[0].entry.model) if provider in (None, "auto") else None,
        )
        return AnswerReader(attempts, *attempts.start())

    def ask(self, prompt: Prompt, options: Mapping[str, Any], clock: Clock | None = None) -> Reply:
        """Return the whole answer; see `InferenceClient.ask`. The arguments are those of :meth:`send`."""
        service = self.service
        reader = self.send(prompt, options, clock, in_pieces=False)
        if service.on_event is not None:
            return CompletionStream(reader, on_event=service.on_event, last=service.last).result()
        builder = ReplyBuilder()
        try:
            with reader.clock.cancellation.waking(lambda: reader.response.abort()):  # noqa: PLW0108 (another provider may replace it)
                if (whole := reader.whole()) is not None:
                    return self._keep(whole)
                for events in reader.blocks(lambda response: None):
                    if builder.add(events):
                        reader.response.deadline.content_arrived()
        except HFClientError as error:
            if isinstance(error, StreamInterrupted):
                add_address(error, reader.response.deadline.address)
            if error.partial is None:
                error.partial = self._keep(builder.reply(**reader.fields()))
            raise
        finally:
            reader.response.close()
        return self._keep(builder.reply(**reader.fields()))

    def _keep(self, reply: Reply) -> Reply:
        """Return the answer so far without reasoning in its text; it is the last one of this thread now."""
        reply = split_reasoning(reply)
        if self.service.last is not None:
            self.service.last.keep(reply)
        return reply

    def _fallbacks(self, model: str) -> Callable[[str], list[Candidate]] | None:
        """Return a function that finds other providers if the router's choice fails; None if the router does not choose."""
        if not self.service.is_router or ":" in model:
            return None
        return lambda failed: self.service.routes.fallbacks(model, failed)


@frozen
class _ChatCall:
    """The request of one call, for each candidate."""

    service: InferenceService
    body: dict[str, Any]
    response_format: Any
    overridden: frozenset[str]  # the names in extra_body

    def send(self, candidate: Candidate, clock: Clock) -> Response:
        """Send the request to *candidate* once."""
        body = self._body(candidate)
        name = body.get("model")
        model = name if isinstance(name, str) else None
        response = self.service.open_stream(candidate, candidate.target.base, body, model=model, clock=clock)
        if response.is_page():
            page = response.read_start(4096)
            failure = unexpected_content(
                f"{response.url} answered with {describe_body(page)} instead of a chat completion; is the URL right?",
                page,
                method=response.method,
                url=response.url,
            )
            failure.request_id = response.request_id
            raise failure
        return response

    def begin(self, response: Response, candidate: Candidate, steps: Sequence[Failover]) -> Begun[ChunkDecoder]:
        """Return the decoder of an answer, and the fields of the `Reply` that are known already."""
        decoder = ChunkDecoder(first=[*steps, *_route(response, candidate)], limits=response.limits)
        model = self.body.get("model") if "model" in self.overridden else candidate.entry.provider_id
        return decoder, {"model": model}

    def _body(self, candidate: Candidate) -> dict[str, Any]:
        fields: dict[str, Any] = {"model": candidate.entry.provider_id}
        if self.response_format is not None:
            # The router translates a schema; a provider's own site needs it in its own form.
            provider = None if candidate.billed else candidate.provider
            fields.update(response_format_fields(self.response_format, candidate.target.base, provider))
        return {**self.body, **{name: value for name, value in fields.items() if name not in self.overridden}}


def _parts(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    content = message.get("content")
    return [part for part in content if isinstance(part, Mapping)] if isinstance(content, list) else []


def _route(response: Response, candidate: Candidate) -> list[AnyEvent]:
    """Return the provider that answers, if the headers name it or the request went to its own site."""
    headers = response.headers
    provider = headers.get("x-inference-provider") or (None if candidate.billed else candidate.provider)
    route, model = headers.get("x-router-route", ""), headers.get("x-router-model", "")
    return [Route(route, model, provider)] if provider or route or model else []
