"""Every kind of call: what it sends, what it returns, and that its values come back from a checkpoint as they were."""

from __future__ import annotations

import base64
import csv
import dataclasses
import enum
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict

import attrs
import msgspec
import pytest

from hfclient import Client
from hfclient.batch import Batch, read_results
from hfclient.batch.calls import CALLS
from hfclient.errors import InvalidInputError, ParseError
from hfclient.inference import tasks
from hfclient.inference.media.images import Image
from hfclient.inference.tasks.audio import Audio
from hfclient.types import Reply
from tests.inference.test_media import PNG
from tests.server import Recorded, Server, json_answer, plain

WAV = b"RIFF$\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00@\x1f\x00\x00\x80>\x00\x00\x02\x00\x10\x00data\x00\x00\x00\x00"
CHAT = "/v1/chat/completions"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url, token="", cookies="", session="", inference_url=f"{server.url}/v1") as client:
        yield client


def says(text: str, reason: str = "stop", **message: Any) -> bytes:
    """A whole answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": reason}
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    return json_answer({"id": "c", "model": "m", "choices": [choice], "usage": usage})


def asked(request: Recorded) -> str:
    """The last message of a request."""
    content = request.json()["messages"][-1]["content"]
    return content if isinstance(content, str) else content[0]["text"]


def twice(ask: Callable[[], Batch], server: Server) -> list[Any]:
    """Ask, take the answers from the checkpoint, compare, and return the values."""
    first = [result.get() for result in ask().results()]
    count = len(server.requests)
    again = ask().results()
    assert len(server.requests) == count
    assert all(result.stored for result in again)
    assert [result.value for result in again] == first
    assert [type(result.value) for result in again] == [type(value) for value in first]
    assert pickle.loads(pickle.dumps(first)) == first
    return first


def embed(request: Recorded) -> bytes:
    """Vectors with the length of the text; a text "bad" is refused."""
    texts = request.json()["input"]
    if "bad" in texts:
        return json_answer({"error": {"message": "a text cannot be embedded"}}, 400)
    entries = [{"index": place, "embedding": [float(len(text)), 0.1]} for place, text in enumerate(texts)]
    return json_answer({"data": entries, "model": "m"})


def test_every_kind(client: Client, server: Server, tmp_path: Path) -> None:
    """Each call has values of its own class, and a checkpoint gives them back equal; so does ``read_results``."""
    image = {"data": [{"b64_json": base64.b64encode(PNG).decode(), "revised_prompt": "a red fox, running"}]}
    server.on("/v1/images/generations", json_answer(image))
    server.on("/v1/audio/speech", plain(WAV, 200, "Content-Type: audio/wav"))
    segments = [{"text": "hi", "start": 0, "end": 1.5, "id": 7}]
    server.on("/v1/audio/transcriptions", json_answer({"text": "hi", "segments": segments, "language": "en"}))
    server.on("/v1/embeddings", [embed])
    labels = [{"label": "POSITIVE", "score": 0.9, "extra": 1}, {"label": "NEGATIVE", "score": 0.1}]
    server.on("/models/m", json_answer(labels))
    server.on("/models/caption", json_answer([{"generated_text": "a cat"}]))
    server.on("/models/ner", json_answer([{"entity_group": "PER", "word": "Ada", "score": 0.9, "start": 0, "end": 3}]))
    server.on("/models/qa", json_answer({"answer": "Ada", "score": 0.5, "start": 0, "end": 3}))
    mask = base64.b64encode(PNG).decode()
    server.on("/models/segment", json_answer([{"label": "cat", "score": 0.9, "mask": mask}]))
    server.on("/models/depth", plain(PNG, 200, "Content-Type: image/png"))
    server.on("/models/odd", json_answer({"odd": [1, {"a": None}]}))
    server.on(CHAT, [lambda request: says(asked(request).upper())])
    sound = tmp_path / "a.wav"
    sound.write_bytes(WAV + b"\0" * 100)
    cat = tmp_path / "cat.png"
    cat.write_bytes(PNG)
    kinds: list[tuple[str, list[Any], dict[str, Any], type, Callable[[Any], Any], Any]] = [
        ("chat", ["a", [{"role": "user", "content": "b"}]], {"model": "m"}, Reply, str, ["A", "B"]),
        ("embed", ["a", "bb"], {"model": "m"}, list, lambda value: value[0], [1.0, 2.0]),
        ("classify", ["fine"], {"model": "m"}, list, lambda value: value[0].raw["extra"], [1]),
        ("classify", [cat], {"model": "m"}, list, lambda value: value[1].label, ["NEGATIVE"]),
        ("caption", [str(cat)], {"model": "caption"}, str, str, ["a cat"]),
        ("transcribe", [str(sound)], {"model": "m"}, tasks.Transcript, lambda value: value.text, ["hi"]),
        ("image", ["a red fox"], {"model": "m"}, Image, lambda value: (value.content, value.prompt), [(PNG, "a red fox")]),
        ("speak", ["Good morning."], {"model": "m"}, Audio, lambda value: value.mime, ["audio/wav"]),
        ("task", ["Ada"], {"model": "ner", "name": "token-classification"}, list, lambda value: type(value[0]), [tasks.Span]),
        (
            "task",
            [{"input": {"question": "Who?", "context": "Ada."}, "id": "q"}],
            {"model": "qa", "name": "question-answering"},
            list,
            lambda value: value[0].answer,
            ["Ada"],
        ),
        ("task", [cat], {"model": "segment", "name": "image-segmentation"}, list, lambda value: value[0].mask, [PNG]),
        ("task", [str(cat)], {"model": "depth", "name": "depth-estimation"}, Image, lambda value: value.content, [PNG]),
        ("task", ["x"], {"model": "odd", "name": "odd-thing"}, dict, lambda value: value["odd"][0], [1]),
    ]
    for number, (call, items, options, cls, what, expected) in enumerate(kinds):
        path = tmp_path / f"out{number}.jsonl"
        values = twice(lambda: client.inference.map(items, call, checkpoint=path, **options), server)  # noqa: B023
        assert all(isinstance(value, cls) for value in values), call
        assert [what(value) for value in values] == expected
        stored = sorted(read_results(path), key=lambda result: result.index)
        assert [result.value for result in stored] == values
        again = client.inference.map(items, call, checkpoint=path, **options).results()
        assert [getattr(result.value, "raw", None) for result in again] == [getattr(value, "raw", None) for value in values]
    assert {call for call, *_ in kinds} | {"parse", "run_tools"} == set(CALLS)


class Colour(enum.Enum):
    RED = "red"


@attrs.define
class Attrs:
    name: str
    tags: list[str] = attrs.field(factory=list)
    colour: Colour = Colour.RED


@dataclasses.dataclass
class Data:
    name: str
    inner: Attrs | None = None


class Typed(TypedDict):
    name: str


class Named(NamedTuple):
    name: str
    size: int = 0


class Struct(msgspec.Struct, rename="camel"):
    full_name: str


def pydantic_model() -> Any:
    import pydantic

    class Model(pydantic.BaseModel):
        name: str = pydantic.Field(alias="theName")
        when: str | None = None

    return Model


@pytest.mark.parametrize(
    ("into", "answer"),
    [
        (Attrs, {"name": "a", "tags": ["x"], "colour": "red"}),
        (Data, {"name": "a", "inner": {"name": "b", "tags": [], "colour": "red"}}),
        (Typed, {"name": "a"}),
        (Named, ["a", 3]),
        (Struct, {"fullName": "a"}),
        (list[Attrs], {"value": [{"name": "a", "tags": [], "colour": "red"}]}),
        (Literal["yes", "no"], {"value": "yes"}),
        (int, {"value": 7}),
        (pydantic_model(), {"theName": "a", "when": None}),
        (list[pydantic_model()], {"value": [{"theName": "a", "when": None}]}),  # type: ignore[misc]
    ],
    ids=["attrs", "dataclass", "TypedDict", "NamedTuple", "Struct", "list", "Literal", "int", "pydantic", "list of pydantic"],
)
def test_objects(client: Client, server: Server, tmp_path: Path, into: Any, answer: Any) -> None:
    """An object of each kind of class is read from a whole answer, and comes back from a checkpoint equal."""
    server.on(CHAT, says(json.dumps(answer)))
    path = tmp_path / "out.jsonl"

    def ask() -> Batch:
        return client.inference.map(["a?"], "parse", into=into, model="m", checkpoint=path)

    first, again = ask().results(), ask().results()
    assert first[0].get() == again[0].get()
    assert type(first[0].value) is type(again[0].value)
    assert again[0].stored
    assert [result.usage.total_tokens for result in (*first, *again) if result.usage is not None] == [9, 9]
    assert "stream" not in server.last.json()
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("into", "answer"),
    [
        (Attrs, {"name": "a", "tags": ["x"], "colour": "red"}),
        (Data, {"name": "a", "inner": {"name": "b", "tags": [], "colour": "red"}}),
        (Typed, {"name": "a"}),
        (Struct, {"fullName": "a"}),
        (pydantic_model(), {"theName": "a", "when": None}),
    ],
    ids=["attrs", "dataclass", "TypedDict", "Struct", "pydantic"],
)
def test_fields_as_columns(client: Client, server: Server, tmp_path: Path, into: Any, answer: dict[str, Any]) -> None:
    """With expand= an object has a column for each field, in a data frame and in a file; a failed answer has empty ones."""
    pytest.importorskip("pandas")
    server.on(CHAT, says("no"), says("no"), says(json.dumps(answer)))

    def ask() -> Batch:
        return client.inference.map(["a?", "b?"], "parse", into=into, model="m", workers=1, checkpoint=tmp_path / "stored.jsonl")

    frame = ask().to_dataframe(expand=True)
    assert list(frame.columns) == ["id", "input", *answer, "error", "finish_reason", "prompt_tokens", "completion_tokens", "attempts", "seconds"]
    assert frame.loc[1, list(answer)].where(frame.loc[1, list(answer)].notna(), None).to_dict() == answer
    assert frame.loc[0, list(answer)].isna().all()
    assert frame["finish_reason"].tolist() == ["stop", "stop"]
    assert frame["prompt_tokens"].tolist() == [14, 7]
    server.on(CHAT, says("no"), says("no"))
    path = ask().write(tmp_path / "out.csv", expand=True, prefix="model_")
    names, *rows = csv.reader(path.read_text().splitlines())
    assert names == ["input", *(f"model_{name}" for name in (*answer, "error", "finish_reason", "prompt_tokens", "completion_tokens"))]
    assert rows[1][0] == "b?"
    assert rows[1][1] == "a"
    assert rows[1][-3:] == ["stop", "7", "2"]


def test_fields_that_cannot_be_columns(client: Client, server: Server, tmp_path: Path) -> None:
    """Answers without fields, and fields with the name of another column, are refused before anything is asked."""
    pytest.importorskip("pandas")

    class Own(TypedDict):
        error: str

    for call, into, message in (("chat", None, "into="), ("parse", int, "into="), ("parse", Named, "into="), ("parse", Own, "'error'")):
        batch = client.inference.map(["a?"], call, model="m", **({} if into is None else {"into": into}))  # type: ignore[call-overload]
        with pytest.raises(InvalidInputError, match=message):
            batch.to_dataframe(expand=True)
        with pytest.raises(InvalidInputError, match=message):
            batch.write(tmp_path / "out.csv", expand=True)
    with pytest.raises(InvalidInputError, match="column 'name'"):
        client.inference.map([{"text": "a", "name": "b"}], "parse", into=Typed, model="m", column="text").write(tmp_path / "out.csv", expand=True)
    assert server.requests == []


def test_objects_are_repaired(client: Client, server: Server) -> None:
    """An answer that does not fit is sent back once; the tokens of both answers are counted, also of one that failed."""
    server.on(CHAT, says("no idea"), says('{"name": "a"}'), says("no"), says("no"))
    batch = client.inference.map(["a?", "b?"], "parse", into=Typed, model="m", workers=1)
    good, bad = batch.results()
    assert good.get() == {"name": "a"}
    assert good.attempts == 1
    assert isinstance(bad.error, ParseError)
    assert bad.error.attempts == 2
    assert [result.usage.total_tokens for result in (good, bad) if result.usage is not None] == [18, 18]
    assert batch.usage.total_tokens == 36
    assert "That does not fit" in asked(server.requests[1])


def test_a_changed_class_asks_again(client: Client, server: Server, tmp_path: Path) -> None:
    """The schema of the class is a part of the key, the address of the class is not."""
    server.on(CHAT, says('{"name": "a"}'))
    path = tmp_path / "out.jsonl"
    for into in (Typed, TypedDict("Typed", {"name": str})):  # type: ignore[operator]
        client.inference.map(["a?"], "parse", into=into, model="m", checkpoint=path).results()
    assert len(server.requests) == 1
    with pytest.raises(InvalidInputError, match="into was"):
        client.inference.map(["a?"], "parse", into=Data, model="m", checkpoint=path)


def test_tools(client: Client, server: Server, tmp_path: Path) -> None:
    """Functions run in threads, the rounds come in one piece, and the calls are in the reply; the checkpoint knows the tools by schema."""
    import threading

    threads = set()

    def weather(city: str) -> str:
        """The weather in a city."""
        threads.add(threading.current_thread())
        return f"{city} is warm"

    def answer(request: Recorded) -> bytes:
        messages = request.json()["messages"]
        if messages[-1]["role"] == "tool":
            return says(messages[-1]["content"])
        function = {"name": "weather", "arguments": json.dumps({"city": messages[-1]["content"]})}
        return says("", "tool_calls", tool_calls=[{"id": "call_0", "type": "function", "function": function}])

    server.on(CHAT, [answer])
    cities = ["Paris", "Oslo"]
    values = twice(
        lambda: client.inference.map(cities, "run_tools", tools=[weather], model="m", checkpoint=tmp_path / "out.jsonl"), server
    )
    assert [value.text for value in values] == ["Paris is warm", "Oslo is warm"]
    assert [value.tool_calls[0].parameters for value in values] == [{"city": "Paris"}, {"city": "Oslo"}]
    assert threading.main_thread() not in threads
    assert len(server.requests) == 4
    assert values[0].usage.total_tokens == 18


def test_texts_are_packed(client: Client, server: Server) -> None:
    """Texts with equal options share a request of at most ``batch_size``; each one is a result of its own."""
    server.on("/v1/embeddings", [embed])
    items: list[Any] = ["x" * number for number in range(1, 101)]
    items += [{"input": "abc", "dimensions": 2}]
    results = client.inference.map(items, "embed", model="m", batch_size=16, workers=2).results()
    assert [result.value[0] for result in results] == [float(number) for number in range(1, 101)] + [3.0]
    assert max(len(request.json()["input"]) for request in server.requests) == 16
    assert len(server.requests) == 8
    assert [request.json().get("dimensions") for request in server.requests].count(2) == 1


def test_a_bad_text_fails_alone(client: Client, server: Server) -> None:
    """A request that is refused because of one text is halved until that text is alone."""
    server.on("/v1/embeddings", [embed])
    items = ["aa"] * 20 + ["bad"] + ["aa"] * 11
    results = client.inference.map(items, "embed", model="m").results()
    assert [result.index for result in results if not result.ok] == [20]
    assert all(result.value == [2.0, 0.1] for result in results if result.ok)
    assert len(server.requests) == 11
    assert results[20].attempts == 6


def test_an_image_is_a_file(client: Client, server: Server, tmp_path: Path) -> None:
    """The checkpoint has an image as a file beside it; if that is missing or changed, the image is asked for again."""
    server.on("/v1/images/generations", json_answer({"data": [{"b64_json": base64.b64encode(PNG).decode()}]}))
    path = tmp_path / "out.jsonl"

    def ask() -> list[Any]:
        return client.inference.map(["a fox", "a wolf"], "image", model="m", checkpoint=path).results()

    ask()
    [file] = (tmp_path / "out.jsonl.files").iterdir()  # both images are equal
    assert file.read_bytes() == PNG
    assert file.suffix == ".png"
    assert base64.b64encode(PNG)[:40] not in path.read_bytes()
    for spoil in (lambda: file.write_bytes(b"changed"), file.unlink):
        spoil()
        assert [(result.stored, result.get().content) for result in ask()] == [(False, PNG)] * 2
        assert [result.stored for result in ask()] == [True] * 2


def test_the_default_model_is_asked_for_once(client: Client, server: Server, tmp_path: Path) -> None:
    """Without ``model=`` the server's first model is looked up once, not for each item, and is a part of the key; also without a checkpoint."""
    server.on("/v1/models", json_answer({"data": [{"id": "first"}, {"id": "second"}]}))
    server.on(CHAT, [lambda request: says(request.json()["model"])])
    path = tmp_path / "out.jsonl"
    results = client.inference.map([f"{number}" for number in range(20)], checkpoint=path).results()
    assert {result.get().text for result in results} == {"first"}
    assert [request.path for request in server.requests].count("/v1/models") == 1
    assert client.inference.map(["0"], model="first", checkpoint=path).results()[0].stored
    client.inference.map([f"{number}" for number in range(20)]).results()
    assert [request.path for request in server.requests].count("/v1/models") == 1


