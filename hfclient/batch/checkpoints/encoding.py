"""JSON in checkpoints: fast, and of all values that Python's own JSON can write."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import msgspec

from hfclient.batch.errors import CheckpointError

__all__ = ["decode", "decode_into", "encode"]

_T = TypeVar("_T")

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Any)


def encode(value: Any) -> str:
    """Return *value* as JSON in one line.

    Raises:
        CheckpointError: It is not JSON.
    """
    try:
        try:
            return _encoder.encode(value).decode()
        except (UnicodeEncodeError, OverflowError):  # half surrogates, integers of more than 64 bits
            return json.dumps(msgspec.to_builtins(value), separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"an answer cannot be stored as JSON: {error}") from error


def decode(text: str | bytes) -> Any:
    """Return the value of :func:`encode`; raises ValueError."""
    return decode_into(_decoder, text)


def decode_into(decoder: msgspec.json.Decoder[_T], text: str | bytes) -> _T:
    """Return *text* as what *decoder* makes; raises ValueError."""
    try:
        return decoder.decode(text)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ValueError(str(error)) from error
    except ValueError:  # perhaps half a surrogate, which only the standard library decodes
        if ("\\ud" if isinstance(text, str) else b"\\ud") not in text:  # type: ignore[operator]
            raise
        value: _T = msgspec.convert(json.loads(text), decoder.type)
        return value
