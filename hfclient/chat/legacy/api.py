"""`LegacyApi`: answers requests of the v2 API on a server that lacks it, or parts of it.

It reads the data behind the server's pages and its first API, and writes to the paths that the server's own page uses.
A request without such a replacement is a `NotFoundError`.

Reference: docs/protocol/huggingchat ("older servers"); chat-ui 0.9.5 and 0.10, seen 2026-11-21.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from attrs import evolve

from hfclient.chat.legacy import endpoints as legacy
from hfclient.chat.legacy.devalue import NodeError, parse_page
from hfclient.chat.legacy.server_errors import is_missing_route
from hfclient.chat.wire.endpoints import Endpoints
from hfclient.chat.wire.server_errors import HOW_TO_LOG_IN
from hfclient.decoding.json_values import json_or_none
from hfclient.errors import (
    APIStatusError,
    AuthenticationError,
    ModelNotFound,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    ServerError,
)
from hfclient.transport import Request, Session
from hfclient.transport.request import safe_url
from hfclient.transport.status_errors import leads_to_login

__all__ = ["LegacyApi"]

_FLAGS = (
    "enableAssistants",
    "enableAssistantsRAG",
    "enableCommunityTools",
    "loginEnabled",
    "loginRequired",
    "guestMode",
)
_Answer = Callable[["LegacyApi", Request, str], Any]


class LegacyApi:
    """Answers requests of the v2 API by other means.

    Args:
        session: Sends the requests.
        endpoints: The server's paths.
    """

    def __init__(self, session: Session, endpoints: Endpoints) -> None:
        self._session = session
        self._endpoints = endpoints

    def read(self, request: Request) -> Any:
        """Return the v2 API's answer to *request*, decoded.

        Raises:
            NotFoundError: This version has no replacement, or the object does not exist.
        """
        path = urlsplit(request.url).path.removeprefix(urlsplit(self._endpoints.base).path)
        for method, pattern, answer in _ROUTES:
            found = re.fullmatch(pattern, path)
            if found and method == request.method:
                return answer(self, request, unquote(found[1]) if found.lastindex else "")
        raise self._missing(request, "this server is too old for that")

    def can_replace(self, request: Request) -> bool:
        """Whether *request* has a replacement on a server whose v2 API lacks it, or handles it wrongly."""
        path = urlsplit(request.url).path.removeprefix(urlsplit(self._endpoints.base).path)
        return request.method == "PATCH" or path == _IMPORT

    # Models

    def models(self, request: Request, _: str) -> list[Any]:
        try:
            return _list_in(self._send(legacy.models_v1(self._endpoints)))
        except (APIStatusError, ProtocolError) as error:
            if not is_missing_route(error):
                raise
        return [model for model in _list_in(self._layout().get("models")) if not _get(model, "unlisted")]

    def model(self, request: Request, model_id: str) -> Any:
        for model in self.models(request, ""):
            if _get(model, "id") == model_id:
                return model
        raise ModelNotFound(f"there is no model {model_id!r} here", method=request.method, url=request.url)

    # Conversations

    def conversations(self, request: Request, _: str) -> dict[str, Any]:
        page = request.params.get("p") or 0
        try:
            return {"conversations": _list_in(self._send(legacy.conversations_v1(self._endpoints, int(page))))}
        except (APIStatusError, ProtocolError) as error:
            if not is_missing_route(error):
                raise
        # At most 300 of them: servers with more have the first API, unless it is disabled.
        entries = _list_in(self._layout().get("conversations")) if int(page) == 0 else []
        return {"conversations": entries, "hasMore": False}

    def conversation(self, request: Request, conversation_id: str) -> dict[str, Any]:
        data = self._node(legacy.conversation_data(self._endpoints, conversation_id), -1)
        return {"id": conversation_id, **data}

    def change(self, request: Request, conversation_id: str) -> dict[str, Any]:
        """Rename, change the model, delete: the path that the server's own page writes to takes the same body."""
        self._send(evolve(request, url=legacy.conversation_page(self._endpoints, conversation_id)), empty=True)
        return {"success": True}

    def delete_all(self, request: Request, _: str) -> int:
        count = self._layout().get("nConversations")
        self._send(evolve(request, url=legacy.conversations_v1(self._endpoints, 0).url), empty=True)
        return count if isinstance(count, int) else 0

    def delete_message(self, request: Request, ids: str) -> dict[str, Any]:
        conversation_id, _, message_id = ids.partition("/message/")
        messages = _list_in(self.conversation(request, conversation_id).get("messages"))
        if all(_get(message, "id") != message_id for message in messages):  # the server would not report it
            raise self._missing(request, "Message not found")
        url = legacy.message_v1(self._endpoints, conversation_id, message_id)
        self._send(evolve(request, url=url), empty=True)
        return {"success": True}

    def import_share(self, request: Request, _: str) -> dict[str, Any]:
        """Copy a share by creating a conversation from it; files are not copied."""
        share_id = str(_get(json_or_none(request.body if isinstance(request.body, bytes) else None), "shareId") or "")
        models = self.models(request, "")
        if not models:
            raise self._missing(request, "the server offers no models")
        created = self._send(legacy.create_from_share(self._endpoints, str(_get(models[0], "id") or ""), share_id))
        return created if isinstance(created, dict) else {}

    # The caller and the server

    def user(self, request: Request, _: str) -> Any:
        return self._layout().get("user")

    def settings(self, request: Request, _: str) -> Any:
        return self._layout().get("settings")

    def write_settings(self, request: Request, _: str) -> None:
        self._send(evolve(request, url=legacy.settings_page(self._endpoints)), empty=True)

    def features(self, request: Request, _: str) -> dict[str, Any]:
        layout = self._layout()
        search = _get(layout.get("settings"), "searchEnabled")
        return {"searchEnabled": bool(search), **{flag: bool(layout.get(flag)) for flag in _FLAGS}}

    def public_config(self, request: Request, _: str) -> Any:
        return self._layout().get("publicConfig") or {}

    # Inside

    def _send(self, request: Request, *, empty: bool = False) -> Any:
        response = self._session.send(request)
        if not empty:
            return response.json()
        body = response.read()
        if response.content_type == "text/html" and body.lstrip()[:1] == b"<":  # a page: nothing was done
            raise self._missing(request, "this server is too old for that", body)
        return None

    def _layout(self) -> dict[str, Any]:
        return self._node(legacy.layout_data(self._endpoints), 0)

    def _node(self, request: Request, index: int) -> dict[str, Any]:
        page = parse_page(self._session.send(request).read())
        if page.redirect is not None:
            raise self._redirected(request, page.redirect)
        node = page.node(index)
        if isinstance(node, NodeError):
            fields: dict[str, Any] = {"status_code": node.status or 500, "method": request.method, "url": request.url}
            cls = {403: PermissionDeniedError, 404: NotFoundError}.get(node.status or 0, ServerError)
            raise cls(node.message, **fields)
        if node is None:
            raise ProtocolError(f"the data of the page at {request.url} are empty")
        return node

    def _redirected(self, request: Request, location: str) -> APIStatusError:
        with contextlib.suppress(ValueError):
            target = urljoin(request.url, location)
            if location and not leads_to_login(request.url, target):
                shown = safe_url(target)
                message = f"the server redirects to {shown} instead of answering"
                return APIStatusError(message, status_code=302, method=request.method, url=request.url, location=shown)
        return AuthenticationError(
            f"this server requires a login: {HOW_TO_LOG_IN}", status_code=302, method=request.method, url=request.url
        )

    def _missing(self, request: Request, message: str, body: bytes = b"") -> NotFoundError:
        return NotFoundError(
            message,
            status_code=404,
            method=request.method,
            url=request.url,
            body=body[:2000].decode("utf-8", "replace") or None,
        )


