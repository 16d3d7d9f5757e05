"""Options of chat completions: those that few servers know, and checks of values.

Reference: docs/protocol/inference ("request fields").
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypedDict

from hfclient.arguments.option_hints import refuse_unknown
from hfclient.errors import InvalidInputError

__all__ = ["ChatOptions", "chat_options", "checked", "composed_options", "stops_of"]

_MOST_SEED = 2**63 - 1


class ChatOptions(TypedDict, total=False):
    """The options of `InferenceClient.chat` that few servers know; it describes them."""

    n: int | None
    max_completion_tokens: int | None
    tool_prompt: str | None
    metadata: Mapping[str, str] | None
    store: bool | None
    service_tier: str | None
    modalities: Sequence[str] | None
    audio: Mapping[str, Any] | None
    prediction: Mapping[str, Any] | None
    verbosity: str | None
    web_search_options: Mapping[str, Any] | None
    safety_identifier: str | None


def chat_options(options: Mapping[str, Any], chat: Callable[..., Any]) -> dict[str, Any]:
    """Return *options*, all of which `ChatOptions` has; *chat* has others.

    Raises:
        TypeError: One has a name that nobody knows.
    """
    refuse_unknown("chat", options, _names_of(chat))
    return dict(options)


def composed_options(call: str, options: Iterable[str], own: Iterable[str], chat: Callable[..., Any]) -> None:
    """Refuse *options* that neither *chat* has nor the call that is made of chats, whose *own* options a hint knows.

    Raises:
        TypeError: One has a name that nobody knows.
    """
    if known := _names_of(chat):
        refuse_unknown(call, options, [*own, *known])


def _names_of(chat: Callable[..., Any]) -> list[str]:
    """Return the names of all options of *chat*; none if it does not tell, because it is somebody's wrapper."""
    own = getattr(inspect.unwrap(chat), "__kwdefaults__", None)
    return [*own, *ChatOptions.__annotations__] if isinstance(own, dict) else []


def stops_of(stop: Any) -> tuple[str, ...]:
    """Return the texts at which to stop: *stop* is one, or several.

    Raises:
        InvalidInputError: One is empty, or no text.
    """
    if stop is None:
        return ()
    stops = (stop,) if isinstance(stop, str) or not isinstance(stop, Iterable) else tuple(stop)
    if not all(isinstance(text, str) and text for text in stops):
        raise InvalidInputError("stop is a text, or several, none of them empty")
    return stops


def checked(body: Mapping[str, Any]) -> None:
    """Refuse values that no server can take: JSON would make null of them, or a counter overflow.

    Raises:
        InvalidInputError: A number is not finite, or the seed is out of range.
    """
    for name, value in body.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidInputError(f"{name} is no number: {value!r}")
    seed = body.get("seed")
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= _MOST_SEED):
        raise InvalidInputError(f"seed is a whole number from 0 to 2**63 - 1, not {seed!r}")
    if isinstance(body.get("response_format"), type):
        raise InvalidInputError("response_format is a dict; parse(prompt, into=...) asks for an object of a class")
