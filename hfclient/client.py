"""`Client`: connects a session to chat and to inference, and holds the defaults."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from hfclient.arguments.argument_types import check_arguments
from hfclient.arguments.option_hints import refuse_unknown
from hfclient.chat import ChatService, ChatStream, Conversation, Conversations, Models
from hfclient.chat.conversations.conversation import restored
from hfclient.chat.conversations.options import MessageOptions, OnClose
from hfclient.chat.conversations.prompts import PromptLike
from hfclient.chat.conversations.stored_conversation import discard_unused
from hfclient.chat.resources.login import Login
from hfclient.chat.resources.server import Server
from hfclient.chat.resources.settings import SettingsResource
from hfclient.credentials import (
    HUB_URL,
    HUGGING_CHAT,
    ROUTER_URL,
    CookiesLike,
    Credentials,
    Secret,
    without_user_info,
)
from hfclient.errors import HFClientError, InvalidInputError
from hfclient.events import AnyEvent
from hfclient.stream import LastReply
from hfclient.transport import Limits, Retry, Session, Timeouts
from hfclient.transport.selection import TransportLike, transport_for
from hfclient.types import Reply, User

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from hfclient.batch.batch import Batch
    from hfclient.batch.call_options import MapConversationOptions
    from hfclient.inference import InferenceClient
    from hfclient.local import LocalServer

__all__ = ["Client", "ClientOptions"]


class ClientOptions(TypedDict, total=False):
    """Options of `Client`, which documents them."""

    token: str | None
    cookies: CookiesLike | None
    session: str | None
    transport: TransportLike
    impersonate: str | None
    timeouts: Timeouts
    retry: Retry
    proxy: str | None
    headers: Mapping[str, str] | None
    inference_url: str | None
    inference_key: str | None
    hub_url: str | None
    bill_to: str | None
    provider_keys: Mapping[str, str] | None
    on_event: Callable[[AnyEvent], object] | None
    limits: Limits


class Client:
    """A session with HuggingChat (or any chat-ui) and with Hugging Face inference.

    Creating one sends nothing, opens no connection and reads at most two small files; a client at the top of a module is fine.
    Threads may share it, a forked child may use it, and it pickles as its configuration.

        client = Client()                          # HF_TOKEN, HFCLIENT_COOKIE, the saved login
        client = Client("http://localhost:3000")   # a self-hosted chat-ui, anonymous session
        client = Client.local()                    # the embedded server with a small real model

    Args:
        base_url: The chat server. None takes ``HFCLIENT_BASE_URL`` from the environment, or HuggingChat.
        token: A Hub token; None looks for ``HF_TOKEN`` and the file of huggingface_hub; ``""`` uses none. A token that was
            found, not passed, is sent to Hugging Face's own sites only.
        cookies: The chat server's cookies: a mapping, the text of a Cookie header, the path of an export, a cookie jar,
            ``"browser:firefox"``, ... (see `hfclient.credentials.parse_cookies`); None looks for ``HFCLIENT_COOKIE`` and
            then for the login that ``hfclient login`` saved for this server; ``""`` uses none.
        session: The anonymous session at a server without login. None takes the one that all programs of this user of the
            machine share (``HFCLIENT_SESSION`` names another one), or with ``cookies=""`` a private one; a name takes
            another shared one; ``""`` or ``"private"`` one that ends with this client.
        transport: ``"requests"`` (the default), ``"curl_cffi"``, or an object with the methods of `Transport`.
        impersonate: A browser such as ``"chrome"`` for sites behind a bot check; selects curl_cffi (extra: impersonate).
        timeouts: Deadlines for every call that has none of its own.
        retry: When and how often requests are retried.
        proxy: URL of a proxy for all requests; ``""`` uses none; None follows the environment, except for servers on this machine.
        headers: Sent with every request, to every host, so they must not hold credentials.
        inference_url: Base URL of the inference service: any OpenAI-compatible server. None takes ``HFCLIENT_INFERENCE_URL`` from
            the environment, or the Hugging Face router.
        inference_key: API key of that server, such as OpenAI's, for a server that is not Hugging Face's. It is sent to the origin
            of *inference_url* only, in place of the token. None takes ``HFCLIENT_INFERENCE_KEY``, if *inference_url* has the origin
            of ``HFCLIENT_INFERENCE_URL``; ``""`` uses none.
        hub_url: Base URL of the Hub; None takes ``HF_ENDPOINT``, or huggingface.co.
        bill_to: Organisation that pays for inference.
        provider_keys: Your own keys of inference providers, such as ``{"together": "..."}``: their calls then go to the
            provider's own site. A key is sent to its provider only.
        on_event: Called with every event of every stream, before the reader of the stream gets it.
        limits: How much of a response is held in memory.

    Raises:
        InvalidInputError: A URL or an option cannot work.
        CredentialsError: A token or cookie is malformed, has expired or belongs to another site, or a file of them
            cannot be read.
        MissingDependencyError: Impersonation needs curl_cffi, which is not installed.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        token: str | None = None,
        cookies: CookiesLike | None = None,
        session: str | None = None,
        transport: TransportLike = None,
        impersonate: str | None = None,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 (immutable)
        retry: Retry = Retry(),  # noqa: B008 (immutable)
        proxy: str | None = None,
        headers: Mapping[str, str] | None = None,
        inference_url: str | None = None,
        inference_key: str | None = None,
        hub_url: str | None = None,
        bill_to: str | None = None,
        provider_keys: Mapping[str, str] | None = None,
        on_event: Callable[[AnyEvent], object] | None = None,
        limits: Limits = Limits(),  # noqa: B008 (immutable)
    ) -> None:
        urls = [
            base_url or os.environ.get("HFCLIENT_BASE_URL") or HUGGING_CHAT,
            inference_url or os.environ.get("HFCLIENT_INFERENCE_URL") or ROUTER_URL,
            hub_url or os.environ.get("HF_ENDPOINT") or HUB_URL,
        ]
        try:
            _check_texts(
                base_url=base_url,
                token=token,
                session=session,
                impersonate=impersonate,
                proxy=proxy,
                inference_url=inference_url,
                inference_key=inference_key,
                hub_url=hub_url,
                bill_to=bill_to,
            )
            credentials = Credentials.find(
                token=token, cookies=cookies, session=session, chat_url=urls[0], token_urls=urls[1:]
            )
            credentials = credentials.with_inference_key(inference_key, urls[1])
            # Without the user names and passwords that the URLs may contain.
            self.base_url, self.inference_url, self.hub_url = (without_user_info(url)[0].rstrip("/") for url in urls)
            self._session = Session(
                transport_for(transport, impersonate, proxy),
                credentials,
                timeouts=timeouts,
                retry=retry,
                headers=_checked(headers or {}),
                limits=limits,
            )
            if provider_keys is not None and not _holds_texts(provider_keys):
                raise InvalidInputError("provider_keys are a mapping of providers' names to keys")
            keys = {name: None if key is None else Secret(key) for name, key in dict(provider_keys or {}).items()}
            failure: HFClientError | None = None
        except HFClientError as error:
            failure = error
        finally:
            del base_url, inference_url, inference_key, hub_url, urls, token, cookies, proxy, headers, provider_keys
        if failure is not None:
            # The frames below have secrets as they were passed, and some tools show the local values of a traceback.
            failure.__context__ = failure.__cause__ = None
            try:
                raise failure.with_traceback(None)
            finally:
                del failure
        if on_event is not None and not callable(on_event):
            raise InvalidInputError(f"on_event is a function that takes an event, not {on_event!r}")
        self._last = LastReply()
        self._chat = ChatService(self._session, self.base_url, on_event=on_event, last=self._last)
        self._inference: InferenceClient | None = None
        self._inference_options: dict[str, Any] = {
            "base_url": self.inference_url,
            "bill_to": bill_to,
            "on_event": on_event,
            "hub_url": self.hub_url,
            "provider_keys": keys,
            "last": self._last,
        }
        self._server: LocalServer | None = None
        if keys:
            self.inference  # noqa: B018 (made now, because it checks the keys)

    @classmethod
    def local(cls, *, upstream: str | None = None, database: str | None = None, **options: Unpack[ClientOptions]) -> Self:
        """Return a client of an embedded server that runs in this process (extra: local).

        The server speaks chat-ui's protocol; its answers come from SmolLM2-135M-Instruct, a small real model that runs
        on any CPU. `close` (or leaving a ``with``) ends both.

        Args:
            upstream: Base URL of an OpenAI-compatible API to answer instead of the small model.
            database: File of the conversations, which other clients of the same file find again; None keeps them until
                the client is closed.
            options: Further arguments of `Client`: all but *base_url*.

        Raises:
            TypeError: There is no option of that name.
            MissingDependencyError: The packages of the extra are not installed.
            LocalServerError: The model's weights are missing, or the server could not start.
        """
        from hfclient.local import LocalServer  # needs an extra

        refuse_unknown("local", options, ClientOptions.__annotations__)
        server = LocalServer(upstream=upstream, database=database).start()
        try:
            is_user = not {"cookies", "session"} & set(options)
            given: ClientOptions = {"token": "", "cookies": "", "inference_url": server.upstream_url, **options}
            client = cls(server.url, **given)
            client._embed(server, "model" if upstream is None else "upstream", is_user=is_user)
        except BaseException:
            server.close()
            raise
        return client

    def _embed(self, server: LocalServer, kind: Literal["model", "upstream"], *, is_user: bool) -> None:
        """Own *server* from now on; use the key of its upstream and, with *is_user*, the session of its user."""
        if self.inference_url == (server.upstream_url or "").rstrip("/"):
            self._inference_options["embedded"] = kind
        if server.upstream_url and server.upstream_key:
            keys = {server.upstream_url: Secret(f"Bearer {server.upstream_key.reveal()}")}
            self._session.credentials = self._chat.session.credentials = self._session.credentials.with_keys(keys)
        if is_user:
            self._session.credentials.set_session(server.session)
        self._inference = None  # the constructor may have created one without this
        self._server = server

    def __getstate__(self) -> dict[str, object]:
        # The embedded server is not copied: the copy uses the same one, and closing the copy does not end it.
        return {**self.__dict__, "_server": None}

    def __repr__(self) -> str:
        chat: ChatService | None = vars(self).get("_chat")  # missing if the constructor failed
        return f"<Client {chat.endpoints.origin}>" if chat is not None else "<Client>"

    # Chat

    def chat(
        self,
        prompt: PromptLike,
        *,
        model: str | None = None,
        system_prompt: str | None = None,
        temporary: bool = False,
        on_close: OnClose = "stop",
        **options: Unpack[MessageOptions],
    ) -> ChatStream:
        """Send a message in a new conversation and return the stream of the answer; ``stream.conversation`` continues it.

            print(client.chat("Why is the sky blue?").text)

        If the message is refused, the conversation is deleted again; one that may have arrived stays, and the error names it.

        Args:
            prompt: The text, or a list of role/content messages: see `Conversation.send`.
            model: LLM that answers; None takes the server's default.
            system_prompt: System prompt; None takes the model's own.
            temporary: Delete the conversation when the stream has ended.
            on_close: Effect of leaving the stream early: ``"stop"`` stops the generation, ``"detach"`` lets it run on the server.
            options: timeouts, on_elicitation, mcp, web_search, tools, files, progress; see `MessageOptions`.

        Raises:
            HFClientError: As `Conversation.create` and `Conversation.send` do.
        """
        check_arguments(Client.chat, locals())
        conversation = Conversation(self._chat, model=model, system_prompt=system_prompt)
        conversation.temporary = temporary
        try:
            return conversation.send(prompt, on_close=on_close, **options)
        except BaseException:  # Ctrl-C, too
            discard_unused(conversation)
            raise

    def map(self, prompts: Any, **options: Unpack[MapConversationOptions]) -> Batch:
        """Return a batch: an iterator over the answers to *prompts*, each in a conversation of its own (extra: batch).

            for result in client.map(["Why is the sky blue?", "Why is grass green?"], checkpoint="out.jsonl"):
                print(result.value.text if result.ok else result.error)

        With a checkpoint no message is sent twice: a run that was killed finds the conversations that it had begun, and reads
        the answers that the server has generated meanwhile. Without one, leaving the batch early stops the generations.

        Args:
            prompts: Strings or lists of messages, as for :meth:`chat`; or lists of strings, which are sent one after the other
                in one conversation; or dicts with ``prompt`` or ``prompts``, perhaps an ``id``, and *model*, *system_prompt*,
                *files* and other options of that item; or a file or table, as for `InferenceClient.map`.
            options: Those of :meth:`chat` but *on_close*, and those of the batch, such as workers (8 by default), ordered, errors and
                checkpoint; see `.MapConversationOptions`.

        Returns:
            A batch whose values are `Reply` objects, with the ``conversation_id``; for several prompts in one conversation lists
            of them.
        """
        from hfclient.batch.maps import map_conversations  # needs an extra

        return map_conversations(self, prompts, dict(options))

    def conversation(
        self,
        id: str | None = None,
        *,
        model: str | None = None,
        system_prompt: str | None = None,
        assistant: str | None = None,
    ) -> Conversation:
        """Return a conversation: a new one, or with *id* an existing one. Nothing is sent yet.

        Args:
            id: 24 hex digits of an existing conversation, or the 7 characters of a shared one.
            model: LLM for a new conversation; None takes the server's default, or the assistant's.
            system_prompt: System prompt for a new conversation; None takes the model's own.
            assistant: Id of an assistant for a new conversation, on servers before September 2025. On others its
                first message raises `Unsupported`.
        """
        check_arguments(Client.conversation, locals())
        return Conversation(self._chat, id, model=model, system_prompt=system_prompt, assistant=assistant)

    def restore(self, state: dict[str, Any]) -> Conversation:
        """Return the conversation that `Conversation.to_dict` described, in this or another process."""
        return restored(self._chat, state)

    @property
    def conversations(self) -> Conversations:
        """The conversations on the server: iterate, ``list``, ``get``, ``delete``, ``delete_all``."""
        return Conversations(self._chat)

    @property
    def models(self) -> Models:
        """The LLMs of the chat server: iterate, ``list``, ``get`` by name."""
        return self._chat.models

    @property
    def settings(self) -> SettingsResource:
        """The caller's settings on the chat server: ``get`` and ``update``."""
        return SettingsResource(self._chat)

    @property
    def server(self) -> Server:
        """The chat server: ``features``, ``config``, ``mcp_servers``, ``transcribe``, ``ping``."""
        return Server(self._chat)

    def ping(self) -> float:
        """Return the seconds that the chat server takes to answer a health check; raises if it does not answer."""
        return self.server.ping()

    def whoami(self) -> User | None:
        """Return the user of this client on the chat server; None for an anonymous session or an expired login.

        Raises:
            AuthenticationError: The server does not accept the token.

        Reference: GET {base}/api/v2/user
        """
        return self._chat.auth.user(self._chat.session)

    @property
    def login(self) -> Login:
        """The login of this client: ``save`` it for other processes, or ``log_out``."""
        return Login(self._chat)

    # Both

    @property
    def last(self) -> Reply | None:
        """The answer of the last stream of this thread, of chat or inference; None before the first one.

        It is complete, or as far as it has been received: after an error, or after Ctrl-C (``interrupted`` is True then). A stream
        that this thread reads counts as well if another thread has opened it. Other threads have answers of their own. In a web
        server a thread serves many users: use ``stream.partial`` or ``error.partial`` there.
        """
        return self._last.get()

    # Inference

    @property
    def inference(self) -> InferenceClient:
        """The client for models of text, images, videos and audio."""
        if self._inference is None:
            from hfclient.inference import InferenceClient  # imported late: it is half of the package

            self._inference = InferenceClient(self._session, **self._inference_options)
        return self._inference

    # Ending

    def close(self) -> None:
        """Close idle connections, and the embedded server if there is one. Streams that are being read continue."""
        self._session.close()
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _check_texts(**texts: object) -> None:
    """Raise `InvalidInputError` for an argument that is not a text, without showing it."""
    wrong = [f"{name} must be a string, not {type(text).__name__}" for name, text in texts.items() if not _is_text(text)]
    texts.clear()
    if wrong:
        raise InvalidInputError("; ".join(wrong))


def _holds_texts(value: object) -> bool:
    return isinstance(value, Mapping) and all(map(_is_text, (*value, *value.values())))


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _checked(headers: Mapping[str, str]) -> Mapping[str, str]:
    if not _holds_texts(headers) or None in headers.values():
        raise InvalidInputError("headers must be a mapping of names to values, both of them strings")
    for name in headers:
        if name.lower() in ("authorization", "cookie"):
            raise InvalidInputError(
                f"{name} in headers would be sent to every host; use token= or cookies=, which are sent to their own hosts only"
            )
    return headers
