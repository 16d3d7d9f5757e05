"""The description of a run in a checkpoint: which call, server and options its answers belong to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hfclient.batch.checkpoints import OnChange
from hfclient.batch.checkpoints.keys import plain
from hfclient.errors import InvalidInputError
from hfclient.redaction.masking import masked, may_be_secret

__all__ = ["describe", "is_new_run"]

_SHOWN = 60  # characters of a value in a message


def describe(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return *settings* as they are written into a checkpoint: JSON without secrets."""
    described: dict[str, Any] = json.loads(masked(json.dumps(_without_secrets(plain(settings)), ensure_ascii=False)))
    return described


def is_new_run(target: str, known: Sequence[Mapping[str, Any]], run: Mapping[str, Any], on_change: OnChange, answers: int) -> bool:
    """Return whether *run* has to be added to the *known* runs of a checkpoint.

    Args:
        target: The checkpoint's name.
        known: The runs that it has, oldest first.
        run: The new one, from `describe`.
        on_change: As in `Checkpoint.begin`.
        answers: How many answers are stored, without errors.

    Raises:
        InvalidInputError: *run* is not known, and *on_change* is "raise".
    """
    if on_change not in ("raise", "redo"):
        raise InvalidInputError(f'on_change is "raise" or "redo", not {on_change!r}')
    if run in known:
        return False
    if not known or on_change == "redo" or not answers:
        return True
    changes = "; ".join(_changes(known[-1], run))
    raise InvalidInputError(
        f"the checkpoint {target} belongs to other options: {changes}. All of its {answers:,} stored answers would be asked again "
        f"(except for items that set these options themselves). To continue, use the old options; to ask again, give another "
        f'file, or on_change="redo" (--overwrite), which keeps the old answers, too'
    )


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    names = [name for name in {**old, **new} if old.get(name) != new.get(name) or (name in old) != (name in new)]
    return [f"{name} was {_shown(old, name)} and is now {_shown(new, name)}" for name in names]


def _shown(run: Mapping[str, Any], name: str) -> str:
    if name not in run:
        return "not given"
    text = json.dumps(run[name], ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text):,} characters)"


def _without_secrets(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _without_secrets(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_secrets(inner, name) for inner in value]
    return "***" if isinstance(value, str) and may_be_secret(name, "") else value
