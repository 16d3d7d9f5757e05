"""OpenAI's batch files: run here, with the output in OpenAI's own form."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hfclient import Client
from hfclient.batch import read_results, write_requests
from hfclient.errors import InvalidInputError, Unsupported
from tests.server import Recorded, Server, json_answer, plain

CHAT, EMBED, RESPONSES = "/v1/chat/completions", "/v1/embeddings", "/v1/responses"
USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}


def line(name: str, url: str = CHAT, method: str = "POST", **body: Any) -> dict[str, Any]:
    return {"custom_id": name, "method": method, "url": url, "body": {"model": "gpt-4o-mini", **body}}


def chat_line(name: str, text: str, **body: Any) -> dict[str, Any]:
    return line(name, messages=[{"role": "user", "content": text}], **body)


def write(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in lines))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(entry) for entry in path.read_text().splitlines()]


def completion(request: Recorded) -> bytes:
    """What OpenAI answers, with fields that hfclient does not know; text "bad" is refused, "inside" fails in a 200."""
    body = request.json()
    text = body["messages"][-1]["content"]
    if text == "bad":
        error = {"message": "Invalid prompt", "type": "invalid_request_error", "param": "messages", "code": "bad_prompt"}
        return json_answer({"error": error}, 400, "x-request-id: req_bad")
    if text == "inside":
        return json_answer({"error": {"message": "CUDA out of memory", "type": "internal_error", "code": 500}})
    return json_answer(
        {
            "id": f"chatcmpl-{text}",
            "object": "chat.completion",
            "created": 1711471533,
            "model": body["model"],
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text.upper(), "refusal": None, "new_field": [1]},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {**USAGE, "prompt_tokens_details": {"cached_tokens": 2}},
            "system_fingerprint": "fp_1",
        },
        200,
        "x-request-id: req_1",
    )


def vectors(request: Recorded) -> bytes:
    given = request.json()["input"]
    texts = [given] if isinstance(given, str) else given
    data = [{"object": "embedding", "index": at, "embedding": [0.5, float(len(text))]} for at, text in enumerate(texts)]
    return json_answer({"object": "list", "data": data, "model": "e", "usage": {"prompt_tokens": 3, "total_tokens": 3}})


def response(request: Recorded) -> bytes:
    content = [{"type": "output_text", "text": "Hi", "annotations": []}]
    return json_answer(
        {
            "id": "resp_1",
            "object": "response",
            "model": "m",
            "output": [{"type": "message", "role": "assistant", "content": content}],
            "usage": {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7},
        }
    )


@pytest.fixture
def api(server: Server) -> Server:
    server.on(CHAT, [completion])
    server.on(EMBED, [vectors])
    server.on(RESPONSES, [response])
    server.on("/score", [json_answer({"detail": "Not Found"}, 404)])
    return server


@pytest.fixture
def client(api: Server) -> Iterator[Client]:
    with Client(api.url, token="", cookies="", session="", inference_url=f"{api.url}/v1") as opened:
        yield opened


def test_bodies_are_sent_and_answers_stored_unchanged(tmp_path: Path, client: Client, api: Server) -> None:
    """The body of a line is sent as it is, and the server's answer is in the output as it came; results are replies, too."""
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    body = {"temperature": 0, "tools": tools, "guided_regex": "[a-z]+", "max_completion_tokens": 5, "seed": None}
    path = write(tmp_path / "in.jsonl", [chat_line("one", "a", **body), chat_line("two", "b", stream=True)])
    results = client.inference.map(path).results()
    assert [(result.id, result.value.text, result.value.finish_reason) for result in results] == [("one", "A", "stop"), ("two", "B", "stop")]
    assert results[0].usage is not None
    assert results[0].usage.cached_tokens == 2
    sent = sorted((request.json() for request in api.requests), key=lambda request: request["messages"][0]["content"])
    assert sent[0] == chat_line("one", "a", **body)["body"]
    assert "stream" not in sent[1]

    assert client.inference.map(str(path)).write(tmp_path / "out.jsonl") == tmp_path / "out.jsonl"
    first, second = read(tmp_path / "out.jsonl")
    assert first["custom_id"] == "one"
    assert first["id"].startswith("batch_req_")
    assert first["error"] is None
    assert first["response"]["status_code"] == 200
    assert first["response"]["request_id"] == "req_1"
    assert first["response"]["body"]["choices"][0]["message"] == {"role": "assistant", "content": "A", "refusal": None, "new_field": [1]}
    assert second["response"]["body"]["id"] == "chatcmpl-b"
    assert not list(tmp_path.glob("*errors*"))


