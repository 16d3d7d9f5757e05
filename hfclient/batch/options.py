"""The options of a batch, each one documented once; those of the call itself are in `hfclient.inference.options`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from hfclient.arguments.argument_types import check_arguments

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from typing import Literal

    from typing_extensions import Unpack

    from hfclient.batch.checkpoints import Checkpoint
    from hfclient.batch.service import BatchService
    from hfclient.batch.totals import Price
    from hfclient.progress import Progress
    from hfclient.web import Guard

__all__ = ["MapOptions", "split_options"]


class MapOptions(TypedDict, total=False):
    """Options of `InferenceClient.map` and `Client.map`, besides those of the call.

    Args:
        workers: Most calls at a time: 64 by default, and 8 for `Client.map`. Fewer run while the server refuses for its limits.
        ordered: Hand out results in the order of the items (the default); False as they come.
        errors: ``"return"`` hands out a failed item as a result with ``error`` (the default); ``"raise"`` raises the first one.
        checkpoint: What gets each answer before it is handed out: a path that ends in ``.jsonl``, ``.sqlite`` or ``.parquet``, or a
            URL of Redis. A batch with the same checkpoint continues.
        on_change: If the options have changed since the checkpoint was written: ``"raise"`` (the default) refuses, and says what
            has changed; ``"redo"`` asks again.
        cache: A store of answers that all batches share: a path as for *checkpoint*, or True for a file of the user. An answer to
            the same question with the same options is taken from it instead of being asked for. Off by default.
        rate: Most requests that start: ``"20/second"``, ``"500/minute; 10000/day"``; evenly over windows of up to a minute. With several
            providers for each of them, or a mapping: ``{"groq": "20/second", "novita": "5/second"}``. Without it the batch finds
            out what the server allows.
        tokens: Most tokens of prompts and answers: ``"100000/minute"``. They are estimated before, and corrected by the usage after.
        guard: A `hfclient.web.Guard`, whose limits all processes and machines with the same store share. Its limits for each key are for
            each provider and model; those for each user are for all batches.
        patience: Seconds for which a server that cannot be reached, or only fails, is asked again before the batch stops: 600 by default,
            and 60 if there was no answer yet. Times that a server asks to wait are not counted.
        progress: A bar with rate, tokens, cost and failures: None on a terminal or in a notebook, True, False, or a function that
            gets (done, total, text).
        column: The column with the input, if the items are rows of a file or a table with several; the others are data. Or a mapping
            of what the call takes to columns: ``{"input": "question", "id": "key", "temperature": "t"}``.
        template: A text around the columns instead: ``"Translate to German: {text}"``. Lines of text are a column named ``text``.
        executor: Answers in the workers of an executor with the interface of `concurrent.futures`, or of a function that returns a new one:
            threads, processes, Dask's ``client.get_executor()``, `RayExecutor`, mpi4py's ``MPIPoolExecutor``. *workers* holds for each of them.
        service: ``"batch"`` gives the items to the provider's batch service, which answers within hours for less money; a
            `BatchService` sets its limits and times.
        price: Returns the US dollars of a usage, for ``Batch.cost``; None takes the router's prices, if the client uses it.
    """

    workers: int
    ordered: bool
    errors: Literal["return", "raise"]
    checkpoint: str | os.PathLike[str] | Checkpoint | None
    on_change: Literal["raise", "redo"]
    cache: str | os.PathLike[str] | Checkpoint | bool | None
    rate: str | Mapping[str, str] | None
    tokens: str | Mapping[str, str] | None
    guard: Guard | None
    patience: float | None
    progress: Progress
    column: str | Mapping[str, str] | None
    template: str | None
    executor: Any
    price: Price | None
    service: str | BatchService | None


def split_options(given: dict[str, Any]) -> tuple[MapOptions, dict[str, Any]]:
    """Return the options of the batch and those of its call.

    Raises:
        InvalidInputError: One of the batch has another type.
    """
    own = {name: value for name, value in given.items() if name in MapOptions.__annotations__}
    return _checked(**own), {name: value for name, value in given.items() if name not in own}


def _checked(**options: Unpack[MapOptions]) -> MapOptions:
    check_arguments(_checked, locals())
    return options
