"""Values of decoded JSON by type: a value of another type counts as absent."""

from __future__ import annotations

import datetime
import math
from typing import Any

import pytest

from hfclient.decoding import json_values

UTC = datetime.timezone.utc
ODD: list[Any] = [None, True, False, 0, 1, 1.5, math.nan, "", "x", b"x", [], [1], {}, {"a": 1}]


@pytest.mark.parametrize(
    ("read", "kept"),
    [
        (json_values.text_or_none, ["x"]),
        (json_values.int_or_none, [0, 1]),
        (json_values.number_or_none, [0, 1, 1.5, math.nan]),
        (json_values.list_or_empty, [[], [1]]),
        (json_values.object_or_empty, [{}, {"a": 1}]),
    ],
)
def test_each_type(read: Any, kept: list[Any]) -> None:
    """A value of the type is returned as it is, any other one as None or empty."""
    found = [value for value in ODD if read(value) is value and value is not None]
    assert str(found) == str(kept)
    assert all(read(value) in (None, [], {}) for value in ODD if str(value) not in map(str, kept) or isinstance(value, bool))


def test_is_int() -> None:
    """True and False are not integers."""
    assert [value for value in (0, -1, True, False, 1.0, "1") if json_values.is_int(value)] == [0, -1]
    assert not json_values.is_int(True)


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("1970-01-01T00:00:00.000Z", datetime.datetime(1970, 1, 1, tzinfo=UTC)),
        ("1970-01-01T01:00:00+01:00", datetime.datetime(1970, 1, 1, tzinfo=UTC)),
        ("1970-01-01", datetime.datetime(1970, 1, 1, tzinfo=UTC)),
        ("+012026-01-01T00:00:00.000Z", None),
        ("0001-01-01T00:00:00+01:00", None),
        ("", None),
        (1234, None),
        (None, None),
    ],
)
def test_dates(text: Any, date: datetime.datetime | None) -> None:
    """A date is in UTC; what is not a date, or one that Python does not have, is None."""
    assert json_values.date_or_none(text) == date


def test_json() -> None:
    """A body that is not JSON is None, for bytes and text."""
    assert json_values.json_or_none(b'{"a": 1}') == json_values.json_or_none('{"a": 1}') == {"a": 1}
    assert [json_values.json_or_none(body) for body in (None, b"", "", "<html>", b"{", b"[" * 100_000)] == [None] * 6
