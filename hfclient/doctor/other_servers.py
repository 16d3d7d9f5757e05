"""What a server is that does not answer as expected, and what to do with it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from attrs import evolve

from hfclient.credentials import HUGGING_CHAT, is_hugging_face
from hfclient.decoding.html_pages import describe_body, title_in
from hfclient.decoding.json_values import json_or_none
from hfclient.doctor.results import counted
from hfclient.errors import APIStatusError, HFClientError, InvalidInputError
from hfclient.inference.models.served_models import parse_models
from hfclient.inference.server_urls import bare_url, models_url
from hfclient.transport import Clock, Request, Session, Timeouts

__all__ = ["LOG_IN_THERE", "identified", "is_chat_server", "is_inference_server"]

LOG_IN_THERE = (
    "Pass the cookies of a browser that is logged in there (cookies= or HFCLIENT_COOKIE), or a token= that the gateway accepts."
)
_START = 64 * 1024  # bytes of a page
_SHORT_TEXT = 100  # characters of a text without a title
_LIST = 4 * 1024 * 1024  # bytes of a list of models
_SHORT = Timeouts(connect=3.0, first_token=3.0, idle=3.0, total=3.0)
_PRODUCTS = {
    "ollama": "Ollama",
    "open webui": "Open WebUI",
    "librechat": "LibreChat",
    "lm studio": "LM Studio",
    "gradio": "a Gradio app",
    "streamlit": "a Streamlit app",
    "jupyter": "Jupyter",
    "llama.cpp": "llama.cpp",
    "vllm": "vLLM",
    "text generation inference": "text-generation-inference",
}
"""Words in the title of other servers that are taken for a chat-ui."""


def identified(base: str, session: Session, error: HFClientError) -> tuple[str, str]:
    """Return what the server at *base* is, and the remedy.

    Args:
        base: The base URL that should be a chat-ui's.
        session: Sends a few small reads without credentials.
        error: The error of the first request.
    """
    bare = session.bare()
    parts = urlsplit(base)
    if is_hugging_face(base) and parts.path.rstrip("/") != "/chat":
        return f"{base} is the Hub, not HuggingChat", f"Use {HUGGING_CHAT}"
    segments = [segment for segment in parts.path.split("/") if segment]
    root = f"{parts.scheme}://{parts.netloc}"
    above = [root + "".join(f"/{segment}" for segment in segments[:count]) for count in range(len(segments) - 1, -1, -1)]
    for place in dict.fromkeys((f"{base}/chat", *above[:4], f"{root}/chat")):
        if place != base and is_chat_server(place, bare):
            return f"{base} is not a chat-ui, but {place} is", f"Use {place} as the base URL (--url {place})"
    if (count := is_inference_server(base, bare)) is not None:
        return (
            f"{base} is an OpenAI-compatible server ({counted(count, 'model')}), not a chat-ui",
            f'Use it for inference: Client(inference_url="{base}").inference.chat(...), or --inference-url {base}; '
            f"hfclient serve --upstream {_versioned(base)} puts a chat-ui in front of it",
        )
    described = _described(base, bare, error)
    if "a login page" in described:
        return f"{base} shows {described} instead of the server", LOG_IN_THERE
    return f"{base} is not a chat-ui: {described}", (
        "Check the base URL. HuggingChat is https://huggingface.co/chat, a self-hosted chat-ui usually http://host:3000, without "
        "the path of a page."
    )


def _versioned(base: str) -> str:
    return models_url(base).removesuffix("/models")


def _described(base: str, session: Session, error: HFClientError) -> str:
    body = _read(f"{base}/", session)
    if body is None:
        return error.message
    page = body.decode("utf-8", "replace")
    # The whole page may name other products.
    text = (title_in(page) or page[:_SHORT_TEXT]).lower()
    server = next((name for word, name in _PRODUCTS.items() if word in text), None)
    status = f"status {error.status_code}, " if isinstance(error, APIStatusError) and error.status_code >= 400 else ""
    kind = describe_body(body, "something without a page")
    return f"{status}{kind}" + (f", {server}" if server else "")


def is_chat_server(base: str, session: Session) -> bool:
    """Whether the server at *base* is a chat-ui with a v2 API."""
    data = json_or_none(_read(f"{base}/api/v2/feature-flags", session))
    flags = data.get("json") if isinstance(data, dict) else None
    return isinstance(flags, dict) and "loginEnabled" in flags


def is_inference_server(base: str, session: Session) -> int | None:
    """Return the number of models of an OpenAI-compatible server; None if it is not one."""
    try:
        urls = dict.fromkeys((models_url(base), models_url(bare_url(base))))
    except (HFClientError, InvalidInputError):
        return None
    for url in urls:
        data: Any = json_or_none(_read(url, session, _LIST))
        if isinstance(data, dict) and isinstance(data.get("data"), list):
            try:
                return len(parse_models(data))
            except HFClientError:
                continue
    return None


def _read(url: str, session: Session, limit: int = _START) -> bytes | None:
    """Return the start of an answer, or None."""
    try:
        request = evolve(Request.read(url), whole=None, retryable=False, clock=Clock(_SHORT))
        return session.send(request).read_start(limit)
    except HFClientError:
        return None
