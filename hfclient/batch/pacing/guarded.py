"""Calls that a `Guard` admits, whose limits processes and machines share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from hfclient.batch.items import Item
from hfclient.batch.jobs import Outcome
from hfclient.batch.pacing.refusals import NotAdmitted
from hfclient.errors import Cancelled
from hfclient.types import Reply

if TYPE_CHECKING:
    from hfclient.web import Guard

__all__ = ["guarded"]

_T = TypeVar("_T")

_USER = "map"  # of limits for each user: all batches of a guard are one user


def guarded(
    run: Callable[[Item], Any], guard: Guard, options: Mapping[str, Any], aside: Callable[[Callable[[], Any]], Any]
) -> Callable[[Item], Any]:
    """Return *run* with an admission of *guard* around it.

    Args:
        run: Answers an item.
        guard: Its limits for each key are for each provider and model: the key is ``"provider/model"``, or the one that is given.
        options: Those of the batch.
        aside: Calls a function that may block for the store of the guard, and returns its value.

    Raises:
        NotAdmitted: By the function; a limit is used up, or the store cannot be reached.
    """

    def run_guarded(item: Item) -> Any:
        used = {**options, **item.options}
        model = str(used.get("model") or "")
        provider = used.get("provider")
        key = "/".join(name for name in (provider if isinstance(provider, str) else "", model) if name) or "default"
        admission = aside(lambda: _admit(guard, key, item.input, model))
        failure: BaseException | None = None
        try:
            found = run(item)
            reply = found.reply if isinstance(found, Outcome) else found
            if isinstance(reply, Reply):
                admission.count(reply)
            return found
        except BaseException as error:
            failure = error
            raise
        finally:
            with contextlib.suppress(Cancelled):  # the batch is closed meanwhile: the store counts without it, and the answer is kept
                aside(lambda: admission.__exit__(type(failure), failure, None))

    return run_guarded


def _admit(guard: Guard, key: str, prompt: Any, model: str) -> Any:
    from hfclient.web.errors import LimitExceeded, StoreUnavailable

    try:
        return guard.admit(_USER, key=key, prompt=prompt, model=model)
    except LimitExceeded as error:
        raise NotAdmitted(error.message, retry_after=error.retry_after) from error
    except StoreUnavailable as error:
        raise NotAdmitted(error.message) from error
