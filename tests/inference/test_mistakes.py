"""Common mistakes: each raises before a request is sent, and the error says what to write instead."""

from __future__ import annotations

import base64
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import hfclient
from hfclient import Client, Timeouts
from hfclient.errors import CredentialsError, InvalidInputError, Unsupported
from hfclient.inference import InferenceClient
from tests.inference.answers import CHAT, says
from tests.server import Server, json_answer

Call = Callable[[InferenceClient], Any]


@pytest.fixture
def inference(server: Server) -> Iterator[InferenceClient]:
    """A client of a server that must not get a request."""
    with Client(inference_url=server.url, hub_url=server.url, token="") as client:
        yield client.inference


def _add(number: int) -> int:
    return number + 1


SECONDS: dict[str, Call] = {
    "chat": lambda inference: inference.chat("hi", model="m", timeouts=30),  # type: ignore[arg-type]
    "classify": lambda inference: inference.classify("hi", model="m", timeouts=30),
    "embed": lambda inference: inference.embed("hi", model="m", timeouts=30),  # type: ignore[call-overload]
    "image": lambda inference: inference.image("hi", model="m", timeouts=30),  # type: ignore[arg-type]
    "images": lambda inference: inference.images("hi", 2, model="m", timeouts=30),  # type: ignore[arg-type]
    "parse": lambda inference: inference.parse("hi", int, model="m", timeouts=30),  # type: ignore[call-overload]
    "run_tools": lambda inference: inference.run_tools("hi", [_add], model="m", timeouts=30),  # type: ignore[arg-type]
    "speak": lambda inference: inference.speak("hi", model="m", timeouts=30),  # type: ignore[arg-type]
    "text": lambda inference: inference.text("hi", model="m", timeouts=30),  # type: ignore[arg-type]
    "transcribe": lambda inference: inference.transcribe(b"ID3", model="m", timeouts=30),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", SECONDS)
def test_seconds_for_timeouts(server: Server, inference: InferenceClient, name: str) -> None:
    """Every call refuses a number of seconds as timeouts."""
    with pytest.raises(InvalidInputError, match=r"timeouts is Timeouts\(total=30\), not 30"):
        SECONDS[name](inference)
    assert not server.requests


@pytest.mark.parametrize("option", ["timeouts", "retry", "limits"])
def test_options_of_the_client(option: str) -> None:
    """The constructor refuses such a number, too."""
    given: dict[str, Any] = {option: 5}
    with pytest.raises(InvalidInputError, match=rf"{option} is {option.title()}\(.*\), not 5"):
        Client(**given)


def test_listener_that_is_not_callable() -> None:
    """A listener that is not callable raises at the call, not at the first event."""
    given: Any = "print"
    with pytest.raises(InvalidInputError, match="on_event is a function"):
        Client(on_event=given)


def test_chats_refuse_seconds(server: Server) -> None:
    """A chat with HuggingChat refuses seconds, too."""
    with Client(server.url, token="", cookies="") as client, pytest.raises(InvalidInputError, match="timeouts is Timeouts"):
        client.chat("hi", timeouts=30)  # type: ignore[arg-type]
    assert not server.requests


MISTAKES: list[tuple[Call, type[Exception], str]] = [
    (lambda inference: inference.chat("hi", model=["m"]), InvalidInputError, "model must be a string or None, not list"),  # type: ignore[arg-type]
    (lambda inference: inference.chat("hi", model="m", provider=5), InvalidInputError, "by its id.*not by int"),  # type: ignore[arg-type]
    (lambda inference: inference.chat("hi", model="m", provider="together"), Unsupported, "leave inference_url at"),
    (lambda inference: inference.embed("hi", model=5), InvalidInputError, "model must be a string or None, not int"),  # type: ignore[call-overload]
    (lambda inference: inference.image("hi", num_inference_steps=5), TypeError, "did you mean steps"),  # type: ignore[call-arg]
    (lambda inference: inference.image("hi", guidance_scale=5), TypeError, "did you mean guidance"),  # type: ignore[call-arg]
    (lambda inference: inference.image("hi", timeout=5), TypeError, "did you mean timeouts=Timeouts"),  # type: ignore[call-arg]
    (lambda inference: inference.image("hi", stream=True), TypeError, "extra_body="),  # type: ignore[call-arg]
    (lambda inference: inference.video("hi", num_frame=5), TypeError, "did you mean num_frames"),  # type: ignore[call-arg]
    (lambda inference: inference.image(None), InvalidInputError, "prompt must be a string, not None"),  # type: ignore[arg-type]
    (lambda inference: inference.image_to_image(None, "hi"), InvalidInputError, "image is None"),  # type: ignore[arg-type]
    (lambda inference: inference.image_to_image(None), InvalidInputError, "image is None"),  # type: ignore[arg-type]
    (lambda inference: inference.transcribe(5), InvalidInputError, "an audio file is a path"),  # type: ignore[arg-type]
    (lambda inference: inference.images("hi", 2, seed="7"), InvalidInputError, "seed must be a whole number or None, not str"),  # type: ignore[arg-type]
    (lambda inference: inference.images("hi", 2, seed=2**32), InvalidInputError, "a seed is a whole number"),
    (lambda inference: inference.video("hi"), Unsupported, "your own server does not have text-to-video"),
    (lambda inference: inference.video("hi", image=b"\x89PNG\r\n\x1a\n"), Unsupported, "does not have image-to-video"),
    (lambda inference: inference.speak(b"hi"), InvalidInputError, "text must be a string, not bytes"),  # type: ignore[arg-type]
    (lambda inference: inference.at(None), InvalidInputError, "url must be a string, not None"),  # type: ignore[arg-type]
    (lambda inference: inference.image("hi", on_progress=5), InvalidInputError, "on_progress must be a function"),  # type: ignore[arg-type]
    (
        lambda inference: inference.run_tools("hi", [_add], model="m", approve=True),  # type: ignore[arg-type]
        InvalidInputError,
        "approve must be a function",
    ),
]


@pytest.mark.parametrize("number", range(len(MISTAKES)))
def test_mistakes(server: Server, inference: InferenceClient, number: int) -> None:
    """An invalid argument raises before a request is sent, and the error describes it."""
    call, kind, words = MISTAKES[number]
    with pytest.raises(kind, match=words):
        call(inference)
    assert not server.requests


def test_key_that_is_none() -> None:
    """None as a provider's key, as from os.environ.get(), raises a CredentialsError that names the provider."""
    keys: dict[str, Any] = {"together": None}
    with pytest.raises(CredentialsError, match="the key for together is None"):
        Client(provider_keys=keys)


def test_pickled_streams(server: Server, inference: InferenceClient) -> None:
    """Pickling a stream of any call raises an error that says what can be pickled."""
    server.on(CHAT, says("5"))
    for stream in (inference.chat("hi", model="m"), inference.parse_stream("hi", int, model="m")):
        with stream, pytest.raises(TypeError, match=r"what result\(\) returns"):
            pickle.dumps(stream)


def test_pickled_jobs(server: Server, inference: InferenceClient) -> None:
    """Pickling a job raises an error that says what can be pickled."""
    image = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()
    server.on("/v1/images/generations", json_answer({"data": [{"b64_json": image}]}))
    with pytest.raises(TypeError, match=r"to_dict\(\) returns can be stored"):
        pickle.dumps(inference.image_job("hi", model="m"))


def test_dir() -> None:
    """dir() has all public names, including those that are imported late."""
    assert set(hfclient.__all__) <= set(dir(hfclient))


def test_next(server: Server, inference: InferenceClient) -> None:
    """A loop after next() continues the stream of an object, as on all other streams."""
    server.on(CHAT, says('{"value": [1,', " 2,", " 3]}"))
    with inference.parse_stream("hi", list[int], model="m", timeouts=Timeouts(total=9)) as stream:
        assert next(stream) == [1]
        assert list(stream) == [[1, 2], [1, 2, 3]]
        assert stream.result() == [1, 2, 3]
