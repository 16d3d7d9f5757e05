"""The providers' own batch services: files of requests that are answered within hours, for less money.

``inference.map(..., service="batch")`` returns a `ServiceBatch`; `BatchJobs` has the jobs one by one.

Reference: docs/protocol/batches.
"""

from __future__ import annotations

from hfclient.batch.service.batch import ServiceBatch, service_options
from hfclient.batch.service.batch_jobs import BatchJob, BatchJobs
from hfclient.batch.service.settings import BatchService

__all__ = ["BatchJob", "BatchJobs", "BatchService", "ServiceBatch", "service_options"]
