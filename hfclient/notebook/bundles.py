"""`mime_bundle`: how each class of hfclient is shown, by media type.

A class is found by its name, so that nothing is imported that the notebook does not use. Each display is a module of this
package with a function that returns the forms of a value: functions by media type, called when a front end asks for them.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from typing import Any

from hfclient.redaction.control_characters import stripped

__all__ = ["Forms", "form", "mime_bundle"]

Forms = dict[str, Callable[[], Any]]
"""By media type, a function that returns the text, or for an image its base64."""

_MAX_PLAIN = 500_000
"""Characters of a value as plain text; a notebook keeps what it shows in its file."""
METADATA = "metadata"
"""The key of the function that returns the metadata of a bundle, by media type."""

_DISPLAYS = {
    "Reply": "replies:reply_forms",
    "Usage": "replies:usage_forms",
    "Message": "conversations:message_forms",
    "MessageTree": "conversations:tree_forms",
    "StoredConversation": "conversations:conversation_forms",
    "Conversations": "conversations:conversations_forms",
    "ConversationInfo": "conversations:info_forms",
    "Share": "conversations:share_forms",
    "User": "conversations:user_forms",
    "Model": "models:model_forms",
    "Models": "models:models_forms",
    "ServedModel": "models:served_model_forms",
    "HubModel": "models:hub_model_forms",
    "HubModels": "models:search_forms",
    "Image": "media:image_forms",
    "Video": "media:video_forms",
    "Audio": "media:audio_forms",
    "Transcript": "results:transcript_forms",
    "Finding": "results:finding_forms",
    "Vectors": "results:vectors_forms",
    "JobProgress": "results:progress_forms",
    "Job": "results:job_forms",
    "BatchResult": "batches:batch_result_forms",
    "Results": "lists:list_forms",
}


def mime_bundle(value: object) -> dict[str, Any] | tuple[dict[str, Any], dict[str, Any]]:
    """Return the forms in which a notebook can show *value*, by media type; ``text/plain`` is always among them.

    Texts of servers and models are escaped. Nothing is sent. A form that cannot be made is left out.

    Returns:
        The bundle; or the bundle and its metadata, for an image that is shown smaller than it is.
    """
    shown: dict[str, Any] = {}
    for media_type, make in _forms(value).items():
        with contextlib.suppress(Exception):
            if (made := make()) is not None:
                shown[media_type] = made
    if "text/plain" not in shown:
        shown["text/plain"] = _safe_repr(value)  # of a long list it takes most of the time
    shown["text/plain"] = _limited(shown["text/plain"])
    metadata = shown.pop(METADATA, None)
    return (shown, metadata) if metadata else shown


def form(value: object, media_type: str) -> str | None:
    """Return one form of *value*, or None."""
    make = _forms(value).get(media_type)
    with contextlib.suppress(Exception):
        return None if make is None else str(make())
    return None


def _forms(value: object) -> Forms:
    for cls in type(value).__mro__:
        if cls.__module__.startswith("hfclient.") and cls.__name__ in _DISPLAYS:
            module, _, function = _DISPLAYS[cls.__name__].partition(":")
            with contextlib.suppress(Exception):
                forms: Forms = getattr(importlib.import_module(f"hfclient.notebook.{module}"), function)(value)
                return forms
    return {}


def _limited(text: str) -> str:
    more = len(text) - _MAX_PLAIN
    return text if more <= 0 else f"{text[:_MAX_PLAIN]}\n… and {more:,} more characters"


def _safe_repr(value: object) -> str:
    try:
        return stripped(repr(value))
    except Exception:  # noqa: BLE001 - a display never raises
        return f"<{type(value).__name__}>"
