"""The calls of a batch: which method answers an item, and how its value is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from hfclient.batch.calls.completions import ChatCall, ParseCall, ToolsCall
from hfclient.batch.calls.embeddings import EmbedCall
from hfclient.batch.calls.media import ImageCall, SpeakCall
from hfclient.batch.calls.tasks import CaptionCall, ClassifyCall, TaskCall, TranscribeCall
from hfclient.batch.items import Item
from hfclient.errors import InvalidInputError

if TYPE_CHECKING:
    from hfclient.batch.calls.base import MethodCall
    from hfclient.inference import InferenceClient
    from hfclient.transport import Retry, Timeouts, Transport

__all__ = ["CALLS", "Call", "ChatCall", "PackedCall", "PreparedCall", "call_for", "read_value"]


class Call(Protocol):
    """One kind of call, with the options of the batch. It can be pickled if its client can."""

    name: str
    """As in `InferenceClient.map`."""
    needs_threads: bool
    """Whether :meth:`run` has to be in a thread of its own: it runs functions of the caller (tools), or reads streams of a chat."""
    keeps_notes: bool
    """Whether :meth:`run` uses ``Item.notes``, to continue what an earlier run has begun."""
    has_files: bool
    """Whether the values may have the content of files."""

    def with_client(self, *, transport: Transport | None, timeouts: Timeouts, retry: Retry) -> Call:
        """Return the same call over another transport, for the engine of a batch."""

    def run(self, item: Item) -> Any:
        """Return the value for *item*, or an `Outcome` with it; blocks."""

    def shared_settings(self) -> dict[str, Any]:
        """Return the settings that do not depend on the item: the call, the server and the options. A checkpoint describes its run so."""

    def settings(self, item: Item) -> dict[str, Any]:
        """Return all that decides the answer: the shared settings, the model, the input, and the options of the item.

        They are the source of the item's key (`hfclient.batch.checkpoints.keys`), in which bytes, paths and images count by their content.
        """

    def encode(self, value: Any) -> Any:
        """Return *value* as JSON, for a checkpoint. The content of a file stays bytes, which the checkpoint stores apart."""

    def decode(self, data: Any) -> Any:
        """Return the value that :meth:`encode` was given."""


@runtime_checkable
class PackedCall(Call, Protocol):
    """A call that answers several items with one request."""

    pack_size: int
    """Most items in one request."""

    def pack(self, items: Sequence[Item]) -> Item:
        """Return one item for *items*, which have equal options; :meth:`run` returns the list of their values for it."""


@runtime_checkable
class PreparedCall(Call, Protocol):
    """A call that looks something up for all items: the default model."""

    def prepare(self, item: Item) -> None:
        """Look it up, if *item* needs it and it is not known yet. Called in the caller's thread before the item is asked."""


CALLS: Mapping[str, type[MethodCall]] = {
    call.name: call
    for call in (
        ChatCall, ParseCall, ToolsCall, EmbedCall, ClassifyCall, CaptionCall, TranscribeCall, ImageCall, SpeakCall, TaskCall,
    )
}  # fmt: skip
"""The calls by the name that `InferenceClient.map` takes."""


def read_value(name: str, data: Any) -> Any:
    """Return the value of a checkpoint's record of the call *name*; an object of `parse` stays JSON, because its class is not stored."""
    if name == "request":  # of OpenAI's batch files
        from hfclient.batch.formats.request_call import RequestCall

        return RequestCall.from_json(data)
    if name == "conversation":  # of `Client.map`
        from hfclient.batch.calls.conversations import ConversationCall

        return ConversationCall.from_json(data)
    found = CALLS.get(name)
    return data if found is None else found.from_json(data)


def call_for(client: InferenceClient, name: str, options: Mapping[str, Any]) -> MethodCall:
    """Return the call *name* with the options of its method.

    Raises:
        InvalidInputError: There is no call of that name, or an option has another type.
        TypeError: The method has no option of that name.
    """
    if not isinstance(name, str):
        raise InvalidInputError(f'call= is the name of a method, not {type(name).__name__}, and comes after the items: map(items, "chat")')
    found = CALLS.get(name)
    if found is None:
        raise InvalidInputError(f"call={name!r} is unknown; it is one of {', '.join(CALLS)}")
    return found(client, options)
