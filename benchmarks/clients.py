"""The clients that are compared, each used as its own documentation shows.

A client does two things: `drain` reads an answer to its end and counts, `paced` reads an answer that comes an event every
5 ms and looks at the clocks. Most only say how to get at the pieces of text; those for which a generator around them would
show in the figures have a loop of their own.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.floors import Floor, Pace
from benchmarks.relayed import RELAYED

__all__ = ["CLIENTS", "IMPORTS", "make"]

_MESSAGES = [{"role": "user", "content": "hi"}]
_ID = "0123456789abcdef01234567"


class _Texts:
    """A client that gives an iterator of texts.

    Attributes:
        wires: What it understands.
        leaf: How it gets the parent of a new message: ``"known"`` gets it as an argument (one request for a chat's
            answer), ``"looked up"`` requests it each time (two requests). Some clients support both.
    """

    wires: tuple[str, ...] = ()
    leaf: tuple[str, ...] = ("known",)

    def prepare(self, url: str, times: int, leaf: str) -> None:
        """Get ready for so many answers on chat; not measured."""

    def close(self) -> None:
        """Let go of all connections."""

    def texts(self, wire: str, url: str) -> Iterator[str]:
        """Return the pieces of one answer."""
        raise NotImplementedError

    def events(self, wire: str, url: str) -> Iterator[object]:
        """Return what the client itself yields for one answer."""
        return self.texts(wire, url)

    def drain(self, wire: str, url: str) -> tuple[int, int]:
        """Read one answer; return how many events with text came, and how many characters."""
        count = size = 0
        for text in self.texts(wire, url):
            if text:
                count += 1
                size += len(text)
        return count, size

    def paced(self, wire: str, url: str) -> Pace:
        """Read one answer whose events come one by one."""
        pace = Pace()
        for text in self.texts(wire, url):
            if text:
                pace.note(text)
        return pace


class HFClient(_Texts):
    """hfclient itself, on one of its two transports."""

    wires = ("chat", "sse", "tgi")
    leaf = ("looked up",)  # always: another client may have written into the conversation

    def __init__(self, origin: str, **options: Any) -> None:
        self._options = options
        self._clients: dict[str, Any] = {}
        self._ids = itertools.count(1)  # of conversations: messages into one are sent one after the other
        if "impersonate" in options:
            import curl_cffi  # noqa: F401 (so that it is known now whether it is there)

    def _client(self, url: str) -> Any:
        from hfclient import Client

        client = self._clients.get(url)
        if client is None:
            client = Client(url, token="", cookies="", inference_url=url, **self._options)
            self._clients = {**self._clients, url: client}  # threads share it
        return client

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def events(self, wire: str, url: str, **send: Any) -> Any:
        client = self._client(url)
        if wire == "sse":
            return client.inference.chat("hi", model="org/model")
        if wire == "tgi":
            return client.inference.text("hi")
        return client.conversation(f"{next(self._ids):024x}").send("hi", **send)

    def drain(self, wire: str, url: str) -> tuple[int, int]:
        from hfclient.events import Token

        count = size = 0
        for event in self.events(wire, url):
            if type(event) is Token and event.text:
                count += 1
                size += len(event.text)
        return count, size

    def texts(self, wire: str, url: str) -> Iterator[str]:
        return self.events(wire, url).iter_text()  # type: ignore[no-any-return]

    def upload(self, url: str, path: str) -> int:
        return len(self.events("chat", url, files=[path]).text)

    def transcribe(self, url: str, path: str) -> int:
        return len(self._client(url).inference.transcribe(path, model="org/model").text)

    def download(self, url: str, target: Path) -> None:
        self._client(url).conversation(_ID).download("0123456789abcdef", target, overwrite=True)


class Requests(_Texts):
    """Plain requests, as written without a client library.

    Args:
        origin: Where the replay server is.
        pieces: Take the bytes as they come and split them at line ends here, instead of by ``iter_lines``.
    """

    wires = ("chat", "sse", "tgi")
    leaf = ("known", "looked up")

    def __init__(self, origin: str, *, pieces: bool = False) -> None:
        import requests

        self._session = requests.Session()
        self._lines = self._split if pieces else requests.Response.iter_lines
        self._looks_up = False

    def close(self) -> None:
        self._session.close()

    def prepare(self, url: str, times: int, leaf: str) -> None:
        self._looks_up = leaf == "looked up"

    @staticmethod
    def _split(response: Any) -> Iterator[bytes]:
        rest = b""
        for piece in response.iter_content(chunk_size=None):
            lines = (rest + piece).split(b"\n")
            rest = lines.pop()
            yield from lines

    def texts(self, wire: str, url: str) -> Iterator[str]:
        if wire == "chat":
            parent = _ID
            if self._looks_up:
                parent = self._session.get(f"{url}/api/v2/conversations/{_ID}").json()["json"]["messages"][-1]["id"]
            form = {"data": (None, json.dumps({"inputs": "hi", "id": parent}))}
            with self._session.post(f"{url}/conversation/{_ID}", files=form, stream=True) as response:
                for line in self._lines(response):
                    update = json.loads(line)
                    if update["type"] == "stream":
                        yield update["token"].replace("\0", "")
            return
        path = "/v1/chat/completions" if wire == "sse" else "/generate_stream"
        body = {"messages": _MESSAGES, "stream": True} if wire == "sse" else {"inputs": "hi"}
        with self._session.post(url + path, json=body, stream=True) as response:
            for line in self._lines(response):
                if not line.startswith(b"data:"):
                    continue
                data = line[5:].strip()
                if data == b"[DONE]":
                    continue
                chunk = json.loads(data)
                if wire == "tgi":
                    if not chunk["token"]["special"]:
                        yield chunk["token"]["text"]
                elif chunk["choices"]:
                    yield chunk["choices"][0]["delta"].get("content") or ""

    def upload(self, url: str, path: str) -> int:
        with Path(path).open("rb") as file:
            parts: dict[str, Any] = {"data": (None, "{}"), "files": ("base64;a.txt", file)}
            with self._session.post(f"{url}/conversation/{_ID}", files=parts) as response:
                return len(response.content)

    def transcribe(self, url: str, path: str) -> int:
        with Path(path).open("rb") as file:
            form: dict[str, Any] = {"model": (None, "org/model"), "file": ("a.wav", file)}
            return len(self._session.post(f"{url}/v1/audio/transcriptions", files=form).json()["text"])

    def download(self, url: str, target: Path) -> None:
        address = f"{url}/conversation/{_ID}/output/0123456789abcdef"
        with self._session.get(address, stream=True) as response, target.open("wb") as file:
            file.writelines(response.iter_content(65536))


class HuggingfaceHub(_Texts):
    """huggingface_hub's InferenceClient."""

    wires = ("sse", "tgi")

    def __init__(self, origin: str) -> None:
        from huggingface_hub import InferenceClient

        self._make = InferenceClient
        self._clients: dict[str, Any] = {}

    def texts(self, wire: str, url: str) -> Iterator[str]:
        client = self._clients.get(wire + url)
        if client is None:
            how = {"base_url": f"{url}/v1", "api_key": "x"} if wire == "sse" else {"model": url, "token": "x"}
            client = self._clients[wire + url] = self._make(**how)
        if wire == "sse":
            for chunk in client.chat_completion(_MESSAGES, model="org/model", stream=True):
                if chunk.choices:
                    yield chunk.choices[0].delta.content or ""
        else:
            for piece in client.text_generation("hi", stream=True, details=True):
                if not piece.token.special:
                    yield piece.token.text

    def transcribe(self, url: str, path: str) -> int:
        return len(self._make(model=url, token="x").automatic_speech_recognition(path).text)


