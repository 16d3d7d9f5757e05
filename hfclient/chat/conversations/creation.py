"""Creating a conversation on the server."""

from __future__ import annotations

from hfclient.chat.servers.models import id_of
from hfclient.chat.servers.service import ChatService
from hfclient.chat.wire import superjson
from hfclient.chat.wire.messages import parse_conversation
from hfclient.chat.wire.server_errors import not_a_chat_server
from hfclient.chat.wire.tree import MessageTree
from hfclient.errors import BadRequestError, InvalidInputError, ProtocolError

__all__ = ["create_conversation"]


def create_conversation(
    service: ChatService, model: str | None, system_prompt: str | None, assistant: str | None
) -> tuple[str, str, str | None]:
    """Create a conversation; the arguments and the errors are those of `Conversation`.

    Returns:
        Its id, the id of its LLM, and the id of the message that the first one is attached to, if the server says so.

    Reference: POST {base}/conversation
    """
    service.need_session()
    if assistant is not None:
        model = _model_of_assistant(service, assistant, model, system_prompt)
    name = model or service.models.default.id
    request = service.endpoints.create(name, system_prompt, assistant)
    try:
        response = service.session.send(request)
    except BadRequestError as error:  # a short name, perhaps; ids, which most callers pass, cost no further request
        name = id_of(name, service.models, error)
        request = service.endpoints.create(name, system_prompt, assistant)
        response = service.session.send(request)
    response.buffer()
    try:
        data = response.json()
    except ProtocolError as error:
        raise not_a_chat_server(request.url, error.frame) from None
    if not isinstance(data, dict) or not isinstance(data.get("conversationId"), str):
        raise not_a_chat_server(request.url, str(data)[:200])
    return data["conversationId"], name, _leaf_in(data.get("conversation"))


def _leaf_in(conversation: object) -> str | None:
    """Return the id of the last message of a new conversation, which servers send along since July 2026."""
    if not isinstance(conversation, str):
        return None
    try:
        return MessageTree(parse_conversation(superjson.loads(conversation))).newest_leaf()
    except (ProtocolError, ValueError):
        return None  # requested when it is needed


def _model_of_assistant(
    service: ChatService, assistant: str, model: str | None, system_prompt: str | None
) -> str | None:
    """Return the LLM to use with an assistant: the one that was named, else the assistant's own."""
    from hfclient.chat.legacy.assistants import fetch_assistant_model  # not loaded for today's servers

    service.version().check(assistant=True)
    if system_prompt is not None:
        raise InvalidInputError("an assistant has a system prompt of its own")
    own = fetch_assistant_model(assistant, service.endpoints, service.session)  # the server ignores unknown ids
    return service.models.get(model).id if model else own
