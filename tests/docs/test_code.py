"""Code in the documentation that is not run as a doctest: it compiles, its calls exist, and the tables of other libraries' calls run."""

from __future__ import annotations

import ast
import contextlib
import inspect
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import hfclient.chat
import hfclient.inference
from hfclient import Client, Retry, Timeouts, errors
from tests.docs.reference import options_of
from tests.docs.scripted import PNG, WAV, LocalScripted

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(DOCS.rglob("*.rst"))
BLOCK = re.compile(r"^( *)\.\. code-block:: python\n\n((?:\1 +.*\n|\n)+)", re.MULTILINE)

# The class of a name, and of a property.
NAMES: dict[str, Any] = {
    "Client": Client,
    "Retry": Retry,
    "Timeouts": Timeouts,
    "client": Client,
    "conversation": hfclient.Conversation,
    "endpoint": hfclient.InferenceClient,
    "inference": hfclient.InferenceClient,
}
PROPERTIES: dict[str, Any] = {
    "conversations": hfclient.chat.Conversations,
    "inference": hfclient.InferenceClient,
    "login": hfclient.chat.Login,
    "models": hfclient.chat.Models,
    "server": hfclient.chat.Server,
    "settings": hfclient.chat.SettingsResource,
}


def blocks() -> list[Any]:
    """The blocks of Python of all pages."""
    found = []
    for path in PAGES:
        for number, block in enumerate(BLOCK.findall(path.read_text("utf-8"))):
            found.append(pytest.param(textwrap.dedent(block[1]), id=f"{path.stem}-{number}"))
    return found


def owner_of(node: ast.expr) -> Any:
    """The class that an expression is an object of; None if this is not known."""
    if isinstance(node, ast.Name):
        return NAMES.get(node.id)
    if isinstance(node, ast.Attribute):
        return PROPERTIES.get(node.attr) if owner_of(node.value) in (Client, *PROPERTIES.values()) else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Client":
        return Client
    return None


def wrong_calls(code: str) -> list[str]:
    """The calls of hfclient in *code* whose name or arguments do not exist."""
    wrong = []
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Attribute) and (cls := owner_of(node.func.value)) is not None:
            function = inspect.getattr_static(cls, node.func.attr, None)
            function = getattr(cls, node.func.attr, None) if function is not None else None
            if isinstance(function, property):
                continue
        elif isinstance(node.func, ast.Name) and node.func.id in ("Client", "Retry", "Timeouts"):
            function = NAMES[node.func.id].__init__
        else:
            continue
        if function is None:
            wrong.append(ast.unparse(node))
            continue
        known = options_of(function)
        wrong += [f"{ast.unparse(node)}: no {keyword.arg}" for keyword in node.keywords if keyword.arg and known is not None and keyword.arg not in known]
    return wrong


@pytest.mark.parametrize("code", blocks())
def test_blocks_call_what_exists(code: str) -> None:
    """A block that is not run compiles, and calls methods and arguments that exist."""
    compile(code, "block", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert wrong_calls(code) == []


def test_wrong_calls_are_found() -> None:
    """The check above sees a method, a keyword and an option that do not exist."""
    assert len(wrong_calls("client.chatt('x'); client.chat('x', modle='y'); client.inference.chat('x', temprature=1)")) == 3
    assert len(wrong_calls("Client(tokn='x'); Timeouts(first=1); client.settings.put()")) == 3
    assert wrong_calls("client.inference.chat('x', n=2, temperature=1); client.conversations.list(3)") == []


def rows() -> list[Any]:
    """The cells of hfclient in the tables of calls: the second of each row."""
    text = (DOCS / "migrating.rst").read_text("utf-8")
    cells = re.findall(r"^   \* - .*\n     - (.*)$", text, re.MULTILINE)
    code = [cell[2:-2] for cell in cells if re.fullmatch("``(?!hfclient )[^`]+``", cell)]
    return [pytest.param(cell, id=cell) for cell in code]


@dataclass
class City:
    """A city."""

    name: str
    inhabitants: int


def get_weather(city: str, unit: str = "celsius") -> str:
    """Return the weather."""
    return "18 degrees"


# Calls of services that a chat server, a browser or a router has and the scripted model lacks: only their arguments are checked.
ONLY_CHECKED = ("browser:", "cookies.json", "text(", "inference.video", "caption", "classify", "inference.task", "image_to_image", "size=",
                "service=", "to_dataframe")


@pytest.fixture(scope="module")
def client() -> Any:
    with LocalScripted():
        yield Client.local()


@pytest.mark.parametrize("cell", rows())
def test_tables_of_calls_run(cell: str, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call on the page for users of other libraries exists and, where the embedded server has the service, runs."""
    monkeypatch.chdir(tmp_path)
    assert wrong_calls(cell) == []
    if any(part in cell for part in ONLY_CHECKED):
        return
    conversation = client.conversation()
    conversation.ask("Hi")
    names = {"Client": Client, "Retry": Retry, "Timeouts": Timeouts, "errors": errors, "client": client}
    names |= {"inference": client.inference, "conversation": conversation, "messages": [{"role": "user", "content": "Hi"}]}
    names |= {"png": PNG, "wav": WAV, "City": City, "get_weather": get_weather, "Path": Path}
    names |= {"prompts": ["Hi", "Bye"], "dataset": [{"text": "Hi"}], "frame": [{"text": "Hi"}]}
    before = set(names)
    exec(compile(cell, "table", "exec"), names)
    for name in set(names) - before:
        if hasattr(names[name], "close"):
            with contextlib.suppress(Exception):
                names[name].close()
