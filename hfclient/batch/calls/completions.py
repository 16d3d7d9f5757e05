"""The calls that use chat completions: `chat`, `parse` and `run_tools`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from hfclient.batch.calls.base import MethodCall
from hfclient.batch.formats.result_rows import AnswerFields
from hfclient.batch.items import Item
from hfclient.batch.jobs import Outcome
from hfclient.errors import InvalidInputError
from hfclient.inference.options import ChatOptions, ParseOptions, ToolOptions
from hfclient.inference.routing.candidates import named_providers
from hfclient.inference.schemas.tools import as_tools
from hfclient.inference.schemas.type_schemas import SchemaMismatch, convert
from hfclient.inference.structured_output import Shape, parse_whole
from hfclient.inference.tool_loop import run_tools
from hfclient.types import Reply

if TYPE_CHECKING:
    from hfclient.inference import InferenceClient

__all__ = ["ChatCall", "ParseCall", "ToolsCall"]


class _CompletionCall(MethodCall):
    """A call that uses chat completions; its value, or what it was read from, is a `Reply`."""

    files = ("images", "files")

    def model_kind(self, item: Item, options: Mapping[str, Any]) -> Any:
        has_images = options.get("images") is not None or _has_images(item.input)
        return has_images, bool(options.get("tools")), repr(options.get("provider"))

    def find_model(self, kind: Any, options: Mapping[str, Any]) -> str | None:
        has_images, has_tools, _ = kind
        providers = named_providers(options.get("provider"))
        return self._client._service.default_model(providers, accepts_images=has_images, calls_tools=has_tools)


class ChatCall(_CompletionCall):
    """`InferenceClient.ask` for each item."""

    name = "chat"
    options_type: ClassVar[type] = ChatOptions

    def run(self, item: Item) -> Reply:
        return self._client._completions.ask(item.input, self.options_for(item))  # their types have been checked

    def encode(self, value: Reply) -> Any:
        return value.to_dict()

    @staticmethod
    def from_json(data: Any) -> Reply:
        return Reply.from_dict(data)


class ToolsCall(ChatCall):
    """`InferenceClient.run_tools` for each item; its answers come in one piece."""

    name = "run_tools"
    needs_threads = True  # for the caller's functions
    options_type: ClassVar[type] = ToolOptions
    own = ("tools",)

    def __init__(self, client: InferenceClient, options: Mapping[str, Any]) -> None:
        super().__init__(client, options)
        if options.get("tools") is None:
            raise InvalidInputError('call="run_tools" needs tools=, a list of functions')
        as_tools(options["tools"])

    def run(self, item: Item) -> Reply:
        options = self.options_for(item)
        return run_tools(self._client._completions, item.input, options.pop("tools"), options, in_pieces=False).result()


class ParseCall(_CompletionCall):
    """`InferenceClient.parse` for each item; its answers come in one piece."""

    name = "parse"
    options_type: ClassVar[type] = ParseOptions
    own = ("into",)
    shared = (*MethodCall.shared, "into")

    def __init__(self, client: InferenceClient, options: Mapping[str, Any]) -> None:
        super().__init__(client, options)
        if "into" not in options:
            raise InvalidInputError('call="parse" needs into=, a class')
        self._shape = Shape.of(options["into"], strict=options.get("strict", True))  # for all items

    @property
    def fields(self) -> AnswerFields | None:
        """The fields of the answers; None if they are not objects of one class."""
        shape = self._shape
        return None if shape.wrapped else AnswerFields(tuple(shape.bare["properties"]), self.encode)

    def run(self, item: Item) -> Outcome:
        options = self.options_for(item)
        del options["into"]
        shape = self._shape
        if (strict := options.get("strict", shape.strict)) != shape.strict:
            shape = Shape.of(shape.into, strict=strict)
        parsed = parse_whole(self._client._completions, item.input, shape, options)
        return Outcome(parsed.value, parsed.reply)

    def encode(self, value: Any) -> Any:
        if callable(dump := getattr(value, "model_dump", None)):
            return dump(mode="json", by_alias=True)
        return msgspec.to_builtins(value, str_keys=True, enc_hook=_encode_other)

    def decode(self, data: Any) -> Any:
        try:
            return convert(data, self._shape.into)
        except SchemaMismatch as error:
            raise InvalidInputError(f"a stored answer does not fit {self._shape.name}: {error}; into= has another class now") from error


def _encode_other(value: Any) -> Any:
    """Return a value that msgspec does not know as JSON: a pydantic model, a path."""
    dump = getattr(value, "model_dump", None)
    return dump(mode="json", by_alias=True) if callable(dump) else str(value)


def _has_images(prompt: Any) -> bool:
    """Whether a list of messages has images, as far as their keys and types tell."""
    if isinstance(prompt, str) or not isinstance(prompt, (list, tuple)):
        return False
    for message in prompt:
        if not isinstance(message, Mapping):
            continue
        content = message.get("content")
        parts = content if isinstance(content, list) else []
        if message.get("images") or any(isinstance(part, Mapping) and "image" in str(part.get("type")) for part in parts):
            return True
    return False
