"""URLs of inference servers and names of models, as pure functions.

Reference: docs/protocol/inference ("URLs", "model suffixes").
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

from hfclient.credentials import ROUTER_URL, is_deployment, origin_of
from hfclient.errors import InvalidInputError, Unsupported
from hfclient.transport.request import safe_url

__all__ = [
    "bare_url",
    "chat_url",
    "is_endpoint",
    "is_router",
    "model_for_provider",
    "models_url",
    "refuse_url",
    "root_url",
]

_CHAT = "/chat/completions"
_ROUTES = (
    *("/completions", "/embeddings", "/models", "/responses", "/images/generations", "/images/edits"),
    *("/audio/transcriptions", "/audio/translations", "/audio/speech"),
)
# /v1, /v1beta, /api/paas/v4, /v1/gateway/name/compat, /v1beta/openai, /openai/deployments/name
_VERSIONED = re.compile(r"/v\d+(?:\.\d+)?(?:(?:alpha|beta|preview)\d*)?(?:/|$)|/openai$|/deployments/[^/]+$")
_SUFFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def chat_url(base: str) -> str:
    """Return the URL of chat completions, for any form of a base URL.

        >>> chat_url("http://localhost:8080"), chat_url("http://h/v1/?a=b")
        ('http://localhost:8080/v1/chat/completions', 'http://h/v1/chat/completions?a=b')
        >>> chat_url("https://api.z.ai/api/paas/v4"), chat_url("https://h/openai/deployments/gpt/?api-version=1")
        ('https://api.z.ai/api/paas/v4/chat/completions', 'https://h/openai/deployments/gpt/chat/completions?api-version=1')

    ``/v1`` is added unless the base has a version or ends in ``/openai``. The URL of a whole route, such as one that ends in
    ``/chat/completions``, is taken as it is, for servers without a version in the path.

    Raises:
        InvalidInputError: *base* is not an absolute http(s) URL.
    """
    if _path(base).endswith(_CHAT):
        return base
    return _with_path(base, _root(base) + _CHAT)


def models_url(base: str) -> str:
    """Return the URL of the list of models, for the same forms as :func:`chat_url`.

        >>> models_url("https://h/v3/openai/chat/completions")
        'https://h/v3/openai/models'

    Raises:
        InvalidInputError: *base* is not an absolute http(s) URL.
    """
    return _with_path(base, _root(base) + "/models")


def root_url(base: str) -> str:
    """Return the URL that the routes are appended to, for the same forms as :func:`chat_url`.

        >>> root_url("http://localhost:8080")
        'http://localhost:8080/v1'

    Raises:
        InvalidInputError: *base* is not an absolute http(s) URL.
    """
    return _with_path(base, _root(base))


def bare_url(base: str) -> str:
    """Return the URL of a server without the ``/v1`` of its OpenAI-compatible routes.

    >>> bare_url("http://localhost:8080/v1")
    'http://localhost:8080'
    """
    return _with_path(base, _root(base).removesuffix("/v1"))


def _path(base: str) -> str:
    origin_of(base)  # for its check
    return urlsplit(base).path.rstrip("/")


def _root(base: str) -> str:
    """Return the path that the routes are appended to."""
    path = _path(base)
    for route in (_CHAT, *_ROUTES):
        if path.endswith(route):
            return path.removesuffix(route)
    return path if _VERSIONED.search(path) else path + "/v1"


def _with_path(base: str, path: str) -> str:
    parts = urlsplit(base)
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def is_router(base: str) -> bool:
    """Return whether *base* is Hugging Face's router, which needs a token and knows provider suffixes."""
    return origin_of(base) == origin_of(ROUTER_URL)


def is_endpoint(base: str) -> bool:
    """Return whether *base* is an Inference Endpoint, and not its OpenAI-compatible part.

    >>> is_endpoint("https://x.endpoints.huggingface.cloud"), is_endpoint("https://x.endpoints.huggingface.cloud/v1")
    (True, False)
    """
    return is_deployment(base) and _root(base) != _path(base) and not _path(base).endswith(_CHAT)


def refuse_url(model: object) -> None:
    """Refuse a URL as the name of a model.

    A name often comes from a user or a file, and must not send the prompt and the token to any host.

    Raises:
        InvalidInputError: *model* is a URL; the message says what to write instead.
    """
    if isinstance(model, str) and model.strip().lower().startswith(("http://", "https://")):
        raise InvalidInputError(
            f"{safe_url(model.strip())!r} is a URL, not a name of a model: use inference.at(url) for that server, or make "
            "a client for it with Client(inference_url=url)"
        )


def model_for_provider(model: str, provider: str | None, base: str) -> str:
    """Return the model's name for the server at *base*, with *provider* as the router's suffix.

        >>> model_for_provider("Qwen/Qwen3-8B", "cheapest", ROUTER_URL)
        'Qwen/Qwen3-8B:cheapest'

    Args:
        model: A name with or without a suffix of its own.
        provider: A provider's id, ``"fastest"``, ``"cheapest"``, ``"preferred"``, or None or ``"auto"`` for no suffix.
        base: Base URL of the server.

    Raises:
        InvalidInputError: *provider* cannot be a suffix, or *model* has another suffix.
        Unsupported: The server at *base* is not the router.
    """
    if provider is None or provider == "auto":
        return model
    if not _SUFFIX.fullmatch(provider):
        raise InvalidInputError(f"not a provider: {provider!r}; give its id, 'auto', 'fastest', 'cheapest' or 'preferred'")
    if not is_router(base):
        raise Unsupported(
            f"only Hugging Face's router picks providers; for provider={provider!r} leave inference_url at {ROUTER_URL}"
        )
    name, colon, suffix = model.rpartition(":")
    if colon and "/" in name and "/" not in suffix:
        if suffix != provider:
            raise InvalidInputError(f"the model {model!r} has another provider than provider={provider!r}")
        return model
    return f"{model}:{provider}"
