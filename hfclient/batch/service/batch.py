"""`ServiceBatch`: a batch whose items go to the provider's batch service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hfclient.batch.batch import Batch
from hfclient.batch.engines import Engine
from hfclient.batch.service.batch_jobs import BatchJob
from hfclient.batch.service.engine import ServiceEngine
from hfclient.batch.service.lines import check_options
from hfclient.batch.service.settings import BatchService
from hfclient.errors import InvalidInputError

if TYPE_CHECKING:
    from hfclient.batch.calls import Call
    from hfclient.inference import InferenceClient

__all__ = ["ServiceBatch", "service_options"]

_NOT_HERE = ("workers", "rate", "tokens", "guard", "executor")


def service_options(given: str | BatchService, own: Mapping[str, Any], options: Mapping[str, Any]) -> BatchService:
    """Return the options of ``service=``, after a check of the others.

    Args:
        given: What ``service=`` got.
        own: The options of the batch.
        options: Those of its call.

    Raises:
        InvalidInputError: One of them has no meaning for a batch service; the message names it.
    """
    if given == "batch":
        given = BatchService()
    if not isinstance(given, BatchService):
        raise InvalidInputError(f'service is "batch" or a BatchService(...), not {given!r}')
    if found := [name for name in _NOT_HERE if own.get(name) is not None]:
        raise InvalidInputError(
            f'{", ".join(f"{name}=" for name in found)} cannot be used with service="batch": the provider decides when it runs a '
            "request; BatchService(...) has the options of the service"
        )
    check_options(options)
    return given


class ServiceBatch(Batch):
    """A `Batch` that runs as jobs of the provider's batch service.

        batch = inference.map(prompts, model="gpt-4.1-mini", service="batch", checkpoint="out.jsonl")
        for result in batch:
            print(result.index, result.value.text if result.ok else result.error)

    The jobs go on at the server when the loop is left, after Ctrl-C and after the end of the process: the same call with the same
    checkpoint continues. :meth:`cancel` ends them.
    """

    def __init__(self, call: Call, *args: Any, client: InferenceClient, service: BatchService, **options: Any) -> None:
        self._client = client
        self._service_options = service
        self._engine: ServiceEngine | None = None
        super().__init__(call, *args, **{**options, "workers": service.max_requests})
        self._most = service.max_requests  # items in a file
        try:
            self._engine = self._new_engine()  # the errors of the options come now
        except BaseException:
            self.close()
            raise

    @property
    def jobs(self) -> list[BatchJob]:
        """The jobs at the server that items wait for, and all of earlier runs with the same checkpoint."""
        return self._engine.jobs if self._engine is not None else []

    def cancel(self) -> None:
        """Ask the server to end all jobs of this batch. What is done by then is handed out, the rest with an error.

        A run with the same checkpoint asks the rest again.
        """
        if self._engine is not None:
            self._engine.cancel()

    def _new_engine(self) -> ServiceEngine:
        return ServiceEngine(
            self._call, self._client, self._service_options, self._checkpoint, in_order=self._ordered
        )

    def _own_engine(self) -> Engine:
        assert self._engine is not None
        return self._engine

    def _submit(self, engine: Engine) -> None:
        """Give the engine all that was read: answers are safe at the server, so it does not matter how many are not stored yet."""
        jobs = list(self._waiting)
        self._waiting.clear()
        self._outstanding += len(jobs)
        if jobs:
            engine.submit(jobs)

    def _like(self, *args: Any, **options: Any) -> Batch:
        return ServiceBatch(*args, client=self._client, service=self._service_options, **options)

    def _report(self) -> None:
        if not self._bar.is_silent and self._engine is not None:
            totals, engine = self._totals, self._engine
            done = totals.answered + totals.failed
            self._bar.update(done + engine.done_at_server, engine.text() or totals.text(total=self._bar.total))
