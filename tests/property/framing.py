"""Server-sent events in the forms that servers write, and chunk boundaries at any place."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

from hypothesis import strategies as st

__all__ = ["cut", "pieces", "places", "written"]

places = st.lists(st.integers(0, 1 << 16), max_size=12)


def written(draw: Any, chunk: Any) -> bytes:
    """One event in one of the forms that servers write."""
    data = json.dumps(chunk, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    end = draw(st.sampled_from([b"\n\n", b"\n\n", b"\r\n\r\n", b"\r\r", b"\n", b"\n\n\n"]))
    begin = draw(
        st.sampled_from(
            [b"data: ", b"data: ", b"data:", b"event: error\ndata: ", b": ping\n\ndata: ", b"id: 1\ndata: ", b""]
        )
    )
    return begin + data + end


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """Return *data* in chunks."""
    edges = [0, *sorted(place % (len(data) + 1) for place in at), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def pieces(data: bytes, at: list[int]) -> list[list[bytes]]:
    """Return *data* in chunks: cut at given places, at every byte, and after every event, as most servers send it."""
    return [cut(data, at), [data[i : i + 1] for i in range(len(data))], re.findall(rb"(?s).+?\n\n|.+", data)]
