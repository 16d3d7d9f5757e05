"""Routes without a conversation: health, models, user, settings, configuration.

Reference: docs/protocol/huggingchat ("endpoints").
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from hfclient._version import __version__
from hfclient.chat.wire.superjson import UNDEFINED
from hfclient.local import serialization
from hfclient.local.backend import Backend
from hfclient.local.error_responses import HTTPError, html_page, internal_error
from hfclient.local.records import now
from hfclient.local.request_hooks import as_json, as_superjson, json_body, owner

__all__ = ["server_routes"]

_CACHE_ONE_MINUTE = {"Cache-Control": "private, max-age=60"}
_SWITCHES = {"shareConversationsWithModelAuthors": True, "directPaste": False, "hapticsEnabled": True}
_OBJECTS = (
    *("hidePromptExamples", "customPrompts", "customPromptsEnabled", "multimodalOverrides", "toolsOverrides"),
    *("artifactsOverrides", "providerOverrides", "reasoningEffortOverrides", "reasoningOverrides"),
)


def server_routes(backend: Backend) -> Blueprint:
    """Return the blueprint."""
    routes = Blueprint("server", __name__)

    @routes.get("/")
    def start_page() -> Response:
        text = f"hfclient {__version__} serves chat-ui's protocol here, without its web pages"
        return Response(html_page(200, text), content_type="text/html; charset=utf-8")

    @routes.get("/healthcheck")
    def health() -> Response:
        return Response("OK", content_type="text/plain;charset=UTF-8")

    # Models

    @routes.get("/api/v2/models")
    def models() -> Response:
        answer = as_superjson([serialization.model(model) for model in backend.models()])
        answer.headers.update(_CACHE_ONE_MINUTE)
        return answer

    @routes.get("/api/models")
    def legacy_models() -> Response:
        return as_json([serialization.legacy_model(model) for model in backend.models()])

    @routes.get("/api/v2/models/old")
    def retired_models() -> Response:
        return as_superjson([])

    @routes.get("/api/v2/models/<path:model_id>")
    def model(model_id: str) -> Response:
        found = backend.model(model_id)
        if found is None:
            raise HTTPError(404, "Model not found")
        return as_superjson(serialization.model_detail(found))

    # Users: all sessions are anonymous

    @routes.get("/api/v2/user")
    def user() -> Response:
        return as_superjson(None)

    @routes.get("/api/user")
    def legacy_user() -> Response:
        raise HTTPError(401, "Must be signed in")

    @routes.get("/api/v2/user/reports")
    def reports() -> Response:
        return as_superjson([])

    @routes.get("/api/v2/user/settings")
    def settings() -> Response:
        saved = backend.store.settings(owner())
        document: dict[str, Any] = {
            "welcomeModalSeen": bool(saved.get("welcomeModalSeenAt")),
            "welcomeModalSeenAt": serialization.date(saved.get("welcomeModalSeenAt")),
            "activeModel": saved.get("activeModel") or next((model.id for model in backend.models()), ""),
            "streamingMode": saved.get("streamingMode", "smooth"),
            **{name: saved.get(name, default) for name, default in _SWITCHES.items()},
            **{name: saved.get(name, {}) for name in _OBJECTS},
            "billingOrganization": saved.get("billingOrganization", UNDEFINED),
        }
        return as_superjson(document)

    @routes.post("/api/v2/user/settings")
    @routes.post("/settings")
    def set_settings() -> Response:
        body = json_body()
        if not isinstance(body, dict):
            raise internal_error()
        saved = {key: body[key] for key in ("activeModel", "streamingMode", "billingOrganization") if key in body}
        if not all(isinstance(value, str) for value in saved.values()):
            raise internal_error()
        if saved.get("streamingMode", "raw") not in ("raw", "smooth"):
            raise internal_error()
        for names, kind in ((_SWITCHES, bool), (_OBJECTS, dict)):
            for name in names:
                if name in body and not isinstance(body[name], kind):
                    raise internal_error()
                if name in body:
                    saved[name] = body[name]
        # All settings are replaced but this one: the time when the welcome dialog was seen.
        seen = backend.store.settings(owner()).get("welcomeModalSeenAt")
        saved["welcomeModalSeenAt"] = now() if body.get("welcomeModalSeen") is True else seen
        backend.store.set_settings(owner(), saved)
        return Response()

    # Configuration

    @routes.get("/api/v2/feature-flags")
    def feature_flags() -> Response:
        flags = ("enableAssistants", "loginEnabled", "isAdmin", "transcriptionEnabled")
        return as_superjson(dict.fromkeys(flags, False))

    @routes.get("/api/v2/public-config")
    def public_config() -> Response:
        answer = as_superjson(
            {
                "PUBLIC_VERSION": "0.20.0",  # version of the protocol; some clients check it
                "PUBLIC_APP_NAME": "hfclient",
                "PUBLIC_APP_ASSETS": "chatui",
                "PUBLIC_APP_DESCRIPTION": f"hfclient {__version__}, a local server for chat-ui's protocol",
                "PUBLIC_ORIGIN": "",
                "PUBLIC_SHARE_PREFIX": "",
            }
        )
        answer.headers.update(_CACHE_ONE_MINUTE)
        return answer

    @routes.get("/api/mcp/servers")
    def mcp_servers() -> Response:
        return as_json([])

    @routes.get("/__data.json")
    @routes.get("/conversation/<conversation_id>/__data.json")
    def page_data(conversation_id: str = "") -> Response:
        # Servers before June 2025 gave the data of the API here. Later ones answer without data, as this one does.
        return as_json({"type": "data", "nodes": [None, None]})

    return routes
