"""A call that needs no server."""

from __future__ import annotations

from typing import Any

from typing_extensions import Self

from hfclient.batch.items import Item


class LocalCall:
    """The parts of a call beside ``run``: the input is all that decides an answer, and answers are JSON."""

    name = "local"
    needs_threads = True
    keeps_notes = False
    has_files = False

    def with_client(self, **options: Any) -> Self:
        return self

    def run(self, item: Item) -> Any:
        raise NotImplementedError

    def settings(self, item: Item) -> dict[str, Any]:
        return {"input": item.input}

    def encode(self, value: Any) -> Any:
        return value

    def decode(self, data: Any) -> Any:
        return data
