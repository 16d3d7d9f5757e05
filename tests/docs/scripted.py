"""A scripted model for the examples of the documentation: an OpenAI-compatible server with fixed answers.

`LocalScripted` puts it behind ``Client.local()``, so that an example runs exactly as it is on its page.
"""

from __future__ import annotations

import atexit
import base64
import functools
import json
import os
import shutil
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.docs.pictures import lighthouse
from tests.docs.scripted_batches import DATA, batch_answer

MODEL = "SmolLM2-135M-Instruct"
CSV = """\
Use `csv.DictReader`: each row becomes a dict whose keys are the **names of the columns**.

```python
import csv

with open("cities.csv", newline="", encoding="utf-8") as file:
    for row in csv.DictReader(file):
        print(row["name"], int(row["inhabitants"]))
```

| argument | why |
|---|---|
| `newline=""` | keeps line ends inside of quoted fields |
| `encoding="utf-8"` | does not depend on the system |
"""
PANDAS = """\
One line, which also knows the types of the columns:

```python
cities = pandas.read_csv("cities.csv")
```
"""
ANSWERS = {
    "How do I read a CSV file in Python?": CSV,
    "And with pandas?": PANDAS,
    "Why is the sky blue?": "Because air scatters blue light more than red.",
    "What is rain?": "Water that falls from clouds.",
    "What is the capital of France?": "Paris.",
    "And of Italy?": "Rome.",
    "What is the capital of Italy?": "Rome.",
    "What is 6 times 7?": "<think>6 times 7 is 42.</think>42.",
    "Count to ten.": "one two three four five six seven eight nine ten",
    "Paris is the capital of France.": '{"city": "Paris", "country": "France"}',
    "The largest city of France?": '{"name": "Paris", "inhabitants": 2100000}',
    "The three largest cities of France?": '{"value": ["Paris", "Marseille", "Lyon"]}',
    "And of nowhere?": "I know of no such place.",
    "What is in the image?": "A field of grey.",
    "Show the loops of Python in a short function.": """<think>The user wants the loops of Python, in a function. There are two statements, and
comprehensions.</think>Python has **two loops**. A `for` loop repeats a block once for each item:

```python
def squares(limit: int) -> list[int]:
    \"\"\"Return the squares below a limit.\"\"\"
    found = []
    for number in range(limit):
        if number**2 >= limit:
            break
        found.append(number**2)
    return found
```

| Loop | Use it when |
|:-----|:------------|
| `for` | the items are known |
| `while` | a condition decides |
""",
    "What is the capital of Italy? One word.": "Rome.",
    "And how many people live there?": "About 2.8 million people live in Rome.",
}
# How the model continues a text.
COMPLETIONS = {
    "One, two, three,": [" four", ","],
    "<|im_start|>user\nWhat is the capital of France?\n<|im_end|>\n<|im_start|>assistant\nIt is": [" Paris", "."],
}
# Which tools the model calls; with their results it answers "The tools say: ...".
CALLS = {
    "Is it warm in Paris and in Rome?": [
        ("get_weather", {"city": "Paris"}),
        ("get_weather", {"city": "Rome", "unit": "fahrenheit"}),
    ],
    "Tidy up.": [("delete_file", {"path": "/etc/passwd"})],
}

# Prompts whose images are pictures of a lighthouse; all others are grey.
PICTURES = {"a lighthouse by the sea"}

# A grey image of 16 by 8 pixels, and the head of a recording.
IMAGE = "iVBORw0KGgoAAAANSUhEUgAAABAAAAAICAIAAAB/FOjAAAAAEUlEQVR4nGNoIBEwjGqghQYACiXAAXAO4KUAAAAASUVORK5CYII="
PNG = base64.b64decode(IMAGE)
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt "


