"""Limits of the response data that are held in memory."""

from __future__ import annotations

from typing import Any

from attrs import Attribute, field, frozen

from hfclient.decoding.frames import MAX_LINE
from hfclient.errors import InvalidInputError, ProtocolError
from hfclient.values import Value

__all__ = ["Limits", "too_long"]

_MIB = 1024 * 1024


def _positive(instance: object, attribute: Attribute[Any], value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidInputError(f"Limits.{attribute.name} must be a positive number of bytes, not {value!r}")


@frozen(kw_only=True, eq=False, repr=False)
class Limits(Value):
    """Maximum number of bytes of a response in memory, after decompression.

    A longer response raises a `ProtocolError` that names the limit, before any byte is read if its ``Content-Length``
    exceeds the limit. Data that are saved to a file are not limited.

    Attributes:
        line: One line of a stream, or one server-sent event. 64 MiB; some servers send an image in one.
        stream: All of one event stream, keep-alives included. 512 MiB.
        body: A response that is read as a whole, such as a list in JSON. 64 MiB.
        file: A file, an image, a video or audio that is returned as bytes. 1 GiB.
    """

    line: int = field(default=MAX_LINE, validator=_positive)
    stream: int = field(default=512 * _MIB, validator=_positive)
    body: int = field(default=64 * _MIB, validator=_positive)
    file: int = field(default=1024 * _MIB, validator=_positive)


def too_long(
    limits: Limits, name: str, url: str, *, promised: int | None = None, frame: str | None = None
) -> ProtocolError:
    """Return the error for a response from *url* that exceeds the limit called *name*."""
    limit: int = getattr(limits, name)
    how = f"is longer than {limit:,} bytes" if promised is None else f"promises {promised:,} bytes, more than {limit:,}"
    return ProtocolError(f"the answer from {url} {how} (Limits.{name})", frame=frame)