class OpenAI(_Texts):
    """The openai package."""

    wires = ("sse",)

    def __init__(self, origin: str) -> None:
        import openai

        self._make = openai.OpenAI
        self._clients: dict[str, Any] = {}

    def texts(self, wire: str, url: str) -> Iterator[str]:
        client = self._clients.get(url)
        if client is None:
            client = self._clients[url] = self._make(base_url=f"{url}/v1", api_key="x", max_retries=0)
        for chunk in client.chat.completions.create(model="org/model", messages=_MESSAGES, stream=True):
            if chunk.choices:
                yield chunk.choices[0].delta.content or ""

    def transcribe(self, url: str, path: str) -> int:
        client = self._make(base_url=f"{url}/v1", api_key="x", max_retries=0)
        with Path(path).open("rb") as file:
            return len(client.audio.transcriptions.create(model="org/model", file=file).text)


class HugChat(_Texts):
    """hugchat, without its login: made by hand, and without the page that it loads after each answer."""

    wires = ("chat",)

    def __init__(self, origin: str) -> None:
        import requests
        from hugchat.hugchat import ChatBot
        from hugchat.types.message import Conversation

        self._bot = bot = ChatBot.__new__(ChatBot)
        bot.session = requests.Session()
        bot.get_conversation_info = lambda conversation: conversation
        bot.current_conversation = Conversation(_ID, "t", "org/model", "", [types.SimpleNamespace(id=_ID, role="user")])

    def texts(self, wire: str, url: str) -> Iterator[str]:
        self._bot.hf_base_url = url
        for update in self._bot.chat("hi"):
            if update is not None and update["type"] == "stream":
                yield update["token"]


