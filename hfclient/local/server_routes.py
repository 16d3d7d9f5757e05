"""The server about itself: health, models, users, settings, flags.

Reference: docs/protocol/huggingchat ("endpoints").
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from hfclient._version import __version__
from hfclient.chat.wire.superjson import UNDEFINED
from hfclient.local import documents
from hfclient.local.front import as_json, as_superjson, json_body, owner
from hfclient.local.parts import Parts
from hfclient.local.records import now
from hfclient.local.refusals import Refused, broken, page

__all__ = ["server_routes"]

_MINUTE = {"Cache-Control": "private, max-age=60"}
_SWITCHES = {"shareConversationsWithModelAuthors": True, "directPaste": False, "hapticsEnabled": True}
_MAPS = (
    *("hidePromptExamples", "customPrompts", "customPromptsEnabled", "multimodalOverrides", "toolsOverrides"),
    *("artifactsOverrides", "providerOverrides", "reasoningEffortOverrides", "reasoningOverrides"),
)


def server_routes(parts: Parts) -> Blueprint:
    """Return the routes that need no conversation."""
    routes = Blueprint("server", __name__)

    @routes.get("/")
    def start_page() -> Response:
        text = f"hfclient {__version__} speaks chat-ui's protocol here; there are no pages"
        return Response(page(200, text), content_type="text/html; charset=utf-8")

    @routes.get("/healthcheck")
    def health() -> Response:
        return Response("OK", content_type="text/plain;charset=UTF-8")

    # Models

    @routes.get("/api/v2/models")
    def models() -> Response:
        answer = as_superjson([documents.model(model) for model in parts.models()])
        answer.headers.update(_MINUTE)
        return answer

    @routes.get("/api/models")
    def old_models() -> Response:
        return as_json([documents.old_model(model) for model in parts.models()])

    @routes.get("/api/v2/models/old")
    def no_old_models() -> Response:
        return as_superjson([])

    @routes.get("/api/v2/models/<path:model_id>")
    def model(model_id: str) -> Response:
        found = parts.model(model_id)
        if found is None:
            raise Refused(404, "Model not found")
        return as_superjson(documents.model_detail(found))

    # Users: all are anonymous

    @routes.get("/api/v2/user")
    def user() -> Response:
        return as_superjson(None)

    @routes.get("/api/user")
    def old_user() -> Response:
        raise Refused(401, "Must be signed in")

    @routes.get("/api/v2/user/reports")
    def reports() -> Response:
        return as_superjson([])

    @routes.get("/api/v2/user/settings")
    def settings() -> Response:
        saved = parts.store.settings(owner())
        document: dict[str, Any] = {
            "welcomeModalSeen": bool(saved.get("welcomeModalSeenAt")),
            "welcomeModalSeenAt": documents.date(saved.get("welcomeModalSeenAt")),
            "activeModel": saved.get("activeModel") or next((model.id for model in parts.models()), ""),
            "streamingMode": saved.get("streamingMode", "smooth"),
            **{name: saved.get(name, default) for name, default in _SWITCHES.items()},
            **{name: saved.get(name, {}) for name in _MAPS},
            "billingOrganization": saved.get("billingOrganization", UNDEFINED),
        }
        return as_superjson(document)

    @routes.post("/api/v2/user/settings")
    @routes.post("/settings")
    def set_settings() -> Response:
        body = json_body()
        if not isinstance(body, dict):
            raise broken()
        saved = {key: body[key] for key in ("activeModel", "streamingMode", "billingOrganization") if key in body}
        if not all(isinstance(value, str) for value in saved.values()):
            raise broken()
        if saved.get("streamingMode", "raw") not in ("raw", "smooth"):
            raise broken()
        for names, kind in ((_SWITCHES, bool), (_MAPS, dict)):
            for name in names:
                if name in body and not isinstance(body[name], kind):
                    raise broken()
                if name in body:
                    saved[name] = body[name]
        # A full replacement, but for this: it tells when something was seen, and cannot become unseen.
        seen = parts.store.settings(owner()).get("welcomeModalSeenAt")
        saved["welcomeModalSeenAt"] = now() if body.get("welcomeModalSeen") is True else seen
        parts.store.set_settings(owner(), saved)
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
                "PUBLIC_VERSION": "0.20.0",  # the protocol's, for clients that look
                "PUBLIC_APP_NAME": "hfclient",
                "PUBLIC_APP_ASSETS": "chatui",
                "PUBLIC_APP_DESCRIPTION": f"hfclient {__version__}, a local server for chat-ui's protocol",
                "PUBLIC_ORIGIN": "",
                "PUBLIC_SHARE_PREFIX": "",
            }
        )
        answer.headers.update(_MINUTE)
        return answer

    @routes.get("/api/mcp/servers")
    def mcp_servers() -> Response:
        return as_json([])

    @routes.get("/__data.json")
    @routes.get("/conversation/<conversation_id>/__data.json")
    def page_data(conversation_id: str = "") -> Response:
        # Where servers before June 2025 kept what the API has now; those after answer without data, and so do we.
        return as_json({"type": "data", "nodes": [None, None]})

    return routes
