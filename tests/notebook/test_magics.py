"""The magics in a real shell of IPython, against the embedded server with a scripted model."""

from __future__ import annotations

import atexit
import getpass
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("IPython")
pytest.importorskip("waitress", reason="the embedded server needs the extra: local")

from IPython.core.error import StdinNotImplementedError
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from hfclient import Client, Conversation, Reply
from hfclient.local import LocalServer
from hfclient.notebook.magic_options import CHAT
from tests.chat.login_server import LoginServer
from tests.chat.replay import ChatUI
from tests.local.upstream import Fail, ScriptedUpstream
from tests.server import Server, json_answer


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as running:
        running.say("Hi", ["Hello", " there."])
        yield running


@pytest.fixture
def client(upstream: ScriptedUpstream) -> Iterator[Client]:
    with LocalServer(upstream=upstream.url) as server, Client(server.url, inference_url=upstream.url) as made:
        yield made


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A shell with the extension."""
    (tmp_path / "ipython").mkdir()
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    config = Config()
    config.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    running = InteractiveShell.instance(config=config)
    running.run_line_magic("load_ext", "hfclient")
    yield running
    running.run_line_magic("unload_ext", "hfclient")
    for value in running.user_ns.values():
        if isinstance(value, Client):
            value.close()
    atexit.unregister(running.atexit_operations)
    InteractiveShell.clear_instance()


@pytest.fixture
def notebook(shell: Any, client: Client) -> Any:
    """A shell whose variable ``client`` is a client of the embedded server."""
    shell.user_ns["client"] = client
    return shell


def run(shell: Any, cell: str) -> Any:
    """Run a cell that succeeds; return its value."""
    done = shell.run_cell(cell)
    done.raise_error()
    return done.result


def fails(shell: Any, cell: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a cell that fails; return what the notebook shows of it."""
    capsys.readouterr()
    assert not shell.run_cell(cell).success
    shown = capsys.readouterr()
    return (shown.out + shown.err).strip()


def prompts(upstream: ScriptedUpstream) -> list[str]:
    """The user messages of the last request."""
    return [message["content"] for message in upstream.last_messages() if message["role"] == "user"]


# Conversations


def test_a_conversation_goes_on(notebook: Any, upstream: ScriptedUpstream, capsys: pytest.CaptureFixture[str]) -> None:
    """A cell with ``%%chat`` shows the answer, and the next one continues the conversation, which is a variable."""
    run(notebook, "%%chat\nHi\n")
    assert "Hello there." in capsys.readouterr().out
    run(notebook, "%chat And now?")
    assert prompts(upstream) == ["Hi", "And now?"]
    conversation = notebook.user_ns["conversation"]
    assert isinstance(conversation, Conversation)
    assert len(conversation.messages()) == 5  # with the system prompt
    conversation.ask("From Python")
    run(notebook, "%chat Again")
    assert prompts(upstream) == ["Hi", "And now?", "From Python", "Again"]


def test_the_reply_is_the_value_of_the_cell(notebook: Any) -> None:
    """The reply is ``_`` and ``Out``, and the variable of ``--into``; the cell itself has no second display."""
    assert notebook.run_cell("%%chat --into answer\nHi", store_history=True).result is None
    reply = notebook.user_ns["answer"]
    assert isinstance(reply, Reply)
    assert reply.text == "Hello there."
    assert notebook.user_ns["_"] is reply
    assert reply in notebook.user_ns["Out"].values()
    assert run(notebook, "answer.text.upper()") == "HELLO THERE."


def test_names_and_new(notebook: Any, upstream: ScriptedUpstream) -> None:
    """``--name`` keeps conversations apart, and ``--new`` starts another one."""
    run(notebook, "%chat --name first one")
    run(notebook, "%chat --name second two")
    run(notebook, "%chat --name first three")
    assert prompts(upstream) == ["one", "three"]
    before = notebook.user_ns["first"]
    run(notebook, "%chat --new --name first four")
    assert prompts(upstream) == ["four"]
    assert notebook.user_ns["first"] is not before


def test_the_system_prompt_and_the_model(notebook: Any, upstream: ScriptedUpstream, capsys: pytest.CaptureFixture[str]) -> None:
    """``--system`` and ``--model`` apply to a new conversation; a model can change later, a system prompt cannot."""
    header = '%%chat --system "Be terse." -m test/model\n'
    run(notebook, header + "one")
    assert upstream.last_messages()[0] == {"role": "system", "content": "Be terse."}
    assert upstream.requests[-1]["model"] == "test/model"
    run(notebook, header + "two")
    run(notebook, "%chat --model=test/other three")
    assert upstream.requests[-1]["model"] == "test/other"
    assert prompts(upstream) == ["one", "two", "three"]
    assert "--new starts another" in fails(notebook, "%chat --system='Be long.' four", capsys)
    assert fails(notebook, "%chat -m test/modle five", capsys).startswith("ModelNotFound: there is no model 'test/modle' here; did you mean")