class G4F(_Texts):
    """g4f's provider for HuggingChat, asked directly."""

    wires = ("chat",)
    leaf = ("looked up",)

    def __init__(self, origin: str) -> None:
        from g4f.Provider.needs_auth.hf.HuggingChat import HuggingChat
        from g4f.providers.response import AuthResult

        self._provider = HuggingChat
        self._login = AuthResult(cookies={}, headers={}, impersonate="chrome")
        HuggingChat.models = HuggingChat.text_models = ["org/model"]
        self._loop = asyncio.new_event_loop()

    def texts(self, wire: str, url: str) -> Iterator[str]:
        self._provider.url = self._provider.origin = url
        answer = self._provider.create_authed("org/model", _MESSAGES, self._login)
        while True:
            try:
                piece = self._loop.run_until_complete(answer.__anext__())
            except StopAsyncIteration:
                return
            if isinstance(piece, str):
                yield piece

    def _read(self, url: str, see: Callable[[str], None]) -> None:
        async def read() -> None:
            async for piece in self._provider.create_authed("org/model", _MESSAGES, self._login):
                if isinstance(piece, str) and piece:
                    see(piece)

        self._provider.url = self._provider.origin = url
        asyncio.run(read())

    def drain(self, wire: str, url: str) -> tuple[int, int]:
        pieces: list[str] = []
        self._read(url, pieces.append)
        return len(pieces), sum(map(len, pieces))

    def paced(self, wire: str, url: str) -> Pace:
        pace = Pace()
        self._read(url, pace.note)
        return pace


CLIENTS: dict[str, tuple[type, dict[str, Any]]] = {
    "floor (structs)": (Floor, {"objects": False}),
    "floor (attrs)": (Floor, {"objects": True}),
    "hfclient": (HFClient, {}),
    "hfclient, curl_cffi": (HFClient, {"impersonate": "chrome"}),
    "requests, iter_lines": (Requests, {}),
    "requests, pieces": (Requests, {"pieces": True}),
    "hugchat": (HugChat, {}),
    "g4f": (G4F, {}),
    "huggingface_hub": (HuggingfaceHub, {}),
    "openai": (OpenAI, {}),
    **RELAYED,
}
"""By the names that the tables use, in their order."""

IMPORTS = {
    "bare Python": "pass",
    "hfclient": "import hfclient",
    "hfclient, and inference": "from hfclient import InferenceClient",
    "hfclient, a client made": "import hfclient; hfclient.Client(token='', cookies='')",
    "requests": "import requests, json",
    "hugchat": "import hugchat.hugchat",
    "g4f": "import g4f",
    "huggingface_hub": "from huggingface_hub import InferenceClient",
    "openai": "import openai; openai.OpenAI(api_key='x')",
}
"""What is imported, by the name that the table uses; what comes before a comma is whose import it is."""


def make(name: str, origin: str) -> Any:
    """Return the client called *name*; raises ImportError if it is not installed."""
    kind, options = CLIENTS[name]
    return kind(origin, **options)
