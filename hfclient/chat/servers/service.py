"""`ChatService`: one chat server, its session and its API, as conversations and resources use it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from attrs import evolve

from hfclient.chat.legacy.versions import ServerVersion
from hfclient.chat.servers.api import ServerApi
from hfclient.chat.servers.auth import ChatAuth
from hfclient.chat.wire.endpoints import Endpoints
from hfclient.chat.wire.failures import not_a_chat_server
from hfclient.chat.wire.list_entries import read_entries
from hfclient.chat.wire.messages import ConversationState, parse_conversation, parse_conversation_info, parse_model
from hfclient.errors import (
    BadRequestError,
    ModelNotFound,
    Unsupported,
)
from hfclient.events import AnyEvent
from hfclient.transport import Clock, Request, Session
from hfclient.types import ConversationInfo, Entries, Model

__all__ = ["ChatService"]

_PAGE = 30  # entries on a full page of conversations
_MODELS_FRESH = 60.0  # seconds: what the server's own Cache-Control says


class ChatService:
    """One chat server. Threads may share it.

    Args:
        session: Sends the requests; the service adds the server's authentication to it.
        base_url: The server's base URL.
        on_event: Called with every event of every stream.
    """

    def __init__(
        self, session: Session, base_url: str, *, on_event: Callable[[AnyEvent], object] | None = None
    ) -> None:
        self.endpoints = Endpoints(base_url)
        self.endpoints.form_origin = _form_origin(session, self.endpoints.form_origin)
        self.api = ServerApi(self.endpoints)
        self.auth = ChatAuth(self.endpoints, self.api)
        self.session = session.with_auth(self.auth)
        self.on_event = on_event
        self._models: tuple[float, list[Model]] | None = None

    def version(self) -> ServerVersion:
        """Return the server's version; detected once, and only when it matters.

        Raises:
            NotAChatServer: It is not a chat-ui of any version.
        """
        return self.api.version(self.session)

    def need_session(self) -> None:
        """Make sure that there is a session cookie to write with, an anonymous one if that will do.

        Raises:
            CredentialsError: This server wants a login and there is no cookie. Nothing was sent.
        """
        self.auth.need_session(self.session.credentials)

    def read(self, request: Request) -> Any:
        """Return the v2 API's answer to *request*, decoded, from servers of every version.

        Reads need no cookie: with a token they are its user's, else an anonymous user's.

        Raises:
            NotAChatServer: The answer is not a chat-ui's.
        """
        return self.api.read(request, self.session)

    def read_state(self, conversation_id: str, clock: Clock | None = None) -> ConversationState:
        """Return the present state of a conversation or a share.

        Args:
            conversation_id: Which one.
            clock: Of the call; None starts one for this request.
        """
        request = evolve(self.endpoints.conversation(conversation_id), clock=clock)
        return parse_conversation(self.api.read(request, self.session))

    def list_page(self, page: int) -> tuple[list[ConversationInfo], bool]:
        """Return one page of the list of conversations, and whether there are more."""
        request = self.endpoints.conversations(page)
        data = self.api.read(request, self.session)
        if not isinstance(data, dict) or not isinstance(data.get("conversations"), list):
            raise not_a_chat_server(request.url, str(data)[:200])
        if not data["conversations"] and page == 0 and self.auth.check_empty_list(self.session):
            return self.list_page(page)
        entries = read_entries(data["conversations"], parse_conversation_info, "conversations of a page")
        # From June to November 2025 servers send a count instead of hasMore.
        return entries, bool(entries) and bool(data.get("hasMore", len(data["conversations"]) >= _PAGE))

    # Models

    def models(self, *, fresh: bool = False) -> list[Model]:
        """Return the LLMs that the server offers, its default first; cached for a minute."""
        now = time.monotonic()
        if fresh or self._models is None or now - self._models[0] > _MODELS_FRESH:
            data = self.api.read(self.endpoints.models(), self.session)
            if not isinstance(data, list):
                raise not_a_chat_server(self.endpoints.models().url, str(data)[:200])
            self._models = (now, read_entries(data, parse_model, "models"))
        return Entries(self._models[1])

    def default_model(self) -> Model:
        """Return the server's default LLM."""
        models = self.models()
        if not models:
            raise ModelNotFound("the server offers no models", status=0)
        return models[0]

    def find_model(self, name: str) -> Model | None:
        """Return the LLM called *name*, or None."""
        return _named(name, self.models())

    def model(self, name: str) -> Model:
        """Return the LLM called *name*: its id in any case, the id's last part, or its label.

        Raises:
            ModelNotFound: It does not exist; ``suggestions`` holds the nearest names.
        """
        models = self.models()
        found = _named(name, models)
        if found is None:
            raise _no_model(name, models)
        return found

    def model_that_sees(self) -> Model:
        """Return an LLM that accepts images: the default if it does, else the first that does.

        Raises:
            Unsupported: No model does.
        """
        for model in self.models():
            if model.multimodal:
                return model
        raise Unsupported("no model of this server accepts images; describe the image in words")

    def check_sees(self, name: str) -> None:
        """Raise `Unsupported` if the LLM called *name* does not accept images."""
        model = _named(name, self.models())
        if model is not None and not model.multimodal:
            able = [other.id for other in self.models() if other.multimodal]
            hint = f"these do: {', '.join(able[:5])}" if able else "no model of this server does"
            raise Unsupported(f"{name} does not accept images, the server would ignore them silently; {hint}")

    def fetch(self, url: str, limit: int) -> bytes:
        """Return the content at a URL, at most *limit* bytes of it; credentials are sent to their own servers only."""
        return self.session.send(Request.file(url, follow_redirects=True)).read_at_most(limit)

    def model_meant(self, name: str, error: BadRequestError) -> str:
        """Return the id of the LLM called *name*, after the server has refused that name.

        Raises:
            ModelNotFound: It does not exist; ``suggestions`` holds the nearest names.
            BadRequestError: *error* itself: the server has an LLM of that id, and refused something else.
        """
        models = self.models(fresh=True)
        found = _named(name, models)
        if found is None:
            raise _no_model(name, models, error) from error
        if found.id == name:
            raise error
        return found.id


