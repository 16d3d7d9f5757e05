"""Dialects of ``response_format``: each kind of server requests a JSON schema in its own form.

Data and pure functions, except `detect_dialect`. A server that does not know a form ignores it silently, so each answer is
validated.

Reference: docs/protocol/inference ("response_format").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
from attrs import frozen

from hfclient.errors import APIStatusError, InvalidInputError, ProtocolError, TransportError
from hfclient.inference.schemas.json_schema import Schema, can_be_strict
from hfclient.inference.server_urls import models_url
from hfclient.transport import Request, Session

__all__ = [
    "DIALECTS",
    "PROVIDER_DIALECTS",
    "SchemaFormat",
    "detect_dialect",
    "dialect_for",
    "instruction_for",
    "response_format",
    "response_format_fields",
    "schema_text",
]

DIALECTS = ("openai", "tgi", "json_object", "together", "nebius", "sambanova", "json", "prompt")
"""Forms of a request for a schema.

``openai``: most servers, and the router; ``tgi``: text-generation-inference; ``json_object``: the schema beside the type;
``together``: the schema without a name; ``nebius``: OpenAI's with ``guided_json``; ``sambanova``: OpenAI's, never strict;
``json``: any JSON, with the schema in the prompt; ``prompt``: the schema in the prompt only, for all other servers.
"""

PROVIDER_DIALECTS: Mapping[str, str] = {
    "cohere": "json_object",
    "fireworks-ai": "json_object",
    "hf-inference": "tgi",
    "nebius": "nebius",
    "sambanova": "sambanova",
    "together": "together",
}
"""Providers whose own routes do not accept OpenAI's form."""

_HOSTS = {
    "api.cohere.com": "cohere",
    "api.fireworks.ai": "fireworks-ai",
    "api.together.xyz": "together",
    "api.sambanova.ai": "sambanova",
    "api.studio.nebius.ai": "nebius",
}
_ROUTER = "router.huggingface.co"
_NAME = re.compile(r"[^A-Za-z0-9_-]+")


def dialect_for(base_url: str, provider: str | None = None) -> str:
    """Return the dialect of the server at *base_url*, judged by its address.

        >>> dialect_for("https://router.huggingface.co/v1"), dialect_for("https://api.together.xyz/v1")
        ('openai', 'together')

    Args:
        base_url: A base URL of chat completions. The router's ``/v1`` translates for all providers; its other routes pass
            requests on unchanged.
        provider: The provider behind it, if known.
    """
    if provider is not None:
        return PROVIDER_DIALECTS.get(provider, "openai")
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    owner = parts.path.strip("/").partition("/")[0] if host == _ROUTER else _HOSTS.get(host, "")
    return PROVIDER_DIALECTS.get(owner, "openai")


def detect_dialect(session: Session, base_url: str) -> str | None:
    """Request ``GET /info``, which text-generation-inference answers, and return the dialect of the server at *base_url*.

    None if it is another server, refuses or does not answer; then the address decides.
    """
    root = models_url(base_url).partition("?")[0].removesuffix("/models").removesuffix("/v1")
    try:
        info = session.send(Request.read(f"{root}/info")).json()
    except (APIStatusError, ProtocolError, TransportError):
        info = None
    if isinstance(info, dict) and ("max_total_tokens" in info or "text-generation" in str(info.get("router"))):
        return "tgi"
    return None


def response_format(schema: Schema, *, name: str, dialect: str, strict: bool = True) -> dict[str, Any]:
    """Return the request fields for *schema*: ``response_format``, and others that some servers need.

        >>> response_format({"type": "object"}, name="x", dialect="tgi")
        {'response_format': {'type': 'json_object', 'value': {'type': 'object'}}}

    Args:
        schema: A complete schema with an object at its root.
        name: Its name; letters, digits, ``_`` and ``-``.
        dialect: One of `DIALECTS`.
        strict: Request OpenAI's strict mode, if the schema allows it.

    Raises:
        InvalidInputError: The dialect is unknown.
    """
    name = _NAME.sub("_", name).strip("_")[:64] or "answer"
    named = {"name": name, "strict": strict and can_be_strict(schema) and dialect != "sambanova", "schema": schema}
    match dialect:
        case "openai" | "sambanova":
            return {"response_format": {"type": "json_schema", "json_schema": named}}
        case "nebius":
            return {"response_format": {"type": "json_schema", "json_schema": named}, "guided_json": schema}
        case "tgi":
            return {"response_format": {"type": "json_object", "value": schema}}
        case "json_object":
            return {"response_format": {"type": "json_object", "schema": schema}}
        case "together":
            return {"response_format": {"type": "json_schema", "schema": schema}}
        case "json":
            return {"response_format": {"type": "json_object"}}
        case "prompt":
            return {}
    raise InvalidInputError(f"unknown dialect {dialect!r}; known are {', '.join(DIALECTS)}, and 'detect'")


@frozen
class SchemaFormat:
    """A schema for an answer; its request fields depend on the server that the request goes to.

    Attributes:
        schema: A complete schema with an object at its root.
        name: Its name.
        strict: Request OpenAI's strict mode, if the schema allows it.
        dialect: One of `DIALECTS`; None chooses it by the address.
    """

    schema: Schema
    name: str
    strict: bool = True
    dialect: str | None = None

    def fields_for(self, url: str, provider: str | None = None) -> dict[str, Any]:
        """Return the fields of a request to *url*; *provider* is the provider that answers there, if known."""
        dialect = self.dialect or dialect_for(url, provider)
        return response_format(self.schema, name=self.name, dialect=dialect, strict=self.strict)


def response_format_fields(wanted: Mapping[str, Any] | SchemaFormat, url: str, provider: str | None = None) -> dict[str, Any]:
    """Return the fields of a request to *url* for the response format *wanted*.

        >>> envelope = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
        >>> response_format_fields(envelope, "https://api.together.xyz/v1")
        {'response_format': {'type': 'json_schema', 'schema': {'type': 'object'}}}

    Args:
        wanted: OpenAI's ``json_schema`` form, which is translated for other servers; any other dict stays unchanged.
        url: The URL of the request.
        provider: The provider that answers there, if known.
    """
    if isinstance(wanted, SchemaFormat):
        return wanted.fields_for(url, provider)
    inner = wanted.get("json_schema") if wanted.get("type") == "json_schema" else None
    dialect = dialect_for(url, provider)
    if dialect == "openai" or not isinstance(inner, Mapping) or not isinstance(inner.get("schema"), Mapping):
        return {"response_format": wanted}
    named = str(inner.get("name") or "answer")
    return response_format(dict(inner["schema"]), name=named, dialect=dialect, strict=inner.get("strict") is True)


def instruction_for(schema: Schema, dialect: str | None) -> str | None:
    """Return the text for the prompt with the schema, for the dialects that need it."""
    if dialect not in ("json", "prompt"):
        return None
    return f"Answer with JSON only, without any other text. It must fit this JSON schema: {schema_text(schema)}"


def schema_text(schema: Schema) -> str:
    """Return *schema* as text for a prompt."""
    return msgspec.json.encode(schema).decode()
