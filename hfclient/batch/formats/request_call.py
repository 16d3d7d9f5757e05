"""`RequestCall`: a line of OpenAI's batch files, sent as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import msgspec
from attrs import field, frozen

from hfclient.arguments.option_hints import refuse_unknown
from hfclient.batch.items import Item
from hfclient.errors import HFClientError, InvalidInputError, ProtocolError
from hfclient.events import Finish, Reasoning, Token, ToolCall, Usage
from hfclient.inference.completions.chunks import ChunkDecoder
from hfclient.inference.completions.deltas import usage_of
from hfclient.inference.generation_errors import error_in
from hfclient.inference.providers.addresses import call_headers
from hfclient.inference.server_urls import bare_url, chat_url, root_url
from hfclient.transport import Request
from hfclient.types import Reply

if TYPE_CHECKING:
    from hfclient.inference import InferenceClient
    from hfclient.transport import Retry, Timeouts, Transport

__all__ = ["RequestCall", "ServerAnswer"]

_CHAT = "/v1/chat/completions"
_OPTIONS = ("model", "provider", "extra_body", "timeouts")
_PROVIDER = "openai-compatible"
_TOKENS = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens"}  # of /v1/responses
_NOT_HERE = ("stream", "stream_options")  # how to send an answer, which does not change it


@frozen(eq=False, repr=False)
class ServerAnswer(Reply):
    """The answer to a request of OpenAI's batch files: a `Reply`, and what the server sent.

    Attributes:
        body: The server's JSON, whatever the route; ``text`` is empty for answers without one, such as embeddings.
    """

    body: dict[str, Any] = field(factory=dict)


class RequestCall:
    """A request of OpenAI's batch files, to any route of the server.

    Args:
        client: Its server gets the requests.
        options: ``model`` replaces that of every line; ``provider`` selects the router's provider; fields of ``extra_body`` are
            added to bodies that do not have them; ``timeouts``.
    """

    name = "request"
    needs_threads = False
    keeps_notes = False
    has_files = False

    def __init__(self, client: InferenceClient, options: Mapping[str, Any]) -> None:
        try:
            refuse_unknown("map", options, _OPTIONS)
        except TypeError as error:
            raise TypeError(f"{error}; the lines of OpenAI's batch files have all other fields") from None
        provider = options.get("provider")
        if provider is not None and not (isinstance(provider, str) and client.is_router):
            raise InvalidInputError("provider= of OpenAI's batch files is one name, and needs Hugging Face's router")
        self._client = client
        self._options = dict(options)

    @property
    def client(self) -> InferenceClient:
        return self._client

    def with_client(self, *, transport: Transport | None, timeouts: Timeouts, retry: Retry) -> RequestCall:
        return RequestCall(self._client.with_options(transport=transport, timeouts=timeouts, retry=retry), self._options)

    def run(self, item: Item) -> ServerAnswer:
        service, body = self._client._service, self._body(item)
        clock = service.session.clock(self._options.get("timeouts"))
        name = body.get("model")
        request = Request.with_json(
            "POST",
            _address(service.base_url, item.options["url"]),
            body,
            headers=call_headers(_PROVIDER, service.bill_to, service.base_url),
            retryable=True,  # as every inference: an answer that did not come in whole is asked for again
            whole="body",
            clock=clock,
            refine=service.refining(name if isinstance(name, str) else None),
        )
        response = service.session.send(request)
        body = response.json()
        if not isinstance(body, dict):
            raise ProtocolError(f"{response.url} should give a JSON object", frame=str(body)[:200])
        try:
            return _answer(body, response.request_id)
        except HFClientError as error:
            error.request_id = response.request_id
            raise

    def shared_settings(self) -> dict[str, Any]:
        own = {name: value for name, value in self._options.items() if name != "timeouts" and value is not None}
        return {"call": self.name, "server": self._client.base_url, **own}

    def settings(self, item: Item) -> dict[str, Any]:
        server = {"call": self.name, "server": self._client.base_url}
        return {**server, "url": item.options["url"], "body": self._body(item)}

    def encode(self, value: ServerAnswer) -> Any:
        return {"body": value.body, "request_id": value.request_id}

    def decode(self, data: Any) -> ServerAnswer:
        return self.from_json(data)

    @staticmethod
    def from_json(data: Any) -> ServerAnswer:
        """Return the answer that :meth:`encode` was given."""
        return _answer(data["body"], data.get("request_id"))

    def _body(self, item: Item) -> dict[str, Any]:
        given = self._options.get
        body: dict[str, Any] = {**(given("extra_body") or {}), **{name: value for name, value in item.input.items() if name not in _NOT_HERE}}
        if given("model") is not None:
            body["model"] = given("model")
        if given("provider") is not None and isinstance(body.get("model"), str):
            body["model"] = f"{body['model'].partition(':')[0]}:{given('provider')}"
        return body


def _address(base: str, route: str) -> str:
    """Return the URL of a route, such as ``/v1/embeddings``, for any form of a base URL."""
    if route == _CHAT:
        return chat_url(base)
    if not route.startswith("/v1/"):
        parts = urlsplit(bare_url(base))  # vLLM's /score and /rerank
    else:
        parts, route = urlsplit(root_url(base)), route.removeprefix("/v1")
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + route))


def _answer(body: dict[str, Any], request_id: str | None) -> ServerAnswer:
    """Return the answer with *body*.

    Raises:
        GenerationError: The body is an error.
    """
    if (error := error_in(body)) is not None:
        raise error
    choice = next(iter(_dicts(body.get("choices"))), {})
    if isinstance(choice.get("message"), dict):
        return _chat_answer(body, request_id)
    usage, model, reason = body.get("usage"), body.get("model"), choice.get("finish_reason")
    parts = [part for item in _dicts(body.get("output")) for part in _dicts(item.get("content"))]  # of /v1/responses
    return ServerAnswer(
        text="".join(part["text"] for part in [choice, *parts] if isinstance(part.get("text"), str)),
        finish_reason=reason if isinstance(reason, str) else None,
        usage=usage_of({_TOKENS.get(str(name), str(name)): count for name, count in usage.items()}) if isinstance(usage, dict) else None,
        model=model if isinstance(model, str) else None,
        request_id=request_id,
        body=body,
    )


def _chat_answer(body: dict[str, Any], request_id: str | None) -> ServerAnswer:
    """Return the answer of chat completions, read as every other one."""
    decoder = ChunkDecoder()
    events = [*decoder.feed(msgspec.json.encode(body)), *decoder.finish()]
    decoder.check_end()
    model = body.get("model")
    return ServerAnswer(
        text="".join(event.text for event in events if isinstance(event, Token)),
        reasoning="".join(event.text for event in events if isinstance(event, Reasoning)),
        tool_calls=tuple(event for event in events if isinstance(event, ToolCall)),
        finish_reason=next((event.reason for event in events if isinstance(event, Finish)), None),
        usage=next((event for event in reversed(events) if isinstance(event, Usage)), None),
        model=model if isinstance(model, str) else None,
        request_id=request_id,
        body=body,
        refusal=decoder.fields().get("refusal"),
    )


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
