"""Arguments of a wrong type, in the wrong order or place: each public call raises an hfclient error that names them."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hfclient import Client, HFClientError, InvalidInputError, Limits, McpServer, Retry, Timeouts
from hfclient.arguments.argument_types import _alternatives, _parameters_of
from hfclient.chat.wire.tools import ElicitationAnswer
from hfclient.client import ClientOptions
from hfclient.credentials import parse_cookies
from tests.chat.recordings import recording
from tests.chat.replay import ChatUI
from tests.server import Recorded, Server, json_answer

WRONG: list[Any] = [5, 1.5, b"x", "text", ["a"], [5], {"a": 1}, {"a": None}, {5: 5}, object(), True, ("a", 5), -1, "\ud800", {"a"}]
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 50
CHAT = {
    "id": "x",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": '{"a": 1}'}, "finish_reason": "stop"}],
}


def _answer(request: Recorded) -> bytes:
    if request.path.endswith("/chat/completions"):
        return json_answer(CHAT)
    if request.path.endswith("/models"):
        return json_answer({"data": [{"id": "m"}]})
    if "images" in request.path:
        return json_answer({"data": [{"b64_json": "iVBORw0KGgo="}]})
    if request.path.endswith("/embeddings"):
        return json_answer({"data": [{"index": 0, "embedding": [1.0]}]})
    return json_answer([])


@pytest.fixture
def client(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client of a chat-ui and an inference server that answer all requests."""
    monkeypatch.chdir(tmp_path)  # some values are read as paths
    server.on("*", [_answer])
    with ChatUI() as ui:
        ui.says(recording("plain"))
        timeouts = Timeouts(connect=4, first_token=4, idle=4, total=8)
        urls = {"inference_url": server.url, "hub_url": server.url}
        with Client(ui.url, token="", cookies="", timeouts=timeouts, retry=Retry(attempts=1), **urls) as made:
            yield made


def _double(number: int) -> int:
    return 2 * number


CALLS: dict[str, tuple[Callable[[Client], Callable[..., Any]], dict[str, Any]]] = {
    "chat": (lambda client: client.chat, {"prompt": "hi"}),
    "conversation": (lambda client: client.conversation, {}),
    "restore": (lambda client: client.restore, {"state": {}}),
    "conversations.list": (lambda client: client.conversations.list, {}),
    "conversations.get": (lambda client: client.conversations.get, {"id": "0" * 24}),
    "conversations.delete": (lambda client: client.conversations.delete, {"id": "0" * 24}),
    "conversations.import_share": (lambda client: client.conversations.import_share, {"share": "abcdefg"}),
    "models.get": (lambda client: client.models.get, {"name": "org/first"}),
    "models.list": (lambda client: client.models.list, {}),
    "server.transcribe": (lambda client: client.server.transcribe, {"audio": b"abc"}),
    **{
        f"conversation.{name}": (lambda client, name=name: getattr(client.conversation().create(), name), good)
        for name, good in {
            "send": {"prompt": "x"},
            "ask": {"prompt": "x"},
            "retry": {},
            "edit": {"prompt": "x"},
            "attach": {},
            "answer": {"question": None},
            "choose_branch": {"message_id": "x"},
            "file_url": {"sha": "0" * 64},
            "read_file": {"file": "0" * 64},
            "rename": {"title": "t"},
            "set_model": {"name": "org/first"},
            "delete_message": {"message_id": "x"},
        }.items()
    },
    **{
        f"tree.{name}": (lambda client, name=name: getattr(client.conversation().create().tree(), name), {})
        for name in ("children", "path", "newest_leaf")
    },
    **{
        f"inference.{name}": (lambda client, name=name: getattr(client.inference, name), good)
        for name, good in {
            "at": {"url": "http://localhost"},
            "caption": {"image": PNG, "model": "m"},
            "chat": {"prompt": "hi", "model": "m"},
            "classify": {"inputs": "hi", "model": "m"},
            "embed": {"texts": ["a"], "model": "m"},
            "image": {"prompt": "fox", "model": "m"},
            "image_to_image": {"image": PNG, "prompt": "x", "model": "m"},
            "images": {"prompt": "fox", "n": 1, "model": "m"},
            "model": {"id": "a/b"},
            "models": {"search": "x"},
            "parse": {"prompt": "hi", "into": dict[str, int], "model": "m"},
            "parse_stream": {"prompt": "hi", "into": dict[str, int], "model": "m"},
            "rerank": {"query": "q", "texts": ["a"], "model": "m"},
            "restore_job": {"state": {}},
            "run_tools": {"prompt": "hi", "tools": [_double], "model": "m"},
            "speak": {"text": "hi", "model": "m"},
            "task": {"name": "summarization", "inputs": "hi", "model": "m"},
            "text": {"prompt": "hi", "model": "m"},
            "transcribe": {"audio": b"RIFF0000WAVEfmt ", "model": "m"},
            "video": {"prompt": "x", "model": "m"},
        }.items()
    },
    "Client": (lambda client: Client, {"base_url": "http://localhost", "token": "", "cookies": ""}),
    "McpServer": (lambda client: McpServer, {"url": "https://tools.example/mcp"}),
    "ElicitationAnswer.of": (lambda client: ElicitationAnswer.of, {}),
    "Timeouts": (lambda client: Timeouts, {}),
    "Retry": (lambda client: Retry, {}),
    "Limits": (lambda client: Limits, {}),
    "parse_cookies": (lambda client: parse_cookies, {"cookies": "hf-chat=a", "chat_url": "http://localhost"}),
}


