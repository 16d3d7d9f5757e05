"""The recorded answers of real servers, and the expected results. See tests/fixtures/chat-ui-*/README.md."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from hfclient.chat.legacy.devalue import unflatten
from hfclient.chat.wire.messages import ConversationState, parse_conversation
from hfclient.chat.wire.superjson import decode
from hfclient.events import AnyEvent, Reasoning, Token
from hfclient.types import Message

FIXTURES = Path(__file__).parents[1] / "fixtures"
VERSIONS = ("0.20", "0.10", "0.9.5")


@frozen
class Recording:
    """One answer: the bytes of the stream, and the recorded data of its request."""

    version: str
    name: str
    stream: bytes = field(repr=False)
    data: dict[str, Any] = field(repr=False)

    def __str__(self) -> str:
        return f"{self.version}-{self.name}"

    @property
    def log(self) -> str | None:
        """The event log of the run, as it was served from its start (0.20)."""
        return self.data["resume"] or None

    @property
    def lines(self) -> list[bytes]:
        """The stream by lines, each with its end."""
        parts = self.stream.split(b"\n")
        return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])

    @property
    def state(self) -> ConversationState:
        """The conversation as the server had it afterwards."""
        data = self.data["conversation"]
        if "json" in data:
            return parse_conversation(decode(copy.deepcopy(data)))  # decoding changes it in place
        return parse_conversation(unflatten(data["nodes"][-1]["data"]))

    @property
    def answer(self) -> Message:
        return self.state.messages[-1]


def _load(version: str, path: Path) -> Recording:
    return Recording(version, path.stem, path.read_bytes(), json.loads(path.with_suffix(".json").read_text("utf-8")))


RECORDINGS = [
    _load(version, path) for version in VERSIONS for path in sorted((FIXTURES / f"chat-ui-{version}").glob("*.jsonl"))
]


def recording(name: str, version: str = "0.20") -> Recording:
    return next(item for item in RECORDINGS if (item.version, item.name) == (version, name))


def joined(events: Iterable[AnyEvent]) -> list[AnyEvent]:
    """Return *events* with neighbouring pieces of text, and of reasoning, joined."""
    found: list[AnyEvent] = []
    for event in events:
        last = found[-1] if found else None
        if isinstance(event, (Token, Reasoning)) and type(last) is type(event):
            found[-1] = evolve(last, text=last.text + event.text)  # type: ignore[union-attr]
        else:
            found.append(event)
    return found
