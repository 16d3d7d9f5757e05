"""Checks of the values of options.

Reference: docs/protocol/inference ("request fields").
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from hfclient.errors import InvalidInputError

__all__ = ["check_fields", "stop_sequences"]

_MAX_SEED = 2**63 - 1


def stop_sequences(stop: Any) -> tuple[str, ...]:
    """Return the stop sequences: *stop* is one, or several.

    Raises:
        InvalidInputError: One is empty, or is not a string.
    """
    if stop is None:
        return ()
    stops = (stop,) if isinstance(stop, str) or not isinstance(stop, Iterable) else tuple(stop)
    if not all(isinstance(text, str) and text for text in stops):
        raise InvalidInputError("stop is a string, or several, none of them empty")
    return stops


def check_fields(body: Mapping[str, Any]) -> None:
    """Refuse values that JSON cannot hold or that overflow on the server.

    Raises:
        InvalidInputError: A number is not finite, or the seed is out of range.
    """
    for name, value in body.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidInputError(f"{name} is not a finite number: {value!r}")
    seed = body.get("seed")
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= _MAX_SEED):
        raise InvalidInputError(f"seed is a whole number from 0 to 2**63 - 1, not {seed!r}")
    if isinstance(body.get("response_format"), type):
        raise InvalidInputError("response_format is a dict; parse(prompt, into=...) asks for an object of a class")
