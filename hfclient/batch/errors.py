"""Errors of batches beside those of `hfclient.errors`."""

from __future__ import annotations

from hfclient.errors import HFClientError

__all__ = ["CheckpointError"]


class CheckpointError(HFClientError):
    """A checkpoint or a cache cannot be read or written: the disk is full, another process uses the file, the file was changed.

    ``completed`` has the results that were received and could not be stored.
    """