def _form_origin(session: Session, origin: str) -> str:
    """Return the header Origin: the caller's own, or the origin that the caller's Host header names."""
    given = {name.lower(): "".join(value) for name, value in session.headers.items()}
    if "host" in given:
        origin = f"{origin.partition('://')[0]}://{given['host']}"
    return given.get("origin", origin)


def _named(name: str, models: list[Model]) -> Model | None:
    """Return the LLM called *name*; None if none or several have that name."""
    wanted = name.strip().lower()
    names: tuple[Callable[[Model], str], ...] = (
        lambda model: model.id,
        lambda model: model.id.lower(),
        lambda model: model.id.lower().rpartition("/")[2],
        lambda model: model.display_name.lower(),
    )
    for name_of in names:
        found = [model for model in models if name_of(model) == (name if name_of is names[0] else wanted)]
        if len(found) == 1:
            return found[0]
    return None


def _no_model(name: str, models: list[Model], error: BadRequestError | None = None) -> ModelNotFound:
    import difflib  # for typing errors only

    ids = [model.id for model in models]
    wanted = name.strip().lower()
    whole = {i.lower(): i for i in ids}
    ends = {i.lower().rpartition("/")[2]: i for i in ids}
    near = [whole[match] for match in difflib.get_close_matches(wanted, whole, n=3, cutoff=0.6)]
    near += [ends[match] for match in difflib.get_close_matches(wanted.rpartition("/")[2], ends, n=3, cutoff=0.6)]
    near += [i for i in ids if wanted and wanted in i.lower()][:3]  # "llama" is far from its full name
    found = list(dict.fromkeys(near))
    shown = ", ".join(found or ids[:5])
    hint = (
        f"did you mean {shown}?" if found else f"this server offers {shown or 'none'}{' ...' if len(ids) > 5 else ''}"
    )
    missing = ModelNotFound(
        f"there is no model {name!r} here; {hint}",
        status=error.status if error else 0,
        method=error.method if error else None,
        url=error.url if error else None,
    )
    missing.model = name
    missing.suggestions = tuple(found)
    return missing
