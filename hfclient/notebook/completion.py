"""Completion of the magics: their options, models, variables.

One matcher of IPython's completer serves the terminal and Jupyter's front ends. It never raises, and waits for a server at most
half a second; the names arrive in the background, and the next request has them.

Reference: https://ipython.readthedocs.io/en/stable/api/generated/IPython.core.completer.html (matchers)
"""

from __future__ import annotations

import contextlib
import keyword
import re
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from IPython.core.completer import CompletionContext, SimpleCompletion, context_matcher

from hfclient import Client, Conversation, HFClientError, Retry, Timeouts, deadline
from hfclient.notebook.magic_options import CHAT, LOGIN, MODELS, Option, split
from hfclient.notebook.messages import Messages

__all__ = ["IDENTIFIER", "make_matcher"]

IDENTIFIER = "hfclient"
_OPTIONS: dict[str, Sequence[Option]] = {"chat": CHAT, "chat_models": MODELS, "chat_login": LOGIN}
_COMMAND = re.compile(r"\s*%{1,2}(chat|chat_models|chat_login)\s")
_WAIT = 0.5  # seconds that a request for completions waits
_LIMIT = 5.0  # seconds that the background thread waits
_FRESH = 60.0  # seconds, as client.models
_SAFE = re.compile(r"[\w][\w./:@+-]*")


class _ModelNames:
    """The names of each client's models, fetched in the background.

    Args:
        list_models: Returns the models of a client.
    """

    def __init__(self, list_models: Callable[[Client], Iterable[Any]]) -> None:
        self._list_models = list_models
        self._lock = threading.Lock()
        self._known: weakref.WeakKeyDictionary[Client, list[str]] = weakref.WeakKeyDictionary()
        self._fetched_at: weakref.WeakKeyDictionary[Client, float] = weakref.WeakKeyDictionary()
        self._thread: threading.Thread | None = None
        self._own: Client | None = None

    def of(self, client: Client | None) -> list[str]:
        """Return the names that are known within half a second; *client* None is what ``Client()`` would be."""
        if client is None:
            try:
                self._own = self._own or Client(timeouts=Timeouts(connect=1.0, total=_LIMIT), retry=Retry(attempts=1))
            except (HFClientError, OSError):
                return []
            client = self._own
        with self._lock:
            is_fresh = time.monotonic() - self._fetched_at.get(client, -_FRESH) < _FRESH
            if not is_fresh and (self._thread is None or not self._thread.is_alive()):
                self._fetched_at[client] = time.monotonic()
                self._thread = threading.Thread(target=self._fetch, args=(client,), name="hfclient-completion", daemon=True)
                self._thread.start()
            thread = self._thread
        if client not in self._known and thread is not None:
            thread.join(_WAIT)
        return self._known.get(client, [])

    def _fetch(self, client: Client) -> None:
        with contextlib.suppress(HFClientError, OSError, ValueError), deadline(_LIMIT):
            self._known[client] = [model.id for model in self._list_models(client) if _SAFE.fullmatch(model.id)]

    def close(self) -> None:
        """Close the client that completion has made."""
        own, self._own = self._own, None
        if own is not None:
            own.close()


def make_matcher(variables: Mapping[str, Any]) -> tuple[Callable[[CompletionContext], dict[str, Any]], Callable[[], None]]:
    """Return the matcher for a notebook with these *variables*, and a function that frees what it holds."""
    names = _ModelNames(lambda client: client.models)
    inference_names = _ModelNames(lambda client: client.inference.models())

    def match(context: CompletionContext) -> dict[str, Any]:
        try:
            line = context.text_until_cursor
            found = _COMMAND.match(line)
            above = "".join(context.full_text.split("\n")[: context.cursor_line])
            if found is None or ("%%" in found[0] and above.strip()):
                return {"completions": []}
            fragment, completions = _complete(found[1], line[found.end() :], variables, names, inference_names)
        except Exception:  # noqa: BLE001 (a variable of the user may be anything; IPython would print a traceback)
            return {"completions": []}
        return {
            "completions": [SimpleCompletion(text, type="option" if text.startswith("--") else "value") for text in completions],
            "matched_fragment": fragment,
            "suppress": True,
            "ordered": True,
        }

    def close() -> None:
        names.close()
        inference_names.close()

    return context_matcher(identifier=IDENTIFIER)(match), close


def _complete(
    magic: str, text: str, variables: Mapping[str, Any], names: _ModelNames, inference_names: _ModelNames
) -> tuple[str, list[str]]:
    """Return the part of *text* that is being completed, and what can stand in its place."""
    options = _OPTIONS[magic]
    fragment = "" if not text or text[-1].isspace() else text.split()[-1]
    words = split(text[: len(text) - len(fragment)], options)
    if words.rest:  # the question has begun
        return fragment, []
    given = {name: value for name, value in words.given}  # noqa: C416 (the last one counts)
    last = words.given[-1] if words.given else ("", "")
    option = next((one for one in options if last[0] in (one.name, one.short) and one.value and last[1] is None), None)
    if option is None and fragment.startswith("--") and "=" in fragment:
        name, _, fragment = fragment.partition("=")
        option = next((one for one in options if one.name == name), None)
    elif option is None:
        done = {one.name for one in options if {one.name, one.short} & set(given) and not one.repeated}
        shown = [one.name for one in options if one.name not in done and one.name.startswith(fragment)]
        return fragment, shown if fragment.startswith("-") or not fragment else []
    if option is None:
        return fragment, []
    if option.name == "--model":
        # A small local model is not worth a start of its server.
        client = _variable(variables, given.get("--client") or "client", Client)
        uses_inference = not given.keys().isdisjoint(("--inference", "--provider")) or isinstance(
            variables.get(given.get("--name") or "conversation"), list
        )
        found = (inference_names if uses_inference else names).of(client) if client is not None or "--local" not in given else []
        return fragment, [name for name in found if fragment.lower() in name.lower()]
    kinds: dict[str, type | tuple[type, ...]] = {"--client": Client, "--name": (Conversation, Messages)}
    if option.name in kinds:
        return fragment, _names_of(variables, kinds[option.name], fragment)
    return fragment, []  # files: IPython's own completion


def _variable(variables: Mapping[str, Any], name: str, kind: type) -> Any:
    value = variables.get(name)
    return value if isinstance(value, kind) else None


def _names_of(variables: Mapping[str, Any], kind: type | tuple[type, ...], start: str) -> list[str]:
    names: Iterable[str] = list(variables)
    return sorted(
        name
        for name in names
        if name.startswith(start or "") and name[0] != "_" and not keyword.iskeyword(name) and isinstance(variables[name], kind)
    )