def _text(content: Any) -> str:
    """The text of a message, which may have images after it."""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _usage(prompt: str, text: str) -> dict[str, int]:
    """The tokens of an answer: its words."""
    used = {"prompt_tokens": len(prompt.split()), "completion_tokens": len(text.split(" "))}
    return {**used, "total_tokens": sum(used.values())}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path.endswith("/models"):
            self._answer("application/json", json.dumps({"object": "list", "data": [{"id": MODEL}]}).encode())
        else:
            self._answer("application/json", b'{"status":"ok"}')

    def do_POST(self) -> None:
        time.sleep(self.server.pause)  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/audio/transcriptions"):
            self._answer("application/json", b'{"text": "Hello."}')
            return
        asked = json.loads(body)
        if self.path.endswith("/audio/speech"):
            self._answer("audio/mpeg", b"ID3\x04\x00\x00\x00\x00\x00\x00")
            return
        if self.path.endswith("/embeddings"):
            data = [{"index": i, "embedding": [len(text), text.count(" "), 1]} for i, text in enumerate(asked["input"])]
            self._answer("application/json", json.dumps({"data": data}).encode())
            return
        if self.path.endswith("/images/generations"):
            images = [IMAGE] * asked.get("n", 1)
            if asked["prompt"] in PICTURES:
                images = [base64.b64encode(lighthouse(number)).decode() for number in range(asked.get("n", 1))]
            self._answer("application/json", json.dumps({"data": [{"b64_json": image} for image in images]}).encode())
            return
        if self.path.endswith("/v1/completions"):
            self._complete(asked["prompt"], asked.get("logprobs"))
            return
        users = [_text(said["content"]) for said in asked.get("messages", ()) if said["role"] == "user"]
        # The last prompt that does not complain about an answer: a repair gets the same answer again.
        prompt = next((text for text in reversed(users) if "That does not fit" not in text), "")
        prompt = prompt.partition("\n\nAnswer with JSON only")[0]  # of the command line's --schema
        results = [said["content"] for said in asked["messages"] if said["role"] == "tool"]
        if asked.get("tools") and prompt in CALLS and not results:
            self._call(CALLS[prompt])
            return
        fails = prompt == "fail in the middle"
        text = "The first half" if fails else batch_answer(asked, prompt) or ANSWERS.get(prompt, f"You said: {prompt}")
        if results:
            text = f"The tools say: {'; '.join(results)}"
        if not asked.get("stream"):
            message = {"role": "assistant", "content": text}
            body = {"model": asked.get("model", MODEL), "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": _usage(prompt, text)}
            self._answer("application/json", json.dumps(body).encode())
            return
        words = text.split(" ")
        chunks: list[dict[str, Any]] = [
            {"choices": [{"index": 0, "delta": {"content": word if i == 0 else " " + word}, "finish_reason": None}]}
            for i, word in enumerate(words)
        ]
        if fails:
            chunks.append({"error": {"message": "the model ran out of memory", "code": 500}})
        else:
            chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            chunks.append({"choices": [], "usage": _usage(prompt, text)})
        lines = [f"data: {json.dumps({'model': MODEL, **chunk})}\n\n" for chunk in chunks]
        self._answer("text/event-stream", "".join([*lines, "data: [DONE]\n\n"]).encode())

    def _complete(self, prompt: str, probabilities: int | None) -> None:
        texts = COMPLETIONS.get(prompt, [" and so on."])
        chunks: list[dict[str, Any]] = [
            {"choices": [{"index": 0, "text": text, "finish_reason": "stop" if text == texts[-1] else None}]}
            for text in texts
        ]
        for chunk in chunks if probabilities else []:
            chunk["choices"][0]["logprobs"] = {"token_logprobs": [-0.25]}
        usage = {"prompt_tokens": len(prompt.split()), "completion_tokens": len(texts)}
        chunks.append({"choices": [], "usage": {**usage, "total_tokens": sum(usage.values())}})
        lines = [f"data: {json.dumps({'model': MODEL, **chunk})}\n\n" for chunk in chunks]
        self._answer("text/event-stream", "".join([*lines, "data: [DONE]\n\n"]).encode())

    def _call(self, calls: list[tuple[str, dict[str, Any]]]) -> None:
        entries = [
            {"index": i, "id": f"call{i:05}", "function": {"name": name, "arguments": json.dumps(arguments)}}
            for i, (name, arguments) in enumerate(calls)
        ]
        chunks: list[dict[str, Any]] = [
            {"choices": [{"index": 0, "delta": {"tool_calls": entries}, "finish_reason": None}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
        ]
        lines = [f"data: {json.dumps({'model': MODEL, **chunk})}\n\n" for chunk in chunks]
        self._answer("text/event-stream", "".join([*lines, "data: [DONE]\n\n"]).encode())

    def _answer(self, content_type: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class ScriptedModel:
    """The server, as a context manager.

    Args:
        pause: Seconds before each answer.
    """

    def __init__(self, pause: float = 0.0) -> None:
        self._pause = pause

    def __enter__(self) -> ScriptedModel:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.pause = self._pause  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class LocalScripted(ScriptedModel):
    """The server, answering ``Client.local()`` while it runs; at the end the clients are closed."""

    def __enter__(self) -> LocalScripted:
        super().__enter__()
        from hfclient import Client

        self._original = Client.__dict__["local"]
        self._clients: list[Any] = []

        def local(cls: type[Client], **options: Any) -> Client:
            client = self._original.__func__(cls, **{"upstream": self.url, **options})
            self._clients.append(client)
            return client

        Client.local = classmethod(functools.wraps(self._original.__func__)(local))  # type: ignore[assignment,method-assign]
        return self

    def __exit__(self, *exc_info: object) -> None:
        from hfclient import Client

        for client in self._clients:
            client.close()
        Client.local = self._original  # type: ignore[method-assign]
        super().__exit__(*exc_info)


def start_in_kernel() -> None:
    """Start the server for the rest of this process: a kernel that runs a notebook of the documentation."""
    for number in range(4):
        lighthouse(number)  # drawn before it is asked for: an answer that takes long would show a progress bar
    running = LocalScripted().__enter__()
    atexit.register(running.__exit__)
    folder = tempfile.mkdtemp()  # with the files that notebooks read; what they write is removed with it
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for path in DATA.iterdir():
        shutil.copy(path, folder)
    os.chdir(folder)
