"""What a server of the caller's own cannot do, in words: "this server makes no pictures" instead of "File Not Found".

An OpenAI-compatible server has routes for some of the services only. Which ones it does not say; a route that it lacks is a
404, 405 or 501 in words of its own.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from hfclient.credentials import origin_of
from hfclient.errors import APIStatusError, HFClientError, InvalidInputError, Unsupported
from hfclient.transport.status_errors import restated

__all__ = ["TEXT_TASKS", "explain_missing_route", "unsupported_task"]

TEXT_TASKS = frozenset({"conversational", "text-generation"})
"""What the small model of ``Client.local()`` does."""

_NO_ROUTE = (404, 405, 501)
# What web servers say of a path that they do not have; of a model that is missing they say something else.
_PLAIN = re.compile(
    r"^\W*((http status )?404\b|((the )?(file|page|path|route|url|endpoint|requested url|resource)\b.{0,40})?not found\W*$|"
    r"cannot post\b|invalid url\b|unexpected endpoint\b|$)",
    re.IGNORECASE,
)
_LACKS = {
    "text-to-image": "makes no images (images)",
    "image-to-image": "changes no images (images)",
    "text-to-video": "makes no videos",
    "image-to-video": "makes no videos",
    "feature-extraction": "makes no embeddings",
    "text-ranking": "ranks no texts (rerank)",
    "automatic-speech-recognition": "transcribes no speech",
    "text-to-speech": "speaks no texts (text to speech)",
    "text-generation": "completes no raw texts (text()); it may have chat()",
    "conversational": "has no chat completions",
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
_ELSEWHERE = "ask another one with inference.at(url), Client(inference_url=...), or provider= and its key in provider_keys="


def unsupported_task(task: str) -> Unsupported:
    """Return the error for a task that the small model of ``Client.local()`` does not do."""
    what = _LACKS.get(task, f"does no {task}")
    return Unsupported(f"the small model of Client.local() writes texts and {what}; {_ELSEWHERE}")


def explain_missing_route(error: APIStatusError, base_url: str, *, embedded: bool) -> HFClientError:
    """Return *error* in words, if it says that the server at *base_url* lacks a service; else *error* itself.

    Args:
        error: A refusal, of that server or of another one.
        base_url: Base URL of the server.
        embedded: ``Client.local()`` runs it: advice of its own on how to start it is left out.
    """
    if error.status not in _NO_ROUTE or error.method != "POST" or (error.status == 404 and not _PLAIN.search(error.message)):
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
    what = _LACKS.get(task, "has no pipelines (classify(), caption(), task())")
    own_words = f" ({error.message})" if error.status == 501 and not embedded else ""
    return restated(type(error), error, f"this server {what}{own_words}; {_ELSEWHERE}")
