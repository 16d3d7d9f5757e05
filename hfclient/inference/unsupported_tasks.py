"""Errors for tasks that a server does not have: "this server does not make images" instead of "File Not Found".

An OpenAI-compatible server has routes for some tasks only, and does not list them. A missing route is a 404, 405 or 501 with
a message of the web server's.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from hfclient.credentials import origin_of
from hfclient.errors import APIStatusError, HFClientError, InvalidInputError, Unsupported
from hfclient.transport.status_errors import restated

__all__ = ["TEXT_TASKS", "explain_missing_route", "unsupported_task"]

TEXT_TASKS = frozenset({"conversational", "text-generation"})
"""The tasks of the small model of ``Client.local()``."""

_NO_ROUTE = (404, 405, 501)
# Messages of web servers for a missing route; those for a missing model are different.
_PLAIN = re.compile(
    r"^\W*((http status )?404\b|((the )?(file|page|path|route|url|endpoint|requested url|resource)\b.{0,40})?not found\W*$|"
    r"cannot post\b|invalid url\b|unexpected endpoint\b|$)",
    re.IGNORECASE,
)
_LACKS = {
    "text-to-image": "does not make images",
    "image-to-image": "does not change images",
    "text-to-video": "does not make videos",
    "image-to-video": "does not make videos",
    "feature-extraction": "does not make embeddings",
    "text-ranking": "does not rank texts (rerank)",
    "automatic-speech-recognition": "does not transcribe speech",
    "text-to-speech": "does not have text to speech",
    "text-generation": "does not complete raw text (text()); it may have chat()",
    "conversational": "does not have chat completions",
}
_ROUTES = (
    ("/images/generations", "text-to-image"),
    ("/images/edits", "image-to-image"),
    ("/embeddings", "feature-extraction"),
    ("/embed", "feature-extraction"),
    ("/pipeline/feature-extraction", "feature-extraction"),
    ("/rerank", "text-ranking"),
    ("/audio/transcriptions", "automatic-speech-recognition"),
    ("/audio/speech", "text-to-speech"),
    ("/chat/completions", "conversational"),
    ("/completions", "text-generation"),
)
_ELSEWHERE = "use another one with inference.at(url), Client(inference_url=...), or provider= and its key in provider_keys="


def unsupported_task(task: str) -> Unsupported:
    """Return the error for a task that the small model of ``Client.local()`` does not have."""
    what = _LACKS.get(task, f"does not have {task}")
    return Unsupported(f"the small model of Client.local() generates text and {what}; {_ELSEWHERE}")


def explain_missing_route(error: APIStatusError, base_url: str, *, embedded: bool) -> HFClientError:
    """Return a clear error if *error* means that the server at *base_url* does not have a task; else *error* itself.

    Args:
        error: A status error, of that server or of another one.
        base_url: Base URL of the server.
        embedded: ``Client.local()`` runs the server: its own advice on how to start it is left out.
    """
    if error.status_code not in _NO_ROUTE or error.method != "POST" or (error.status_code == 404 and not _PLAIN.search(error.message)):
        return error
    try:
        here = origin_of(error.url or "") == origin_of(base_url)
    except InvalidInputError:
        return error
    if not here:
        return error
    path = urlsplit(error.url or "").path.rstrip("/")
    task = next((task for end, task in _ROUTES if path.endswith(end)), "")
    if not task and "/models/" not in path and path:
        return error
    what = _LACKS.get(task, "does not have pipelines (classify(), caption(), task())")
    own_words = f" ({error.message})" if error.status_code == 501 and not embedded else ""
    return restated(type(error), error, f"this server {what}{own_words}; {_ELSEWHERE}")