def _list_in(data: Any) -> list[Any]:
    if not isinstance(data, list):
        raise ProtocolError("the server's answer is not a list", frame=str(data)[:200])
    return data


def _get(item: Any, key: str) -> Any:
    return item.get(key) if isinstance(item, dict) else None


_IMPORT = "/api/v2/conversations/import-share"
_ONE = r"/api/v2/conversations/([^/]+)"
_ROUTES: tuple[tuple[str, str, _Answer], ...] = (
    ("GET", r"/api/v2/models", LegacyApi.models),
    ("GET", r"/api/v2/models/(.+)", LegacyApi.model),
    ("GET", r"/api/v2/conversations", LegacyApi.conversations),
    ("DELETE", r"/api/v2/conversations", LegacyApi.delete_all),
    ("POST", _IMPORT, LegacyApi.import_share),
    ("GET", _ONE, LegacyApi.conversation),
    ("PATCH", _ONE, LegacyApi.change),
    ("DELETE", _ONE, LegacyApi.change),
    ("DELETE", r"/api/v2/conversations/([^/]+/message/[^/]+)", LegacyApi.delete_message),
    ("GET", r"/api/v2/user", LegacyApi.user),
    ("GET", r"/api/v2/user/settings", LegacyApi.settings),
    ("POST", r"/api/v2/user/settings", LegacyApi.write_settings),
    ("GET", r"/api/v2/feature-flags", LegacyApi.features),
    ("GET", r"/api/v2/public-config", LegacyApi.public_config),
)
