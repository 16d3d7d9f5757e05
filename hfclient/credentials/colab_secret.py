"""The Hub token among the secrets of Google Colab.

As huggingface_hub describes it, Colab asks the user for access the first time. The answer is kept for this process, a refusal
too. Only the kernel can ask: a program that it starts would wait for an answer that never comes, and there `google.colab` has not been imported.

Reference: huggingface_hub/utils/_auth.py of huggingface_hub, which reads the same secret with the same call; not run in Colab
"""

from __future__ import annotations

import importlib
import logging
import threading
from typing import Any

from hfclient.credentials.secret import Secret

__all__ = ["colab_token"]

_log = logging.getLogger("hfclient")
_lock = threading.Lock()  # two threads that ask at once would wait for each other
_found: list[Secret] = []


def colab_token() -> str | None:
    """Return the secret ``HF_TOKEN`` of the notebook; None if it does not exist or access was refused."""
    with _lock:
        if not _found:
            _found.append(Secret(_ask()))
        return _found[0].reveal() or None


def _ask() -> str:
    try:
        userdata: Any = importlib.import_module("google.colab.userdata")
        return str(userdata.get("HF_TOKEN") or "")
    except Exception as error:  # noqa: BLE001 (a chat needs no token; Colab has several classes for "no")
        _log.info("Colab's secret HF_TOKEN is not used: %s", type(error).__name__)
        return ""