def test_openai_reads_the_answers(tmp_path: Path, client: Client) -> None:
    """The classes of OpenAI's SDK accept the bodies of the output."""
    types = pytest.importorskip("openai.types")
    chat = pytest.importorskip("openai.types.chat")
    client.inference.map(write(tmp_path / "in.jsonl", [chat_line("one", "a")])).write(tmp_path / "out.jsonl")
    body = chat.ChatCompletion.model_validate(read(tmp_path / "out.jsonl")[0]["response"]["body"], strict=True)
    assert body.choices[0].message.content == "A"
    client.inference.map(write(tmp_path / "in.jsonl", [line("e", EMBED, input=["a", "bc"])])).write(tmp_path / "out2.jsonl")
    embeddings = types.CreateEmbeddingResponse.model_validate(read(tmp_path / "out2.jsonl")[0]["response"]["body"], strict=True)
    assert [entry.embedding for entry in embeddings.data] == [[0.5, 1.0], [0.5, 2.0]]


def test_errors_have_a_file_of_their_own(tmp_path: Path, client: Client) -> None:
    """Failed requests are in the error file, with the server's own answer if it was an error status; an old error file goes."""
    path = write(tmp_path / "in.jsonl", [chat_line("a", "bad"), chat_line("b", "fine"), chat_line("c", "inside")])
    batch = client.inference.map(path)
    batch.write(tmp_path / "out.jsonl")
    assert [entry["custom_id"] for entry in read(tmp_path / "out.jsonl")] == ["b"]
    status, other = read(tmp_path / "out.errors.jsonl")
    assert status["custom_id"] == "a"
    assert status["error"] is None
    assert status["response"]["status_code"] == 400
    assert status["response"]["request_id"] == "req_bad"
    assert status["response"]["body"]["error"]["code"] == "bad_prompt"
    assert (other["custom_id"], other["response"]) == ("c", None)
    assert "CUDA out of memory" in other["error"]["message"]
    assert [result.id for result in batch.errors] == ["a", "c"]

    write(path, [chat_line("b", "fine")])
    with pytest.raises(InvalidInputError, match="exists already"):
        client.inference.map(path).write(tmp_path / "out.jsonl")
    client.inference.map(path).write(tmp_path / "out.jsonl", overwrite=True)
    assert not (tmp_path / "out.errors.jsonl").exists()


def test_other_routes(tmp_path: Path, client: Client) -> None:
    """Embeddings, responses and every other route of the server are run; each line may have another one."""
    path = write(tmp_path / "in.jsonl", [line("e", EMBED, input="abc"), line("r", RESPONSES, input="hi"), chat_line("c", "x"), line("n", "/score", a=1)])
    embedded, responded, chatted, unknown = client.inference.map(path)
    assert embedded.value.body["data"][0]["embedding"] == [0.5, 3.0]
    assert embedded.usage is not None
    assert embedded.usage.prompt_tokens == 3
    assert (responded.value.text, responded.usage.completion_tokens) == ("Hi", 2)
    assert chatted.value.text == "X"
    assert unknown.error is not None
    assert unknown.error.status_code == 404


def test_model_of_the_batch(tmp_path: Path, client: Client, api: Server) -> None:
    """model= replaces that of each line; extra_body adds fields that a line does not have; other options are refused."""
    path = write(tmp_path / "in.jsonl", [chat_line("one", "a", top_k=1), chat_line("two", "b")])
    client.inference.map(path, model="Qwen/Qwen3-8B", extra_body={"top_k": 2, "min_p": 0.1}).results()
    sent = sorted((request.json() for request in api.requests), key=lambda request: request["messages"][0]["content"])
    assert [(body["model"], body["top_k"], body["min_p"]) for body in sent] == [("Qwen/Qwen3-8B", 1, 0.1), ("Qwen/Qwen3-8B", 2, 0.1)]
    with pytest.raises(TypeError, match="the lines of OpenAI's batch files have all other fields"):
        client.inference.map(path, temperature=0)
    with pytest.raises((InvalidInputError, Unsupported), match="router"):
        client.inference.map(path, provider="groq")


