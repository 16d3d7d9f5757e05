"""``client.server``: information about a chat server, and its services besides chat."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import Any

import msgspec
from attrs import frozen

from hfclient.arguments.argument_types import check_arguments
from hfclient.chat.servers.service import ChatService
from hfclient.chat.wire.list_entries import read_entries
from hfclient.chat.wire.server_errors import not_a_chat_server
from hfclient.decoding.frames import SSEParser, excerpt
from hfclient.errors import NotFoundError, ProtocolError, StreamInterrupted
from hfclient.files.media_types import media_type
from hfclient.files.sources import FileLike, open_source
from hfclient.transport import Response
from hfclient.values import Value

__all__ = ["LiveGeneration", "LiveUpdate", "Server", "live_updates"]

_MAX_AUDIO = 15_728_640


@frozen(eq=False, repr=False)
class LiveGeneration(Value):
    """A generation that is running, or has just ended.

    Attributes:
        conversation_id: Its conversation.
        title: The conversation's title.
        status: ``"running"``, ``"completed"``, ``"interrupted"`` or ``"error"``.
    """

    conversation_id: str
    title: str
    status: str = "running"


@frozen(eq=False, repr=False)
class LiveUpdate(Value):
    """The generations that are running, and those that have ended since the last update.

    Attributes:
        running: The running ones.
        ended: Those that have ended.
    """

    running: tuple[LiveGeneration, ...]
    ended: tuple[LiveGeneration, ...]


class Server:
    """The chat server itself: health, features, configuration, MCP servers, transcription."""

    def __init__(self, service: ChatService) -> None:
        self._service = service

    def __repr__(self) -> str:
        return f"<Server {self._service.endpoints.origin}>"

    def ping(self) -> float:
        """Return the seconds that the server takes to answer a health check.

        Raises:
            TransportError: It does not answer.
            NotAChatServer: The answer is not a chat-ui's.

        Reference: GET {base}/healthcheck
        """
        started = time.monotonic()
        response = self._service.session.with_auth(None).send(self._service.endpoints.health())
        body = response.read()
        if body.lstrip().startswith((b"<", b"{")):  # other sites answer every path with a page, other APIs with an error
            raise not_a_chat_server(response.url, body[:2000].decode("utf-8", "replace"))
        return time.monotonic() - started

    def features(self) -> dict[str, Any]:
        """Return the feature flags, such as ``loginEnabled`` and ``transcriptionEnabled``.

        Reference: GET {base}/api/v2/feature-flags
        """
        return self._object(self._service.read(self._service.endpoints.features()))

    def config(self) -> dict[str, Any]:
        """Return the public part of the server's configuration: names that begin with ``PUBLIC_``.

        Reference: GET {base}/api/v2/public-config
        """
        return self._object(self._service.read(self._service.endpoints.public_config()))

    def mcp_servers(self) -> list[dict[str, Any]]:
        """Return the MCP servers that the server has configured; ``mcp=[...]`` takes their ``name``.

        Reference: GET {base}/api/mcp/servers
        """
        request = self._service.endpoints.mcp_servers()
        try:
            data = self._service.session.send(request).json()
        except ProtocolError:  # before June 2025 a server answers every unknown path with its page
            self._service.version()  # raises if it is not a chat-ui
            raise NotFoundError("the server has no MCP servers (it is older than November 2025)", status_code=404) from None
        if not isinstance(data, list):
            raise not_a_chat_server(request.url, str(data))
        return [item for item in data if isinstance(item, dict)]

    def transcribe(self, audio: FileLike, *, content_type: str | None = None) -> str:
        """Return the transcript of a recording; empty for silence.

        Args:
            audio: The recording, at most 15 MB: a path, bytes, an open binary file, an `Audio`, a data URL.
            content_type: Its media type; None detects it by its first bytes and its name. Servers accept ``audio/wav``,
                ``audio/mpeg``, ``audio/webm``, ``audio/ogg`` and ``audio/flac``.

        Raises:
            InvalidInputError: It is missing, empty or too large. Nothing was sent.
            BadRequestError: The server does not accept its type.
            ServerError: The server has no transcription.

        Reference: POST {base}/api/transcribe
        """
        check_arguments(Server.transcribe, locals())
        file = open_source(audio, _MAX_AUDIO, "recording")
        content = file.read()
        if content_type is None:
            found = media_type(content, file.name, file.claimed, is_audio=True) or "audio/wav"
            content_type = "audio/webm" if found == "video/webm" else found
        data = self._service.session.send(self._service.endpoints.transcribe(content, content_type)).json()
        return str(data.get("text") or "") if isinstance(data, dict) else ""

    @staticmethod
    def _object(data: Any) -> dict[str, Any]:
        return data if isinstance(data, dict) else {}


def live_updates(service: ChatService) -> Iterator[LiveUpdate]:
    """Yield the running generations, about every two seconds, until nothing runs.

    Reference: GET {base}/api/v2/generations/live
    """
    while True:
        response = service.session.send(service.endpoints.live())
        if response.content_type != "text/event-stream":
            response.close()
            raise NotFoundError("the server has no live feed (it is older than July 2026)", status_code=response.status)
        idle = yield from _read_live(response)
        if idle:
            return


def _read_live(response: Response) -> Generator[LiveUpdate, None, bool]:
    has_update = False
    parser = SSEParser(response.limits.line)
    try:
        for data in response.chunks():
            for frame in parser.feed(data):
                if frame.event == "idle":
                    return True
                if frame.event == "sync":
                    has_update = True
                    yield _parse_sync(frame.data)
    finally:
        response.close()
    if not has_update:  # the next feed would end immediately, too
        raise StreamInterrupted("the live feed ended without an update", method=response.method, url=response.url)
    return False  # closed after five minutes: the caller opens it again


def _parse_sync(data: bytes) -> LiveUpdate:
    try:
        value = msgspec.json.decode(data)
        running, ended = value.get("running") or (), value.get("ended") or ()
        return LiveUpdate(
            tuple(read_entries(running, _generation, "running generations")),
            tuple(read_entries(ended, _generation, "generations that have ended")),
        )
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, AttributeError, TypeError, KeyError):
        raise ProtocolError("the live feed holds something that is not a list of generations", frame=excerpt(data)) from None


def _generation(item: Any) -> LiveGeneration:
    if not isinstance(item, dict) or not item.get("conversationId"):
        raise ProtocolError("the live feed holds an entry without a conversation", frame=str(item)[:200])
    return LiveGeneration(
        str(item["conversationId"]), str(item.get("title") or ""), str(item.get("status") or "running")
    )
