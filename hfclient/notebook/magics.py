"""``%load_ext hfclient``: ``%%chat``, ``%chat``, ``%chat_models``, ``%chat_login``.

The magics keep nothing to themselves: the client and the conversation are variables of the notebook, ``client`` and
``conversation`` unless an option names others. A cell of Python and a cell with ``%%chat`` work on the same objects.

Reference: https://ipython.readthedocs.io/en/stable/config/custommagics.html
"""

from __future__ import annotations

import getpass
import re
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from IPython.core.error import StdinNotImplementedError, UsageError

from hfclient import Client, Conversation, CredentialsError, HFClientError, ServedModel, Stream
from hfclient.notebook.completion import IDENTIFIER, make_matcher
from hfclient.notebook.magic_options import CHAT, LOGIN, MODELS, help_lines, parse
from hfclient.notebook.messages import Messages, keep, send, system_prompt, user_message
from hfclient.notebook.variables import expand, value_of
from hfclient.redaction.control_characters import one_line
from hfclient.types import Entries, Model

__all__ = ["ChatMagics", "keep_question_marks", "load", "unload"]

_Shell: TypeAlias = Any  # an InteractiveShell, of which few methods have types
_HUGGING_CHAT = "huggingface.co"
_ABOUT_TOKENS = "a Hub token is for client.inference: put it in HF_TOKEN, as a secret of Colab, or run: hf auth login"
_WITHOUT_LOGIN = "With a Hub token alone, in HF_TOKEN, ask a model directly: %%chat --inference -m MODEL"

_QUESTION = re.compile(r"([ \t]*)%chat[ \t]+(\S.*\?)\s*")


def load(shell: _Shell) -> None:
    """Register the magics and their completion in *shell*."""
    unload(shell)
    magics = ChatMagics(shell)
    shell.register_magic_function(magics.chat, "line_cell", "chat")
    shell.register_magic_function(magics.chat_models, "line", "chat_models")
    shell.register_magic_function(magics.chat_login, "line", "chat_login")
    if shell.Completer is not None:
        shell.Completer.custom_matchers.append(magics.matcher)
    shell.input_transformers_cleanup.append(keep_question_marks)


def unload(shell: _Shell) -> None:
    """Remove what `load` has registered. The variables of the notebook stay."""
    for kind in ("line", "cell"):
        registered = shell.magics_manager.magics[kind]
        for name in ("chat", "chat_models", "chat_login"):
            owner = getattr(registered.get(name), "__self__", None)
            if owner is not None and type(owner).__name__ == ChatMagics.__name__:  # %autoreload makes a class of the same name
                owner.close()
                del registered[name]
    if shell.Completer is not None:
        matchers = shell.Completer.custom_matchers
        matchers[:] = [one for one in matchers if getattr(one, "matcher_identifier", None) != IDENTIFIER]
    transformers = shell.input_transformers_cleanup
    transformers[:] = [one for one in transformers if getattr(one, "__name__", "") != keep_question_marks.__name__]


def keep_question_marks(lines: list[str]) -> list[str]:
    """Return the *lines* of a cell, in which ``%chat ...?`` is a question: IPython reads a line that ends with ``?`` as a call for help."""
    if lines and lines[0].startswith("%%"):
        return lines
    kept: list[str] = []
    for line in lines:
        found = _QUESTION.fullmatch(line)
        above = "".join(kept)
        if found and not (above.count('"""') % 2 or above.count("'''") % 2):
            line = f"{found[1]}get_ipython().run_line_magic('chat', {found[2]!r})\n"
        kept.append(line)
    return kept


def _unexpanded(magic: Callable[..., Any]) -> Callable[..., Any]:
    """Let IPython pass the line as it is written: it would replace ``$name`` and evaluate all between braces."""
    magic._ipython_magic_no_var_expand = True  # type: ignore[attr-defined]
    return magic