def _parameters(function: Callable[..., Any]) -> list[str]:
    return list(_parameters_of(inspect.unwrap(getattr(function, "__func__", function))).names)


def _finish(result: Any) -> None:
    if hasattr(result, "result") and hasattr(result, "close"):
        with result:
            result.result()
    elif inspect.isgenerator(result):
        list(itertools.islice(result, 3))


@pytest.mark.parametrize("name", CALLS)
def test_wrong_types(client: Client, name: str) -> None:
    """Any value as any argument works or raises an hfclient error."""
    get, good = CALLS[name]
    function = get(client)
    for parameter in _parameters(function):
        for wrong in WRONG:
            try:
                _finish(function(**{**good, parameter: wrong}))
            except HFClientError:
                pass
            except Exception as error:
                pytest.fail(f"{name}({parameter}={wrong!r}): {type(error).__name__}: {error}")


@pytest.mark.parametrize("name", [name for name in CALLS if "." in name or name in ("chat", "conversation")])
def test_wrong_plain_types_are_named(client: Client, server: Server, name: str) -> None:
    """A value that is not of the plain type of its argument is an error with the argument's name; nothing is sent."""
    get, good = CALLS[name]
    function = get(client)
    before = len(server.requests)
    for parameter in _parameters_of(inspect.unwrap(getattr(function, "__func__", function))).checks:
        with pytest.raises(InvalidInputError, match=parameter):
            function(**{**good, parameter: object()})
    assert len(server.requests) == before


def test_swapped_arguments(client: Client) -> None:
    """Two swapped arguments are detected if their types differ."""
    url = "https://tools.example/mcp"
    calls: list[Callable[[], Any]] = [
        lambda: McpServer(url, "tools"),  # type: ignore[arg-type]
        lambda: McpServer("tools", url),  # type: ignore[arg-type]
        lambda: client.inference.image_to_image("a fox", PNG),  # type: ignore[arg-type]
        lambda: client.inference.rerank(["a"], "query"),  # type: ignore[arg-type]
        lambda: client.inference.images(2, "a fox"),  # type: ignore[arg-type]
        lambda: client.inference.run_tools([_double], "hi"),  # type: ignore[arg-type, list-item]
        lambda: client.models.get(client.models.list()[0]),  # type: ignore[arg-type]
        lambda: client.conversations.list("5"),  # type: ignore[arg-type]
        lambda: Client.local(upstream=5),  # type: ignore[arg-type]
        lambda: Client.local(database=5),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(InvalidInputError):
            call()
    assert McpServer(url, name="tools").name == "tools"


class _Truth:
    """A boolean like numpy's."""

    def __init__(self, value: bool) -> None:
        self._value = value

    def __bool__(self) -> bool:
        return self._value


_Truth.__name__ = "bool_"


class _Whole:
    """An integer like numpy's."""

    def __index__(self) -> int:
        return 2

    def __lt__(self, other: int) -> bool:
        return other > 2


def test_values_accepted_as_plain_types(client: Client) -> None:
    """1, 0 and numpy's booleans are accepted as booleans, numpy's integers as limits, and messages in an edit."""
    for yes in (True, 1, _Truth(True)):
        client.chat("hi", temporary=yes).result()  # type: ignore[arg-type]
    assert client.conversations.list() == []
    conversation = client.conversation()
    for no in (False, 0, _Truth(False)):
        client.chat("hi", temporary=no).result()  # type: ignore[arg-type]
        conversation.ask("hi")
    assert len(client.conversations.list(_Whole())) == 2  # type: ignore[arg-type]
    conversation.edit([{"role": "user", "content": "old"}, {"role": "user", "content": "new"}]).result()
    assert conversation.messages()[-2].content == "new"
    for other in (2, "yes", 1.0):
        with pytest.raises(InvalidInputError, match="temporary must be True or False"):
            client.chat("hi", temporary=other)  # type: ignore[arg-type]


def test_options_of_a_client() -> None:
    """`Client.local` accepts the options of `Client`, and refuses others before a server starts."""
    known = inspect.signature(Client).parameters
    assert list(ClientOptions.__annotations__) == [name for name in known if name != "base_url"]
    with pytest.raises(TypeError, match="did you mean token"):
        Client.local(tokn="")  # type: ignore[call-arg]


def test_types_of_a_union() -> None:
    """A ``|`` inside of brackets belongs to the type in the brackets."""
    assert _alternatives("str | Mapping[str, int | None] | None") == ["str", "Mapping[str, int | None]", "None"]
    assert _alternatives(inspect.Parameter.empty) == []
