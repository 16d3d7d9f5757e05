"""Hints for options that a call does not have: the name that may have been meant."""

from __future__ import annotations

from collections.abc import Collection, Iterable

__all__ = ["refuse_unknown"]

# Names of the same option in other libraries. The first of the values that a call has is the hint.
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
# Options that a call does not need, if it has the second one.
_NEEDLESS = {
    "inputs": ("stop", "the prompt is the first argument"),
    "messages": ("stop", "the messages are the prompt, the first argument"),
    "prompt": ("stop", "the prompt is the first argument"),
    "response_format": ("into", "the class says what the answer looks like"),
    "schema": ("stop", "parse(prompt, into=...) asks for an object"),
    "stream": ("stop", "every answer is a stream; .text and result() read all of it"),
}


def refuse_unknown(call: str, given: Iterable[str], known: Collection[str]) -> None:
    """Check that all names in *given* are in *known*.

    Raises:
        TypeError: One is not, as for any function with an unexpected argument. The message says which one may have been meant.
    """
    for name in given:
        if name not in known:
            raise TypeError(f"{call}() has no option {name!r}; {_hint(name, known)}")


def _hint(name: str, known: Collection[str]) -> str:
    if meant := [other for other in _ELSEWHERE.get(name, ()) if other in known]:
        return f"did you mean {meant[0]}{'=Timeouts(...)' if meant[0] == 'timeouts' else ''}?"
    if name in _NEEDLESS and _NEEDLESS[name][0] in known:
        return _NEEDLESS[name][1]
    import difflib  # imported late: most calls have no mistakes

    if close := difflib.get_close_matches(name, known, 1, 0.75):
        return f"did you mean {close[0]}?"
    return "a field of the server's own goes into extra_body=" if "extra_body" in known else f"it has {', '.join(known)}"