def _described(*parts: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Set the docstring, which ``%%chat?`` shows."""

    def describe(magic: Callable[..., Any]) -> Callable[..., Any]:
        magic.__doc__ = "".join(parts)
        return magic

    return describe


class ChatMagics:
    """The magics of one shell.

    Args:
        shell: The shell, whose variables they use.
    """

    def __init__(self, shell: _Shell) -> None:
        self._shell = shell
        self._started: weakref.WeakSet[Conversation] = weakref.WeakSet()  # by a magic, so a magic may replace it
        self.matcher, self.close = make_matcher(shell.user_ns)

    @_unexpanded
    @_described(
        """Send a message and show the answer while it arrives.

    %chat [options] message            (one line)

    %%chat [options] [first line of the message]
    the message, in as many lines as it needs

The conversation goes on from cell to cell; one that began with --inference goes on without it, with its model and provider.
{name} in the message becomes the value of that variable; other braces stay.
The reply is the value _ afterwards, and that of the variable named by --into. Interrupting the cell stops the answer.

Options:
""",
        help_lines(CHAT),
    )
    def chat(self, line: str, cell: str | None = None) -> None:
        with _one_line_errors():
            options, words = parse(line, CHAT)
            variables = self._shell.user_ns
            written = str if options["raw"] else lambda text: expand(text, variables)
            message = "\n\n".join(part for part in (written(words), written(cell or "").strip()) if part)
            if not message:
                raise UsageError("there is nothing to send: write the message after %chat, or below %%chat")
            _check_name("--into", options["into"])
            files = [] if options["raw"] else [value_of(path, variables) for path in options["file"]]
            files = _flat(files) if files else options["file"]
            for name in ("model", "system"):
                if options[name] is not None:
                    options[name] = written(options[name])
            messages = self._messages(options)
            if messages is None:
                with self._conversation(options).send(message, files=files) as stream:
                    self._show(stream, options)
                return
            turn = user_message(message, files)
            with send(self._client(options), messages, turn, options["model"], options["provider"]) as answer:
                try:
                    self._show(answer, options)
                finally:
                    keep(messages, turn, answer.partial)

    @_unexpanded
    @_described(
        """Show the models of the server, its default first; with words only those whose name or description has them all.

    %chat_models [options] [words]

Options:
""",
        help_lines(MODELS),
    )
    def chat_models(self, line: str) -> Entries[Model] | Entries[ServedModel]:
        with _one_line_errors():
            options, words = parse(line, MODELS)
            wanted = expand(words, self._shell.user_ns).lower().split()
            client = self._client(options)
            if options["inference"]:
                return Entries(one for one in client.inference.models() if all(word in one.id.lower() for word in wanted))
            return Entries(model for model in client.models if all(word in _described_as(model) for word in wanted))

    @_unexpanded
    @_described(
        """Log in to a chat server with the cookies of your browser, and save the login for later notebooks and programs.

    %chat_login [options]

The input is hidden: it is neither in the notebook nor in the history. The variable client is logged in afterwards.

Options:
""",
        help_lines(LOGIN),
    )
    def chat_login(self, line: str) -> None:
        with _one_line_errors():
            options, words = parse(line, LOGIN)
            if words:
                raise UsageError("%chat_login takes no words: the input follows, and is hidden")
            name = _check_name("--client", options["client"]) or "client"
            with Client(options["url"], cookies="", token="") as anonymous:
                address, page = anonymous.base_url, anonymous.login.page
                if not anonymous.login.enabled:
                    _say(f"{address} has no login: it can be used without one.")
                    return
            cookies = _ask_for_cookies(address, page)
            with Client(options["url"], cookies=cookies, token="") as client:
                user = client.login.save()
            self._shell.push({name: Client(options["url"])})
            shown = one_line(user.username or user.email or user.id)
            _say(f"Logged in to {address} as {shown}. The login is saved: Client() finds it from now on, and {name} is such a client.")

    # Variables of the notebook

    def _current(self, options: dict[str, Any]) -> tuple[str, Conversation | list[Any] | None]:
        """Return the name of the variable with the conversation, and its value."""
        name = _check_name("--name", options["name"]) or "conversation"
        current = self._shell.user_ns.get(name)
        if current is not None and not isinstance(current, (Conversation, list)):
            raise UsageError(f"{name} is a variable with a {type(current).__name__}; --name NAME keeps the conversation elsewhere")
        return name, current

    def _messages(self, options: dict[str, Any]) -> list[Any] | None:
        """Return the messages before this one, which an inference server gets, too; None if a chat server is asked."""
        name, current = self._current(options)
        system = options["system"]
        if isinstance(current, list) and not options["new"]:
            if current and system not in (None, system_prompt(current)):
                raise UsageError(f"{name} has another system prompt; --new starts another conversation")
            messages = current
        elif isinstance(current, list) or options["inference"] or options["provider"]:
            if isinstance(current, Conversation) and not options["new"]:
                if current not in self._started:
                    raise UsageError(f"{name} is a conversation with a chat server; --new starts another one, --name NAME keeps both")
                _say(f"A new conversation: {name} was with a chat server.")
            messages = Messages.like(current)
            self._shell.push({name: messages})
        else:
            return None
        if system and not messages:
            messages.append({"role": "system", "content": system})
        return messages

    def _conversation(self, options: dict[str, Any]) -> Conversation:
        """Return the conversation that the message continues, or a new one."""
        name, current = self._current(options)
        assert not isinstance(current, list)  # `_messages` was asked before
        if current is None or options["new"]:
            return self._start(name, self._client(options), options)
        chosen = options["client"] or options["local"]
        client = self._client(options) if chosen else self._shell.user_ns.get("client")
        if isinstance(client, Client) and client.conversation().service is not current.service:
            if current in self._started:
                _say(f"A new conversation: {name} was with another client.")
                return self._start(name, client, options)
            if chosen:
                raise UsageError(f"{name} belongs to another client; --new starts another one, --name NAME keeps both")
        if options["system"] is not None and options["system"] != current.system_prompt:
            raise UsageError(f"{name} has another system prompt; --new starts another conversation")
        if options["model"] is not None and options["model"] != current.model:
            current.set_model(options["model"])
        return current

    def _start(self, name: str, client: Client, options: dict[str, Any]) -> Conversation:
        conversation = client.conversation(model=options["model"], system_prompt=options["system"])
        self._started.add(conversation)
        self._shell.push({name: conversation})
        return conversation

    def _client(self, options: dict[str, Any]) -> Client:
        """Return the client of the notebook; make it if it does not exist."""
        name = _check_name("--client", options["client"]) or "client"
        client = self._shell.user_ns.get(name)
        if client is None:
            client = Client.local() if options["local"] else Client()
            self._shell.push({name: client})
        elif not isinstance(client, Client):
            raise UsageError(f"{name} is a variable with a {type(client).__name__}; --client NAME names another one")
        elif options["local"] and urlsplit(client.base_url).hostname not in ("127.0.0.1", "::1", "localhost"):
            raise UsageError(f"{name} is a client of {client.base_url}; --local needs another variable: --client NAME")
        return client

    def _show(self, stream: Stream, options: dict[str, Any]) -> None:
        """Show an answer as it comes, and make it the value of the cell, as if it were its last expression, without another display."""
        try:
            stream.show()
        finally:
            reply = stream.partial
            self._shell.displayhook.update_user_ns(reply)
            if options["into"]:
                self._shell.push({options["into"]: reply})


def _described_as(model: Model) -> str:
    return f"{model.id} {model.display_name} {model.description or ''}".lower()


def _flat(values: list[Any]) -> list[Any]:
    """Return *values*, with the items of lists in place of the lists; ``(name, content)`` is one file."""
    return [item for value in values for item in (value if isinstance(value, (list, tuple)) and not _is_named(value) else (value,))]


def _is_named(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str) and not isinstance(value[1], str)


def _check_name(option: str, name: str | None) -> str | None:
    import keyword

    if name is not None and (not name.isidentifier() or keyword.iskeyword(name)):
        raise UsageError(f"{option} takes the name of a variable, not {name!r}")
    return name


def _say(text: str) -> None:
    print(text)  # noqa: T201 (the output of a cell)


def _ask_for_cookies(address: str, page: str) -> Any:
    is_hugging_chat = urlsplit(address).hostname == _HUGGING_CHAT
    cookies = "the cookies hf-chat and token" if is_hugging_chat else "the cookie hf-chat (or its name on that server)"
    _say(
        f"Log in at {page} with your browser. Then find {cookies}: developer tools (F12), Application or Storage, Cookies.\n"
        "Paste the text of a Cookie header, the value of hf-chat, or the path of an export (cookies.txt or JSON)."
    )
    given = _hidden("Cookies (hidden): ")
    if not given:
        raise UsageError("the input is empty; nothing was saved")
    if given.startswith(("hf_", "api_")):
        raise UsageError(f"this is a Hub token, which cannot chat; nothing was saved. {_ABOUT_TOKENS[0].upper()}{_ABOUT_TOKENS[1:]}")
    # On HuggingChat a login needs both cookies.
    if is_hugging_chat and not any(mark in given for mark in "=;/\\.{"):
        token = _hidden("Value of the cookie token (hidden): ")
        return {"hf-chat": given, "token": token} if token else given
    return given


def _hidden(prompt: str) -> str:
    """Return the input, which is not shown. A kernel asks its front end; a terminal is asked itself."""
    try:
        return getpass.getpass(prompt).strip()
    except (StdinNotImplementedError, EOFError):
        raise UsageError("this front end has no input; run hfclient login in a terminal, or set HFCLIENT_COOKIE") from None


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Let IPython print one line for an error of hfclient and for an interrupt: the frames are ours, not of the notebook."""
    try:
        yield
    except (HFClientError, KeyboardInterrupt) as error:
        text = str(error) or "the answer was stopped; _ holds what had come"
        if isinstance(error, CredentialsError) and "needs a login" in text:
            text = f"HuggingChat needs a login: %chat_login. {_WITHOUT_LOGIN}"
        shown = f"{type(error).__name__}: {one_line(text)}"
        error._render_traceback_ = lambda: [shown]  # type: ignore[method-assign, union-attr]
        raise
