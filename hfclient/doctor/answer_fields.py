"""The fields of servers' answers that this release knows, and how an answer differs from them.

A field that is new does no harm: hfclient keeps it. A field that is missing, or has another type, is reported with what no longer
works. Fields of all versions of chat-ui are known, and only those that every server of a version sends are expected of it.

Reference: docs/protocol/huggingchat ("endpoints", "older servers"); chat-ui's src/routes/api/v2 of August 2026, seen 2026-11-29.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import frozen

from hfclient.doctor.results import UPDATE, Finding, failed, ok, warning

__all__ = [
    "CONVERSATION",
    "FLAGS",
    "HUB_USER",
    "LIST_ENTRY",
    "MCP_SERVER",
    "MESSAGE",
    "MODEL",
    "OFFER",
    "PAGE",
    "SERVED_MODEL",
    "SETTINGS",
    "USER",
    "Fields",
    "compared",
]

_MAX_NAMED = 6
_TYPES: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "flag": (bool,),
    "number": (int, float),
    "list": (list, tuple),
    "object": (dict,),
    "date": (datetime.datetime, str),
}


@frozen
class Fields:
    """What is known about one kind of object.

    Attributes:
        what: The object, for messages.
        needed: Name and type of fields without which it cannot be used, each with what does not work then.
        expected: The same for fields that today's servers always send; without one of them something is missing.
        known: Names and types of all other fields; an empty type is not compared.
        is_open: Servers send many other fields, which are not reported.
    """

    what: str
    needed: Mapping[str, tuple[str, str]]
    expected: Mapping[str, tuple[str, str]] = {}
    known: Mapping[str, str] = {}
    is_open: bool = False

    def differences(self, data: Any, *, is_today: bool) -> tuple[dict[str, str], dict[str, str], set[str]]:
        """Return what *data* lacks to be used, what else it lacks or has otherwise, and its new fields.

        Args:
            data: One object.
            is_today: It comes from a server of today's version.
        """
        if not isinstance(data, Mapping):
            return {self.what: f"{self.what} is {_kind(data)} instead of an object"}, {}, set()
        bad: dict[str, str] = {}
        odd: dict[str, str] = {}
        for group, found, is_required in ((self.needed, bad, True), (self.expected, odd, is_today)):
            for name, (kind, lost) in group.items():
                if name not in data or (group is self.needed and data[name] is None):
                    if is_required:
                        found[name] = f"{self.what}.{name} is missing: {lost}"
                elif not _fits(data[name], kind):
                    found[name] = f"{self.what}.{name} is {_kind(data[name])} instead of {_article(kind)}: {lost}"
        for name, kind in self.known.items():
            if kind and name in data and not _fits(data[name], kind):
                odd[name] = f"{self.what}.{name} is {_kind(data[name])} instead of {_article(kind)}"
        new = set() if self.is_open else {str(name) for name in data} - {*self.needed, *self.expected, *self.known}
        return bad, odd, new


def compared(detail: str, *pairs: tuple[Fields, Iterable[Any]], is_today: bool = True) -> Finding:
    """Return a finding with *detail*, and how the objects differ from what is known of them.

    Args:
        detail: What was found otherwise.
        pairs: Known fields, and the objects that should have them.
        is_today: They come from a server of today's version, so that its fields are expected.
    """
    bad: dict[str, str] = {}
    odd: dict[str, str] = {}
    new: dict[str, None] = {}
    for known, objects in pairs:
        for item in objects:
            lacks, differs, fresh = known.differences(item, is_today=is_today)
            bad.update((f"{known.what}.{name}", text) for name, text in lacks.items())
            odd.update((f"{known.what}.{name}", text) for name, text in differs.items())
            new.update((f"{known.what}.{name}", None) for name in sorted(fresh))
    if new:
        detail += f"; {'a new field' if len(new) == 1 else f'{len(new)} new fields'} (harmless): {_some(list(new))}"
    if bad:
        return failed(f"{_some([*bad.values(), *odd.values()], '; ')} ({detail})", UPDATE)
    if odd:
        return warning(f"{_some(list(odd.values()), '; ')} ({detail})", UPDATE)
    return ok(detail)


def _some(names: list[str], separator: str = ", ") -> str:
    shown = [name[:200] for name in names[:_MAX_NAMED]]
    return separator.join(shown) + (f"{separator}and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else "")


def _fits(value: Any, kind: str) -> bool:
    if value is None or not kind:
        return True
    if kind == "number" and isinstance(value, bool):
        return False
    return isinstance(value, _TYPES[kind])


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    return _article(next((kind for kind in ("flag", *_TYPES) if _fits(value, kind)), "something else"))


def _article(kind: str) -> str:
    return f"an {kind}" if kind == "object" else "something else" if kind == "something else" else f"a {kind}"


def _all(kind: str, names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), kind)


# chat-ui

MODEL = Fields(
    "model",
    {"id": ("text", "models cannot be chosen")},
    {
        "displayName": ("text", "models have no names for display"),
        "multimodal": ("flag", "images are not offered to models that see them"),
        "supportsTools": ("flag", "whether a model calls tools is not known"),
        "supportsReasoning": ("flag", "whether a model reasons is not known"),
        "isRouter": ("flag", "the router is not recognized"),
    },
    {
        **_all("text", "name websiteUrl modelUrl datasetName datasetUrl description logoUrl preprompt"),
        **_all("list", "promptExamples multimodalAcceptedMimetypes providers"),
        **_all("flag", "supportsArtifacts unlisted hasInferenceAPI reasoning tools"),
        **_all("", "tokenizer parameters"),
    },
)
USER = Fields(
    "user",
    {"id": ("text", "the login cannot be recognized")},
    {"username": ("text", "the account has no name")},
    {**_all("text", "avatarUrl email name"), **_all("flag", "isAdmin isEarlyAccess logoutDisabled")},
)
SETTINGS = Fields(
    "settings",
    {},
    {
        "activeModel": ("text", "the model of new conversations is not known"),
        "customPrompts": ("object", "system prompts cannot be changed"),
        "shareConversationsWithModelAuthors": ("flag", "client.settings does not show it"),
    },
    {
        **_all("flag", "welcomeModalSeen directPaste hapticsEnabled hideEmojiOnSidebar disableStream ethicsModalAccepted searchEnabled"),
        **_all("object", "hidePromptExamples customPromptsEnabled multimodalOverrides toolsOverrides artifactsOverrides"),
        **_all("object", "providerOverrides reasoningEffortOverrides reasoningOverrides"),
        **_all("text", "streamingMode billingOrganization"),
        **_all("date", "welcomeModalSeenAt ethicsModalAcceptedAt createdAt updatedAt"),
        **_all("list", "assistants tools"),
    },
)
FLAGS = Fields(
    "flags",
    {"loginEnabled": ("flag", "whether a login is needed is not known")},
    {"transcriptionEnabled": ("flag", "client.server.transcribe() may not be available")},
    _all("flag", "enableAssistants isAdmin searchEnabled enableAssistantsRAG enableCommunityTools loginRequired guestMode"),
)
PAGE = Fields(
    "list",
    {"conversations": ("list", "conversations cannot be listed")},
    {"hasMore": ("flag", "only the first 30 conversations are listed")},
    _all("number", "nConversations"),
)
LIST_ENTRY = Fields(
    "conversation",
    {"id": ("text", "conversations cannot be opened"), "title": ("text", "conversations have no titles")},
    {"updatedAt": ("date", "their order is not known"), "model": ("text", "their model is not known")},
    {**_all("text", "_id modelId assistantId avatarUrl"), **_all("flag", "modelTools")},
)
CONVERSATION = Fields(
    "conversation",
    {"messages": ("list", "answers cannot be found again")},
    {
        "title": ("text", "the title is not known"),
        "model": ("text", "the model is not known"),
        "preprompt": ("text", "the system prompt is not known"),
        "rootMessageId": ("text", "a first message has no parent"),
    },
    {
        **_all("text", "id modelId assistantId"),
        **_all("date", "updatedAt"),
        **_all("flag", "shared modelTools"),
        **_all("", "deployedSpaces assistant"),
    },
)
MESSAGE = Fields(
    "message",
    {
        "id": ("text", "a conversation cannot be continued"),
        "from": ("text", "the roles are not known"),
        "content": ("text", "messages have no text"),
    },
    {
        "ancestors": ("list", "branches are not known"),
        "children": ("list", "branches are not known"),
    },
    {
        **_all("date", "createdAt updatedAt"),
        **_all("list", "updates files toolsets"),
        **_all("text", "generationId reasoning"),
        **_all("flag", "interrupted"),
        **_all("number", "materializedSeq score"),
        **_all("", "routerMetadata webSearch"),
    },
)
MCP_SERVER = Fields(
    "server",
    {"name": ("text", "mcp=[...] cannot name it")},
    {"url": ("text", "its address is not known")},
    {**_all("text", "id type status"), **_all("flag", "isLocked"), **_all("", "headers tools errorMessage authRequired")},
)

# Inference, and the Hub

SERVED_MODEL = Fields("model", {"id": ("text", "models cannot be chosen")}, is_open=True)
OFFER = Fields(
    "offer",
    {"provider": ("text", "providers cannot be chosen")},
    {"status": ("text", "whether a provider works is not known")},
    {
        **_all("object", "pricing"),
        **_all("number", "context_length first_token_latency_ms throughput"),
        **_all("flag", "supports_tools supports_structured_output is_model_author is_free"),
    },
    is_open=True,
)
HUB_USER = Fields(
    "account",
    {"name": ("text", "the account is not known")},
    {"type": ("text", "the kind of account is not known"), "auth": ("object", "the rights of the token are not known")},
    is_open=True,
)
