"""Batches: many prompts with one call, on one machine or on a cluster (extra: batch).

    for result in client.inference.map(prompts, model="Qwen/Qwen3-8B", checkpoint="out.jsonl"):
        print(result.index, result.value.text if result.ok else result.error)

`InferenceClient.map` and `Client.map` return a `Batch`, an iterator of `BatchResult`. Nothing is sent before it is iterated.
`read_results` reads a checkpoint.
"""

from __future__ import annotations

import hfclient.redaction.logs  # noqa: F401 (installs the filter of the loggers)
from hfclient.batch.batch import Batch
from hfclient.batch.checkpoints.reading import read_results
from hfclient.batch.clusters.batch_call import BatchCall
from hfclient.batch.clusters.ray_executor import RayExecutor
from hfclient.batch.errors import CheckpointError
from hfclient.batch.formats.openai_requests import write_requests
from hfclient.batch.formats.request_call import ServerAnswer
from hfclient.batch.options import MapOptions
from hfclient.batch.results import BatchResult
from hfclient.batch.service import BatchJob, BatchJobs, BatchService, ServiceBatch

__all__ = [
    "Batch",
    "BatchCall",
    "BatchJob",
    "BatchJobs",
    "BatchResult",
    "BatchService",
    "CheckpointError",
    "MapOptions",
    "RayExecutor",
    "ServerAnswer",
    "ServiceBatch",
    "read_results",
    "write_requests",
]