def test_a_checkpoint_of_requests(tmp_path: Path, client: Client, api: Server) -> None:
    """Answers of requests are stored and handed out again as they were; the output of a second run is the same."""
    path = write(tmp_path / "in.jsonl", [chat_line("one", "a"), chat_line("two", "b")])
    client.inference.map(path, checkpoint=tmp_path / "c.jsonl").write(tmp_path / "1.jsonl")
    batch = client.inference.map(path, checkpoint=tmp_path / "c.jsonl")
    batch.write(tmp_path / "2.jsonl")
    assert (tmp_path / "1.jsonl").read_bytes() == (tmp_path / "2.jsonl").read_bytes()
    assert len(api.requests) == 2
    stored = {result.id: result.value for result in read_results(tmp_path / "c.jsonl")}
    assert (stored["one"].text, stored["two"].body["id"]) == ("A", "chatcmpl-b")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (chat_line("one", "b"), "line 2: the id 'one' is that of"),
        ({**chat_line("x", "b"), "custom_id": 5}, 'line 2: "custom_id" must be a string'),
        ({**chat_line("x", "b"), "method": "GET"}, 'line 2: "method" must be "POST"'),
        ({**chat_line("x", "b"), "url": "https://other.example/v1"}, 'line 2: "url" must be a route'),
        ({**chat_line("x", "b"), "url": "/v1/../admin"}, 'line 2: "url" must be a route'),
        ({**chat_line("x", "b"), "body": "text"}, 'line 2: "body" must be an object'),
        ({"prompt": "b"}, "line 2: this is not a request of OpenAI's batch files"),
    ],
)
def test_wrong_lines(tmp_path: Path, client: Client, api: Server, entry: dict[str, Any], message: str) -> None:
    """A wrong line is an error with its number, before the first request."""
    path = write(tmp_path / "in.jsonl", [chat_line("one", "a"), entry])
    with pytest.raises(InvalidInputError) as raised:
        client.inference.map(path)
    assert message in str(raised.value)
    assert not api.requests


def test_a_page_instead_of_an_answer(tmp_path: Path, client: Client, api: Server) -> None:
    """A proxy's page with status 200 is an error of the line."""
    api.on(CHAT, plain("<html>Welcome</html>", 200, "Content-Type: text/html"))
    (result,) = client.inference.map(write(tmp_path / "in.jsonl", [chat_line("one", "a")]))
    assert "should give JSON" in str(result.error)


def test_rows_of_requests(tmp_path: Path, client: Client) -> None:
    """In a table, a request is a row with its id and the answer."""
    client.inference.map(write(tmp_path / "in.jsonl", [chat_line("one", "a")])).write(tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "custom_id,answer,error,finish_reason,prompt_tokens,completion_tokens\none,A,,stop,5,7\n"


def test_round_trip(tmp_path: Path, client: Client, api: Server) -> None:
    """A file of requests that was written from prompts runs here, and sends what the call itself sends."""
    items = [{"prompt": "a", "id": "first"}, {"prompt": "b", "temperature": 1, "extra_body": {"min_p": 0.1}}]
    path = write_requests(tmp_path / "requests.jsonl", items, model="m", system_prompt="Be terse.", temperature=0, max_tokens=5)
    lines = read(path)
    assert [(entry["custom_id"], entry["method"], entry["url"]) for entry in lines] == [("first", "POST", CHAT), ("1", "POST", CHAT)]
    assert lines[0]["body"]["messages"] == [{"role": "system", "content": "Be terse."}, {"role": "user", "content": "a"}]
    assert (lines[1]["body"]["temperature"], lines[1]["body"]["min_p"]) == (1, 0.1)
    assert not api.requests
    client.inference.map(items, model="m", system_prompt="Be terse.", temperature=0, max_tokens=5).results()
    direct = [request.json() for request in api.requests]
    results = client.inference.map(path).results()
    assert [result.value.text for result in results] == ["A", "B"]
    assert sorted(map(str, direct)) == sorted(str(request.json()) for request in api.requests[2:])


def test_requests_of_embeddings(tmp_path: Path, client: Client) -> None:
    """Embeddings of a table become requests, which OpenAI's types accept, and run here."""
    (tmp_path / "in.csv").write_text("key,text\nx,one\ny,two\n")
    path = write_requests(tmp_path / "r.jsonl", tmp_path / "in.csv", call="embed", model="e", column={"input": "text", "id": "key"})
    assert [(entry["custom_id"], entry["url"]) for entry in read(path)] == [("x", EMBED), ("y", EMBED)]
    params = pytest.importorskip("openai.types").EmbeddingCreateParams
    assert set(read(path)[0]["body"]) <= set(params.__annotations__)
    assert [result.value.body["data"][0]["embedding"] for result in client.inference.map(path)] == [[0.5, 3.0], [0.5, 3.0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "item 0 has no model"),
        ({"model": "m", "provider": "groq"}, "provider= cannot be used"),
        ({"model": "m", "call": "classify"}, "classify"),
    ],
)
def test_requests_that_cannot_be_written(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    """What has no place in a file of requests is refused, and no file is left."""
    with pytest.raises(InvalidInputError, match=message):
        write_requests(tmp_path / "r.jsonl", ["a"], **options)
    assert not list(tmp_path.iterdir())
