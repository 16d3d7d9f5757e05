"""An option that a call does not have: what it may have been meant for."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["refuse_unknown"]

# What the same thing is called elsewhere. The first of these that a call has is the one.
_ELSEWHERE = {
    "functions": ("tools",),
    "guidance_scale": ("guidance",),
    "max_length": ("max_tokens", "max_new_tokens"),
    "max_new_tokens": ("max_tokens",),
    "max_tokens": ("max_new_tokens",),
    "num_inference_steps": ("steps",),
    "num_predict": ("max_tokens", "max_new_tokens"),
    "stop_sequences": ("stop",),
    "stop_words": ("stop",),
    "system": ("system_prompt",),
    "timeout": ("timeouts",),
}
# What needs no option where text is the answer.
_NEEDLESS = {
    "inputs": "the prompt is the first argument",
    "messages": "the messages are the prompt, the first argument",
    "prompt": "the prompt is the first argument",
    "schema": "parse(prompt, into=...) asks for an object",
    "stream": "every answer is a stream; .text and result() read all of it",
}


def refuse_unknown(call: str, given: Iterable[str], known: Iterable[str], otherwise: str) -> None:
    """Raise if one of the names *given* is none of those *known*; the error says what it may have been meant for.

    Raises:
        TypeError: As for any function that gets an argument which it does not have.
    """
    known = list(known)
    for name in given:
        if name not in known:
            raise TypeError(f"{call}() has no option {name!r}; {_hint(name, known) or otherwise}")


def _hint(name: str, known: list[str]) -> str | None:
    if meant := [other for other in _ELSEWHERE.get(name, ()) if other in known]:
        return f"did you mean {meant[0]}{'=Timeouts(...)' if meant[0] == 'timeouts' else ''}?"
    if name in _NEEDLESS and "stop" in known:
        return _NEEDLESS[name]
    import difflib  # only for those who mistyped

    close = difflib.get_close_matches(name, known, 1, 0.75)
    return f"did you mean {close[0]}?" if close else None
