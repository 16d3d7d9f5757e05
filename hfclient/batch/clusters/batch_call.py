"""`BatchCall`: a batch of rows in, the same rows with answers out, for engines that run functions on many machines.

The object holds settings only, and no secrets, so it can be pickled and sent anywhere. The client, its connections and its adaptive
limit are made where the call runs, once in each process, and serve one batch after the other.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import msgspec

from hfclient.batch.clusters.kept_engine import KeptEngine
from hfclient.batch.clusters.row_forms import Column, Table, read_table, rows_of
from hfclient.batch.engines import Engine
from hfclient.batch.formats.tables import Table as TableSource
from hfclient.batch.items import Item, Items, read_items
from hfclient.batch.maps import map_inference
from hfclient.batch.results import BatchResult
from hfclient.client import Client, ClientOptions
from hfclient.errors import (
    AuthenticationError,
    CredentialsError,
    HFClientError,
    InvalidInputError,
    MissingDependencyError,
)
from hfclient.types import Reply

if TYPE_CHECKING:
    from hfclient.inference import InferenceClient

__all__ = ["BatchCall", "Worker"]

_REFERENCE = "env:"
_SECRETS = ("token", "inference_key")
_LOCAL = ("cookies", "session", "transport", "on_event")  # of chats, or objects of one process
_CLIENT_OPTIONS = ("base_url", *ClientOptions.__annotations__)
_STORES = ("checkpoint", "cache")
_OWN_OPTIONS = ("ordered", "progress", "executor", "column", "service", "price")  # of `map`, without a meaning here
_MOST_KEPT = 8  # clients of a process that wait for their next batch


class BatchCall:
    """Answers batches of rows; a callable that works the same way in Ray, Dask, Spark, `datasets` and processes (extra: batch).

        ask = BatchCall(input="question", model="Qwen/Qwen3-8B", max_tokens=200)

        ray_dataset.map_batches(ask, batch_size=256)                   # or BatchCall with fn_constructor_kwargs: as an actor
        dask_frame.map_partitions(ask, meta=ask.meta(dask_frame))      # or dask_bag.map_partitions(ask)
        dataset.map(ask, batched=True, batch_size=256, num_proc=4)     # datasets
        spark_frame.mapInPandas(ask.map_in_pandas, schema)             # Spark
        ask(pandas_frame)                                              # here

    The answers come in the form of the batch, in its order: a dict of numpy arrays or of lists, a DataFrame of pandas or polars, a Table of
    pyarrow, a list of dicts or of strings. Three columns are added: the answer, the text of the error, and the number of tokens (0 if
    the server does not send it). A failed row has an error and no answer; only if all rows of a batch are refused for missing or wrong
    credentials, that error is raised.

    It pickles without secrets: each worker finds ``HF_TOKEN`` or ``HFCLIENT_INFERENCE_KEY`` in its own environment, as a `Client` does.
    Another variable is named by ``"env:NAME"``, as in ``inference_key="env:OPENAI_API_KEY"`` or ``checkpoint="env:REDIS_URL"``.

    Args:
        call: The method that answers, as for `InferenceClient.map`.
        input: The column with the prompts: strings, or lists of messages.
        template: A prompt made of several columns instead: ``"Translate into {language}: {text}"``, or a function of the row as a dict.
        output: Names of the added columns: that of the answer, or three, for answer, error and tokens. The default is answer,
            error and tokens. Answers are texts; lists of numbers for ``"embed"``; JSON for other objects.
        id: A column with a name of each row, for a checkpoint. Without it two rows with the same prompt in different batches
            share one answer.
        options: Options of `Client` (inference_url, bill_to, timeouts, ...), of `InferenceClient.map` (workers, checkpoint, rate, ...)
            and of the call (model, max_tokens, ...). ``workers`` and ``rate`` hold for each batch that runs at a time;
            a guard holds for all machines.

    Raises:
        InvalidInputError: An option is invalid, or a secret.
        TypeError: The call has no option of that name.
    """

    def __init__(
        self,
        call: str = "chat",
        *,
        input: str = "prompt",
        template: str | Callable[[dict[str, Any]], Any] | None = None,
        output: str | Sequence[str] = "answer",
        id: str | None = None,
        **options: Any,
    ) -> None:
        names = (output, "error", "tokens") if isinstance(output, str) else tuple(output)
        if len(names) != 3 or len(set(names)) != 3:
            raise InvalidInputError(f"output is the name of the answers' column, or three names, for answer, error and tokens; not {output!r}")
        self.call = call
        self.input = input
        self.template = template
        self.output = names
        self.id = id
        self._client_options = {name: value for name, value in options.items() if name in _CLIENT_OPTIONS}
        self._options = {name: value for name, value in options.items() if name not in _CLIENT_OPTIONS}
        _refuse_secrets(self._client_options)
        _refuse_secrets({name: self._options.get(name) for name in _STORES})
        for name in (*_LOCAL, *_OWN_OPTIONS):
            if name in options:
                hint = "; input= names the column" if name == "column" else ""
                raise InvalidInputError(
                    f"{name}= cannot be an option of BatchCall: it is for chats, for objects of one process, or for the whole input{hint}"
                )
        _check(self)

    def __repr__(self) -> str:
        return f"<BatchCall {self.call}: {self.input if self.template is None else 'template'} -> {self.output[0]}>"

    def __call__(self, batch: Any) -> Any:
        """Return *batch* with the answers to its rows, in the same form and order.

        Raises:
            InvalidInputError: A column is missing, or has the name of one that is added.
            CredentialsError: All rows need credentials, and this process has none.
            AuthenticationError: All rows were refused.
            HFClientError: The checkpoint failed; with ``errors="raise"``, an answer.
        """
        table = read_table(batch, text=self.input)
        results = self._results(table)
        kind: Literal["text", "vector"] = "vector" if self.call == "embed" else "text"
        answer, error, tokens = self.output
        return table.extended(
            [
                Column(answer, kind, [None if result.error is not None else _cell(result.value) for result in results]),
                Column(error, "text", [None if result.error is None else _text(result.error) for result in results]),
                Column(tokens, "count", [0 if result.usage is None else result.usage.total_tokens for result in results]),
            ]
        )

    def map_in_pandas(self, frames: Iterable[Any]) -> Iterator[Any]:
        """Yield each of *frames* with the answers to its rows, for ``DataFrame.mapInPandas`` of Spark."""
        return map(self, frames)

    def meta(self, frame: Any) -> Any:
        """Return an empty DataFrame with the columns of the output, for ``meta=`` of Dask; nothing is asked.

        Without ``meta=`` Dask calls the function with rows that it makes up, and these would be asked.

        Args:
            frame: A DataFrame of Dask or pandas.
        """
        empty = getattr(frame, "_meta", frame).iloc[:0]
        return self(empty)

    def close(self) -> None:
        """Close the connections of this process. The next batch opens new ones."""
        for worker in _workers.take_all(_identity(self)):
            worker.close()

    # One batch

    def _results(self, table: Table) -> list[BatchResult]:
        if taken := [name for name in self.output if name in table.names]:
            raise InvalidInputError(f'the batch has a column {taken[0]!r} already; name the new ones: output=("answer_2", "error_2", "tokens_2")')
        read: Iterable[Item] = self._items(table) if len(table) else ()
        ids = [None] * len(table) if self.id is None or not len(table) else self._column(table, self.id)
        items, missing = [], {}
        for item, name in zip(read, ids, strict=True):
            if item.error is not None:
                missing[item.index] = BatchResult(index=item.index, error=item.error)
            else:
                items.append(Item(item.index, item.input, item.options, None if name is None else str(name)))
        found = {}
        if items:
            with self.worker() as worker:
                found = {result.index: result for result in worker.answer(items)}
        errors = [result.error for result in found.values()]
        if errors and all(isinstance(error, (AuthenticationError, CredentialsError, MissingDependencyError)) for error in errors):
            raise errors[0]  # type: ignore[misc]
        return [found.get(index) or missing[index] for index in range(len(table))]

    def _items(self, table: Table) -> Items:
        """Return the items for the rows, as `read_items` makes them; one without a prompt has an error."""
        names, template = table.names, self.template
        if callable(template):
            return read_items(map(template, rows_of(table)))
        if template is not None:
            return read_items(TableSource(names, len(table), lambda: rows_of(table)), template=template)
        values = self._column(table, self.input)
        return read_items(TableSource([self.input], len(table), lambda: ({self.input: value} for value in values)), column=self.input)

    def _column(self, table: Table, name: str) -> list[Any]:
        if name not in table.names:
            raise InvalidInputError(f"the batch has no column {name!r}; it has {', '.join(table.names)}")
        return table.column(name)

    @contextlib.contextmanager
    def worker(self) -> Iterator[Worker]:
        """Lend the client of this process, which no other thread uses meanwhile."""
        identity = _identity(self)
        worker = _workers.take(identity)
        if worker is None:
            client = Client(cookies="", session="private", **_resolved(self._client_options))
            worker = Worker(client.inference, self.call, self._options, on_close=client.close)
        try:
            yield worker
        finally:
            _workers.keep(identity, worker)


class Worker:
    """A client, and the engine that its batches use one after the other."""

    def __init__(self, client: InferenceClient, call: str, options: Mapping[str, Any], *, on_close: Callable[[], None] | None = None) -> None:
        self._client = client
        self._on_close = on_close
        self._call = call
        self._options = {"progress": False, **options}
        self._engine: KeptEngine | None = None

    def answer(self, items: Sequence[Item]) -> list[BatchResult]:
        """Return the results for *items*, which are numbered from 0, in their order."""
        stores = {name: self._options[name] for name in _STORES if name in self._options}
        options = {**self._options, **_resolved(stores)}
        try:
            with map_inference(self._client, items, self._call, options, engine=self._kept) as batch:
                return batch.results()
        except BaseException:
            self.close()  # its pace may have stopped; the next batch begins anew
            raise

    def _kept(self, new: Callable[[], Engine]) -> Engine:
        if self._engine is None or self._engine.is_closed:
            self._engine = KeptEngine(new())
        return self._engine

    def close(self) -> None:
        """Close the connections."""
        if self._engine is not None:
            self._engine.end()
        if self._on_close is not None:
            self._on_close()


class _Workers:
    """The workers of this process that wait for their next batch, by the settings of their calls. Threads may share it."""

    def __init__(self) -> None:
        self._of_the_parent: list[object] = []
        self._idle: list[tuple[Any, Worker]] = []
        self._lock = threading.Lock()

    def after_fork(self) -> None:
        """In a forked child: never use or close the connections of the parent, which the server would take for the parent's."""
        self._of_the_parent += self._idle
        self._idle = []
        self._lock = threading.Lock()

    def take(self, identity: Any) -> Worker | None:
        """Return a worker that waits, or None."""
        with self._lock:
            for at in reversed(range(len(self._idle))):
                if self._idle[at][0] == identity:
                    return self._idle.pop(at)[1]
        return None

    def take_all(self, identity: Any = None) -> list[Worker]:
        """Return the workers that wait for calls with these settings, or for any."""
        with self._lock:
            taken = [worker for other, worker in self._idle if identity is None or other == identity]
            self._idle = [entry for entry in self._idle if entry[1] not in taken]
        return taken

    def keep(self, identity: Any, worker: Worker) -> None:
        """Let *worker* wait; the one that has waited longest ends if there are too many."""
        with self._lock:
            self._idle.append((identity, worker))
            extra = self._idle.pop(0)[1] if len(self._idle) > _MOST_KEPT else None
        if extra is not None:
            extra.close()

    def close(self) -> None:
        """Close all."""
        for worker in self.take_all():
            worker.close()


