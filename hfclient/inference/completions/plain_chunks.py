"""The plain chunk: one choice with a piece of text, and no new field. Decoded by msgspec.

Each server writes chunks of one shape. The names of its fields are learned from chunks that were read in full
(:func:`shape_of`), and its decoder accepts no others: a chunk with a new field is not plain, so that no field is lost. Where a
value would mean more than text, only null is accepted.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, TypeAlias

import msgspec

__all__ = ["MISFITS", "PADDING", "REPEATED", "Shape", "has_reasoning", "plain_decoder", "shape_of"]

MISFITS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""The exceptions of msgspec for data of another type."""

REPEATED = frozenset({"id", "object", "created", "model", "system_fingerprint", "service_tier", "provider"})
"""Fields of the root that every chunk repeats."""

PADDING = ("obfuscation", "p")
"""Fields of the root that hide the length of a token: OpenAI's; Mistral's and Cloudflare's. They have no content."""

Shape: TypeAlias = "frozenset[tuple[str, str]]"
"""Names of fields with their place; the place of a repeated field without a value is "null"."""

_TYPES: Mapping[str, Mapping[str, Any]] = {
    "null": dict.fromkeys(REPEATED),
    "root": {
        **dict.fromkeys(REPEATED, Any),
        **dict.fromkeys(("usage", "error", "x_groq", "timings", "prompt_token_ids", "prompt_logprobs", "kv_transfer_params")),
        "prompt": Any,  # together: the prompt
        **dict.fromkeys(PADDING, str | None),
    },
    "choice": {
        **dict.fromkeys(("finish_reason", "logprobs", "usage", "stop_reason", "token_ids", "matched_stop")),
        **dict.fromkeys(("native_finish_reason", "content_filter_results", "hidden_states", "routed_experts")),
        "text": str | None,  # together: the content again
        "seed": int | None,
    },
    "delta": {
        **dict.fromkeys(("tool_calls", "function_call", "refusal", "audio", "annotations", "name", "reasoning_details")),
        "role": str | None,
        "token_id": int | None,  # together
    },
    "thoughts": dict.fromkeys(("reasoning", "reasoning_content", "reasoning_text"), str | None),
}


class _Delta(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    content: str | None = None


class _ReasoningDelta(_Delta, gc=False, forbid_unknown_fields=True):
    reasoning: str | None = None
    reasoning_content: str | None = None
    reasoning_text: str | None = None


class _Choice(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    delta: _Delta
    index: Literal[0] = 0


class _Chunk(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    choices: tuple[_Choice]


_nulls: Shape = frozenset()  # of the last chunks


def shape_of(chunk: Mapping[str, Any]) -> Shape:
    """Return the shape of the plain chunks that resemble *chunk*.

    It includes the fields of earlier answers that can only be null: servers leave them out of the first chunk, and the second
    one would have to be read in full because of its nulls.
    """
    global _nulls  # noqa: PLW0603 (a cache)
    shape = frozenset(_names_in(chunk))
    _nulls |= {(place, name) for place, name in shape if place in ("choice", "delta") and _TYPES[place][name] is None}
    return shape | _nulls


def _names_in(chunk: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in chunk.items():
        if name in _TYPES["root"]:
            yield ("null" if value is None and name in REPEATED else "root"), name
    choices = chunk.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    delta = choice.get("delta")
    delta = delta if isinstance(delta, dict) else {}
    for place, fields in (("choice", choice), ("delta", delta), ("thoughts", delta)):
        for name in fields:
            if name in _TYPES[place]:
                yield place, name


def has_reasoning(shape: Shape) -> bool:
    """Return whether deltas of this shape have reasoning besides the content."""
    return any(place == "thoughts" for place, _ in shape)


@functools.lru_cache(maxsize=128)
def plain_decoder(shape: Shape) -> Callable[[bytes], Any]:
    """Return a decoder for plain chunks of this shape, which raises one of `MISFITS` for others."""

    def struct(base: type[msgspec.Struct], *places: str, **inner: Any) -> Any:
        types = {name: _TYPES[place][name] for wanted in places for place, name in sorted(shape) if place == wanted}
        fields: list[Any] = [*inner.items(), *((name, kind, None) for name, kind in types.items())]
        return msgspec.defstruct(base.__name__, fields, bases=(base,), gc=False, forbid_unknown_fields=True)

    choice: Any = struct(_Choice, "choice", delta=struct(_ReasoningDelta if has_reasoning(shape) else _Delta, "delta"))
    chunk = struct(_Chunk, "null", "root", choices=tuple.__class_getitem__(choice))
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(chunk)
    return decoder.decode