@pytest.mark.parametrize(
    ("call", "options", "error", "message"),
    [
        ("chat", {"temprature": 0}, TypeError, "did you mean temperature"),
        ("chat", {"worker": 3}, TypeError, "did you mean workers"),
        ("chat", {"prompt": "hi"}, TypeError, "the first argument"),
        ("chat", {"seed": "7"}, InvalidInputError, "seed must be a whole number"),
        ("parse", {}, InvalidInputError, "needs into="),
        ("parse", {"into": {"type": "object"}}, InvalidInputError, "a type is expected"),
        ("run_tools", {}, InvalidInputError, "needs tools="),
        ("run_tools", {"tools": [3]}, InvalidInputError, "a tool is a function"),
        ("task", {"name": "question-answerin"}, InvalidInputError, "question-answering"),
        ("embed", {"batch_size": 0}, InvalidInputError, "batch_size"),
        ("image", {"on_progress": print}, InvalidInputError, "on_progress"),
        ("rerank", {}, InvalidInputError, "one of chat, parse"),
    ],
)
def test_mistakes(client: Client, call: str, options: dict[str, Any], error: type[Exception], message: str) -> None:
    """An unknown option, or one of another type, raises at ``map``."""
    with pytest.raises(error, match=message):
        client.inference.map(["a"], call, **{"model": "m", **options})


@pytest.mark.parametrize(
    ("call", "item", "message"),
    [
        ("chat", {"input": "a", "temprature": 0}, "did you mean temperature"),
        ("chat", {"input": "a", "seed": "7"}, "seed must be a whole number"),
        ("parse", {"input": "a", "into": int}, "into"),
        ("embed", 7, "a text to embed is a string, not int"),
        ("embed", {"input": "a", "batch_size": 3}, "batch_size"),
        ("task", "a", "there is no task"),
    ],
)
def test_mistakes_in_an_item(client: Client, call: str, item: Any, message: str) -> None:
    """A wrong item of a list raises at ``map`` with its number; one of a generator is a failed result, and nothing is sent for it."""
    options = {"into": int} if call == "parse" else {}
    with pytest.raises(InvalidInputError, match=f"1.*{message}"):
        client.inference.map([{"input": "fine", **({"name": "translation"} if call == "task" else {})}, item], call, model="m", **options)
    [result] = client.inference.map((one for one in [item]), call, model="m", **options).results()
    assert isinstance(result.error, InvalidInputError)
    assert message in str(result.error)
