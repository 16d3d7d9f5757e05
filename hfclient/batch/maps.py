"""`map`: from the arguments of `InferenceClient.map` and `Client.map` to a `Batch`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from hfclient.batch.batch import Batch
from hfclient.batch.calls import Call, call_for
from hfclient.batch.calls.conversations import ConversationCall
from hfclient.batch.checkpoints.cache import open_store
from hfclient.batch.engines import Engine
from hfclient.batch.items import Items, read_items
from hfclient.batch.options import MapOptions, split_options
from hfclient.batch.pacing.pace import Pace
from hfclient.errors import InvalidInputError

if TYPE_CHECKING:
    from hfclient.client import Client
    from hfclient.inference import InferenceClient

__all__ = ["map_conversations", "map_inference"]

_WORKERS = 64
_CONVERSATIONS = 8  # at a time: a chat server has one user, whose messages it limits
# Calls whose requests may be sent again though the server may have received them: they are charged by tokens, and run no functions.
_REPEATED = frozenset(("chat", "parse", "embed", "classify", "caption", "transcribe", "request"))
_INFERENCE_ONLY = ("executor", "service")


def map_inference(
    client: InferenceClient,
    items: Any,
    call: str,
    options: dict[str, Any],
    *,
    engine: Callable[[Callable[[], Engine]], Engine] | None = None,
) -> Batch:
    """Return the batch of `InferenceClient.map`: *options* are those of the batch and those of the call; *engine*, given the maker of its own engine, returns the one to use."""
    own, options = split_options(options)
    method = call_for(client, call, options)
    read = read_items(
        items, column=own.get("column"), template=own.get("template"), options=method.item_options, check=method.check
    )
    made = _request_call(client, own, options) if read.are_requests else method
    if own.get("price") is None and client.is_router:
        from hfclient.web import RouterPrices  # not every batch needs it

        own["price"] = RouterPrices(client)
    kind: Callable[..., Batch] = Batch
    if (service := own.get("service")) is not None:
        from hfclient.batch.service import ServiceBatch, service_options

        kind = partial(ServiceBatch, client=client, service=service_options(service, own, options))
    if own.get("executor") is not None:
        from hfclient.batch.clusters.executors import in_executor

        engine, own["workers"] = in_executor(client, call, own, options, own.get("workers", _WORKERS))
    return _batch(made, read, own, options, workers=_WORKERS, engine=engine, kind=kind)


def _request_call(client: InferenceClient, own: MapOptions, options: dict[str, Any]) -> Call:
    """Return the call for the lines of OpenAI's batch files, each of which names its own route."""
    from hfclient.batch.formats.request_call import RequestCall

    if own.get("executor") is not None:
        raise InvalidInputError("executor= cannot be used with OpenAI's batch files")
    return RequestCall(client, options)


def map_conversations(client: Client, prompts: Any, options: dict[str, Any]) -> Batch:
    """Return the batch of `Client.map`: *options* are those of the batch and those of the conversations."""
    own, options = split_options(options)
    if refused := [name for name in _INFERENCE_ONLY if own.get(name) is not None]:
        raise InvalidInputError(f"{refused[0]} is for client.inference.map; conversations run in threads, on the chat server")
    made = ConversationCall(client, options)
    read = read_items(
        prompts, column=own.get("column"), template=own.get("template"), options=made.item_options, check=made.check
    )
    if read.are_requests:
        raise InvalidInputError("OpenAI's batch files are for client.inference.map")
    return _batch(made, read, own, options, workers=_CONVERSATIONS, engine=None)


def _batch(
    call: Call,
    items: Items,
    options: MapOptions,
    call_options: dict[str, Any],
    *,
    workers: int,
    engine: Callable[[Callable[[], Engine]], Engine] | None,
    kind: Callable[..., Batch] = Batch,
) -> Batch:
    """Return the batch with the defaults of all options that were not given."""
    errors = options.get("errors", "return")
    if errors not in ("return", "raise"):
        raise InvalidInputError(f'errors is "return" or "raise", not {errors!r}')
    workers = options.get("workers", workers)
    if workers < 1:
        raise InvalidInputError(f"workers is a number of at least 1, not {workers!r}")
    patience = options.get("patience")
    if patience is not None and patience < 0:
        raise InvalidInputError(f"patience is a number of seconds, not {patience!r}")
    return kind(
        call,
        items,
        workers=workers,
        ordered=options.get("ordered", True),
        errors=errors,
        checkpoint=lambda: open_store(call, options.get("checkpoint"), options.get("cache"), options.get("on_change", "raise")),
        pace=lambda: Pace(
            workers,
            options=call_options,
            rate=options.get("rate"),
            tokens=options.get("tokens"),
            guard=options.get("guard"),
            patience=patience,
            repeats=call.name in _REPEATED,
        ),
        progress=options.get("progress"),
        price=options.get("price"),
        total=items.count,
        columns=items.columns,
        row_names=items.row_names,
        engine=engine,
    )