def test_files(notebook: Any, upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """``--file`` attaches a path, the path in a variable, or the content of a variable."""
    (tmp_path / "a b.txt").write_text("first")
    notebook.user_ns |= {"path": tmp_path / "a b.txt", "notes": [("n.txt", b"second"), ("m.txt", b"third")]}
    run(notebook, f'%%chat --file "{tmp_path / "a b.txt"}" --file {{path}} --file {{notes}}\nRead them.')
    sent = upstream.last_messages()[-1]["content"]
    assert sent.count("first") == 2
    assert "second" in sent
    assert "third" in sent


def test_another_client(notebook: Any, upstream: ScriptedUpstream, capsys: pytest.CaptureFixture[str]) -> None:
    """A conversation that ``%%chat`` started is replaced when ``client`` is another one; one of the user's is not."""
    run(notebook, "%chat one")
    with LocalServer(upstream=upstream.url) as server, Client(server.url) as other:
        notebook.user_ns["client"] = other
        run(notebook, "%chat two")
        assert "A new conversation" in capsys.readouterr().out
        assert prompts(upstream) == ["two"]
        own = notebook.user_ns["conversation"] = other.conversation()
        notebook.user_ns["another"] = Client(server.url)
        assert "belongs to another client" in fails(notebook, "%chat --client another three", capsys)
        assert notebook.user_ns["conversation"] is own
        run(notebook, "%chat --client another --new four")


def test_no_client(shell: Any, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a client the extension makes one from the environment, as the variable ``client``."""
    with LocalServer(upstream=upstream.url) as server:
        monkeypatch.setenv("HFCLIENT_BASE_URL", server.url)
        run(shell, "%chat Hi")
        assert shell.user_ns["client"].base_url == server.url
        made = shell.user_ns["client"]
        run(shell, "%chat --local Hi")
        assert shell.user_ns["client"] is made


def test_local(shell: Any, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """``--local`` makes a client with the embedded server, and does not use a client of another machine."""
    original = Client.__dict__["local"].__func__
    monkeypatch.setattr(Client, "local", classmethod(lambda cls: original(cls, upstream=upstream.url)))
    shell.user_ns["remote"] = Client("https://chat.example")
    assert "--local needs another variable" in fails(shell, "%chat --local --client remote Hi", capsys)
    run(shell, "%chat --local Hi")
    run(shell, "%chat Hi")
    assert prompts(upstream) == ["Hi", "Hi"]


def test_a_conversation_is_found_after_a_restart(notebook: Any, client: Client, upstream: ScriptedUpstream) -> None:
    """After a restart of the kernel the list of conversations has the old one, and ``%%chat`` continues it."""
    run(notebook, "%chat one")
    for name in ("conversation", "_"):
        del notebook.user_ns[name]
    run(notebook, "newest = client.conversations.list(limit=20)[0]\nconversation = client.conversation(newest.id)")
    run(notebook, "%chat two")
    assert prompts(upstream) == ["one", "two"]
    assert run(notebook, "conversation.attach().result().text") == notebook.user_ns["conversation"].messages()[-1].content


# Conversations with an inference server


@pytest.fixture
def router(shell: Any, upstream: ScriptedUpstream) -> Any:
    """A shell whose variable ``client`` has an inference server, and no login for a chat server."""
    shell.user_ns["client"] = Client("https://chat.example", token="", cookies="", inference_url=upstream.url)
    return shell


def test_messages_go_on(router: Any, upstream: ScriptedUpstream, capsys: pytest.CaptureFixture[str]) -> None:
    """``--inference`` begins a list of messages, which later cells and cells of Python continue; the model is kept."""
    run(router, "%%chat --inference -m test/other --system 'Be terse.' --into said\nHi")
    assert "Hello there." in capsys.readouterr().out
    conversation = router.user_ns["conversation"]
    assert isinstance(conversation, list)
    assert conversation == [{"role": "system", "content": "Be terse."}, {"role": "user", "content": "Hi"}, router.user_ns["said"]]
    run(router, "%chat And now?")
    assert upstream.requests[-1]["model"] == "test/other"
    assert upstream.last_messages() == [
        {"role": "system", "content": "Be terse."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello there."},
        {"role": "user", "content": "And now?"},
    ]
    run(router, "conversation[-2:] = []\n%chat -m test/model Again")
    assert prompts(upstream) == ["Hi", "Again"]
    run(router, "reply = client.inference.chat([*conversation, {'role': 'user', 'content': 'From Python'}]).result()")
    assert prompts(upstream) == ["Hi", "Again", "From Python"]
    assert "another system prompt" in fails(router, "%chat --system 'Be long.' x", capsys)
    run(router, "%chat --new Afresh")
    assert upstream.requests[-1]["model"] == "test/model"
    assert upstream.last_messages() == [{"role": "user", "content": "Afresh"}]


def test_messages_of_the_user(router: Any, upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """A list of the user's own is continued in its place, with files in the message that has them."""
    own = router.user_ns["own"] = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
    router.user_ns["notes"] = ("n.txt", b"first")
    (tmp_path / "b.txt").write_text("second")
    run(router, f"%chat --name own --file {{notes}} --file {tmp_path / 'b.txt'} Read it.")
    assert "first" in str(upstream.last_messages()[-1])
    assert "second" in str(upstream.last_messages()[-1])
    run(router, "%chat --name own Again")
    assert "first" in str(upstream.last_messages()[-3])
    assert router.user_ns["own"] is own
    assert [message["content"] for message in own[::2]] == ["Hi", "Read it.", "Again"]


def test_a_cut_message_stays_and_a_refused_one_does_not(router: Any, upstream: ScriptedUpstream, capsys: pytest.CaptureFixture[str]) -> None:
    """An answer that was cut goes on from what came; a message without an answer is not in the list."""
    upstream.say("bad", [Fail(400, "too long")])
    upstream.say("cut", ["The first half", {"error": {"message": "out of memory", "code": 500}}])
    assert fails(router, "%chat --inference -m test/model bad", capsys).startswith("BadRequestError: ")
    assert router.user_ns["conversation"] == []
    assert "GenerationError: " in fails(router, "%chat -m test/model cut", capsys)
    run(router, "%chat Go on")
    assert [message["content"] for message in upstream.last_messages()] == ["cut", "The first half", "Go on"]


def test_from_a_chat_server_to_inference(notebook: Any, upstream: ScriptedUpstream, capsys: pytest.CaptureFixture[str]) -> None:
    """``--inference`` replaces a conversation that ``%%chat`` started, and not one of the user's."""
    run(notebook, "%chat one")
    run(notebook, "%chat --inference two")
    assert "A new conversation: conversation was with a chat server." in capsys.readouterr().out
    assert upstream.last_messages() == [{"role": "user", "content": "two"}]
    run(notebook, "own = client.conversation()")
    assert "own is a conversation with a chat server; --new starts" in fails(notebook, "%chat --inference --name own three", capsys)
    run(notebook, "%chat --inference --name own --new three")
    assert isinstance(notebook.user_ns["own"], list)


def test_a_missing_login_names_inference(shell: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """HuggingChat without a login is one line with both ways to go on; the router without a token says where it looks for one."""
    shell.user_ns["client"] = Client(token="", cookies="")
    shown = fails(shell, "%chat --name chat Hi", capsys)
    assert shown.startswith("CredentialsError: HuggingChat needs a login: %chat_login. With a Hub token alone")
    assert shown.endswith("%%chat --inference -m MODEL")
    shown = fails(shell, "%chat --inference -m org/model Hi", capsys)
    assert shown.startswith("CredentialsError: ")
    assert "HF_TOKEN" in shown


# Variables in texts


def test_variables(notebook: Any, upstream: ScriptedUpstream) -> None:
    """``{name}`` becomes the value of a variable; code, JSON, LaTeX and unknown names stay as they are."""
    notebook.user_ns |= {"city": "Paris", "a": 1, "row": {"x": [2.5], "a]b": 1, "a[b": 2}, "i": 3, "json": __import__("json"), "reply": Reply(text="said")}
    cases = {
        "Where is {city}?": "Where is Paris?",
        "{row['x'][0]:.2f} and {city!r} {reply}": "2.50 and 'Paris' said",
        "{row['a]b']} {row['a[b']:>4}": "1    2",
        r"$\frac{a}{b}$, $x_{i}^{i}$, \textbf{a} {{city}} ${city}": None,
        '{"a": 1, "city": {"a": [1, {}]}}': None,
        "{json} {unknown} {list} {a + 1} {city.upper()} { city }": None,
        "def f(x):\n    return {a for a in x}\n": "def f(x):\n    return {a for a in x}",
        "{% if city %}{{ city }}{% endif %} $city $HOME": None,
    }
    for text, sent in cases.items():
        run(notebook, f"%%chat --new\n{text}")
        assert prompts(upstream) == [sent or text]
    run(notebook, "%chat --new Where is {city}? It's \"here\"; $city")
    assert prompts(upstream) == ['Where is Paris? It\'s "here"; $city']
    run(notebook, "%chat --new --raw Where is {city}?")
    assert prompts(upstream) == ["Where is {city}?"]


def test_wrong_variables(notebook: Any, upstream: ScriptedUpstream, capsys: pytest.CaptureFixture[str]) -> None:
    """An attribute, index or format that a variable does not have is an error, and nothing is sent."""
    notebook.user_ns |= {"a": 1, "data": {}, "huge": 10**5000}
    cases = {"{a.b}": "no attribute", "{data['k']}": "KeyError", "{a:%Y}": "ValueError", "{huge!r}": "ValueError"}
    cases |= {"{a:>999999999}": "huge length", "{a:.999999999f}": "huge length"}
    for field, reason in cases.items():
        shown = fails(notebook, f"%chat {field}", capsys)
        assert shown.startswith(f"UsageError: {field}: ")
        assert reason in shown
        assert shown.count("\n") == 0
    assert upstream.requests == []


def test_questions(notebook: Any, upstream: ScriptedUpstream, capsys: pytest.CaptureFixture[str]) -> None:
    """A line that ends with a question mark is a question, and not IPython's call for help; a text in quotes stays."""
    run(notebook, "%chat What's rain?")
    run(notebook, "for word in ('sun', 'moon'):\n    %chat What is the {word}?  \n%chat Why??\n")
    assert prompts(upstream) == ["What's rain?", "What is the sun?", "What is the moon?", "Why??"]
    assert run(notebook, 'text = """\n%chat What?\n"""\ntext') == "\n%chat What?\n"
    run(notebook, "%%chat --new\n%chat What?")
    assert prompts(upstream) == ["%chat What?"]
    run(notebook, "%%chat --new Is it so?\nWhy?")
    assert prompts(upstream) == ["Is it so?\n\nWhy?"]
    assert "not found" not in capsys.readouterr().out


def test_words_and_a_cell(notebook: Any, upstream: ScriptedUpstream) -> None:
    """Words after ``%%chat`` come before the cell, and a text that begins with dashes follows ``--``."""
    run(notebook, "%%chat --new Summarise this:\n--flag\n\n  indented")
    assert prompts(upstream) == ["Summarise this:\n\n--flag\n\n  indented"]
    run(notebook, "%chat --new -- --flag of git")
    assert prompts(upstream) == ["--flag of git"]


# Errors


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("%chat", "there is nothing to send"),
        ("%%chat --new\n \n", "there is nothing to send"),
        ("%chat --modle x Hi", "did you mean --model?"),
        ("%chat --zzz Hi", "the options are --model"),
        ("%chat Hi --model", None),
        ("%chat --model", "--model needs a value: --model MODEL"),
        ("%chat --name a.b Hi", "--name takes the name of a variable, not 'a.b'"),
        ("%chat --into for Hi", "--into takes the name of a variable"),
        ("%chat --name word Hi", "word is a variable with a str"),
        ("%chat --client word Hi", "word is a variable with a str"),
        ("%chat_models --zzz", "there is no option --zzz"),
        ("%chat_login now", "takes no words"),
    ],
)
def test_usage_errors(notebook: Any, upstream: ScriptedUpstream, cell: str, shown: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong use of a magic is one line that says what to write."""
    notebook.user_ns["word"] = "a"
    if shown is None:
        run(notebook, cell)
        return
    text = fails(notebook, cell, capsys)
    assert text.startswith("UsageError: ")
    assert shown in text
    assert "\n" not in text
    assert upstream.requests == []


def test_errors_are_one_line(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """An error of the server is one line without our frames or control characters; ``%%chat`` in a later cell works."""
    with ChatUI() as ui, Client(ui.url, token="", session="private") as client:
        shell.user_ns["client"] = client
        ui.always("send", json_answer({"message": "too long\n\x1b[2J for\nme"}, 400))
        shown = fails(shell, "%chat Hi", capsys)
        assert shown.startswith("BadRequestError: ")
        assert "\n" not in shown
        assert "\x1b" not in shown
        assert sys.last_value is not None  # for %debug
        assert fails(shell, "%chat --file /no/such.png Hi", capsys).startswith("InvalidInputError: ")


def test_a_cut_answer_is_kept(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """What came of an answer before an error is the value of ``_`` and of the variable of ``--into``."""
    with ScriptedUpstream() as upstream, LocalServer(upstream=upstream.url) as server, Client(server.url) as client:
        shell.user_ns["client"] = client
        upstream.say("Hi", ["The first half", {"error": {"message": "out of memory", "code": 500}}])
        shown = fails(shell, "%chat --into half Hi", capsys)
        assert "GenerationError: " in shown
        assert "Traceback" not in shown
        assert shell.user_ns["half"].text == "The first half"
        assert shell.user_ns["_"] is shell.user_ns["half"]


# Models


def test_models(notebook: Any) -> None:
    """``%chat_models`` returns the list of models, or those that have all the words."""
    assert [model.id for model in run(notebook, "%chat_models")] == ["test/model", "test/other"]
    assert [model.id for model in run(notebook, "%chat_models OTHER test")] == ["test/other"]
    assert run(notebook, "%chat_models nothing") == []
    assert [model.id for model in run(notebook, "%chat_models --inference OTHER")] == ["test/other"]


# Login


def hidden(monkeypatch: pytest.MonkeyPatch, *answers: str | BaseException) -> list[str]:
    """Answer the questions for hidden input; return them as they come."""
    left, asked = list(answers), []

    def answer(prompt: str = "") -> str:
        asked.append(prompt)
        given = left.pop(0)
        if isinstance(given, BaseException):
            raise given
        return given

    monkeypatch.setattr(getpass, "getpass", answer)
    return asked


def test_no_login_needed(shell: Any, client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    """A server without a login asks for nothing."""
    run(shell, f"%chat_login --url {client.base_url}")
    assert "has no login: it can be used without one" in capsys.readouterr().out
    assert "client" not in shell.user_ns


@pytest.fixture
def chat(server: Server) -> LoginServer:
    """A server with a login."""
    return LoginServer(server)


def test_login(shell: Any, chat: LoginServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The hidden input is checked and saved; the client of the notebook and later ones are logged in, and nothing shows it."""
    asked = hidden(monkeypatch, "hf-chat=s1; token=t1")
    run(shell, f"%chat_login --url {chat.url}")
    shown = capsys.readouterr().out
    assert "as ann. The login is saved: Client() finds it from now on" in shown
    assert asked == ["Cookies (hidden): "]
    assert shell.user_ns["client"].whoami().username == "ann"
    with Client(chat.url) as later:
        assert later.whoami() is not None
    assert "s1" not in shown
    assert "s1" not in repr([value for name, value in shell.user_ns.items() if name in ("In", "Out", "_ih")])


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("", "UsageError: the input is empty; nothing was saved"),
        ("hf_abcdefghijklmnopqrstuvwxyz", "UsageError: this is a Hub token, which cannot chat"),
        ("unknown-secret", "SessionExpired: "),
        ("/no/such/file.txt", "CredentialsError: "),
        (StdinNotImplementedError(), "UsageError: this front end has no input; run hfclient login in a terminal"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
)
def test_failed_logins(
    shell: Any, chat: LoginServer, given: Any, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong input is one line that does not hold it, and nothing is saved."""
    hidden(monkeypatch, given)
    text = fails(shell, f"%chat_login --url {chat.url}", capsys)
    assert shown in text
    assert "Traceback" not in text
    assert not isinstance(given, str) or not given or given not in text.replace("/no/such/file.txt", "")
    assert "client" not in shell.user_ns


# The extension


def test_reload_and_unload(notebook: Any, upstream: ScriptedUpstream) -> None:
    """Reloading keeps the variables and registers each magic and the completion once; unloading removes them."""
    run(notebook, "%chat one")
    run(notebook, "%reload_ext hfclient")
    run(notebook, "%chat two")
    assert prompts(upstream) == ["one", "two"]
    matchers = notebook.Completer.custom_matchers
    assert [one.matcher_identifier for one in matchers] == ["hfclient"]
    run(notebook, "%unload_ext hfclient")
    assert matchers == []
    assert not {"chat", "chat_models", "chat_login"} & {*notebook.magics_manager.magics["line"], *notebook.magics_manager.magics["cell"]}
    run(notebook, "%load_ext hfclient")
    run(notebook, "%chat three")


def test_help(shell: Any) -> None:
    """``%%chat?`` lists every option."""
    text = shell.object_inspect_text("%%chat")
    for option in CHAT:
        assert option.name in text