_workers = _Workers()
atexit.register(_workers.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.after_fork)


def _identity(call: BatchCall) -> Any:
    """Return what two calls have in common that may share a client: a copy that was pickled is equal to its original."""
    return _comparable([call.call, call._client_options, call._options])


def _comparable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return [(name, _comparable(value[name])) for name in sorted(value)]
    if isinstance(value, (list, tuple)):
        return [_comparable(part) for part in value]
    if isinstance(configuration := getattr(value, "configuration", None), dict):  # a guard
        return type(value), _comparable(configuration)
    return type(value), value


def _check(call: BatchCall) -> None:
    """Raise for options that are invalid, with a client that has no credentials: nothing is sent."""
    options = {name: value for name, value in call._client_options.items() if not _is_reference(value) and name != "provider_keys"}
    with Client(**{"token": "", "cookies": "", "session": "private", **options}) as client:
        map_inference(client.inference, [], call.call, {**call._options, **dict.fromkeys(_STORES)}).close()


def _refuse_secrets(options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        given = value.values() if isinstance(value, Mapping) and name == "provider_keys" else [value]
        for text in given:
            if not isinstance(text, str) or not text or _is_reference(text):
                continue
            if name in (*_SECRETS, "provider_keys"):
                raise InvalidInputError(
                    f'{name}= of BatchCall is sent to other processes and may be stored there, so it takes no secret: write {name}="env:NAME" and set '
                    "the environment variable NAME in each worker (HF_TOKEN and HFCLIENT_INFERENCE_KEY are found without an option)"
                )
            if "://" in text and urlsplit(text).password:
                raise InvalidInputError(
                    f'the URL of {name}= has a password, which is not sent to other processes: write {name}="env:NAME", '
                    "and set the environment variable NAME to the URL in each worker"
                )


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(_REFERENCE)


def _resolved(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return *options* with the values of the environment variables that they name."""
    return {
        name: {key: _value(name, part) for key, part in value.items()} if name == "provider_keys" and value else _value(name, value)
        for name, value in options.items()
    }


def _value(option: str, value: Any) -> Any:
    if not _is_reference(value):
        return value
    name = value[len(_REFERENCE) :]
    if found := os.environ.get(name):
        return found
    raise CredentialsError(
        f"{option}={value!r}: the environment variable {name} is not set in process {os.getpid()} of {socket.gethostname()}; set it in each worker "
        f'(Ray: ray.init(runtime_env={{"env_vars": {{"{name}": ...}}}}), Dask and Spark: the environment of the workers)'
    )


def _cell(value: Any) -> Any:
    """Return a value for a column: text, a vector, or JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Reply):
        return value.text
    if isinstance(value, (list, tuple)) and all(isinstance(number, (int, float)) for number in value):
        return list(value)
    convert = getattr(value, "to_dict", None) or getattr(value, "model_dump", None)
    return msgspec.json.encode(convert() if callable(convert) else value, enc_hook=str).decode()


def _text(error: HFClientError) -> str:
    return f"{type(error).__name__}: {error}"
