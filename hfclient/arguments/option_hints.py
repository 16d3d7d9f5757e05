"""Hints for options that a call does not have: the name that may have been meant."""

from __future__ import annotations

from collections.abc import Collection, Iterable

__all__ = ["refuse_unknown"]

# Names of the same option in other libraries. The first of the values that a call has is the hint.
_ELSEWHERE = {
    "cache_dir": ("cache",),
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
    "use_cache": ("cache",),
    **dict.fromkeys(("column_name", "input_column", "prompt_column", "text_column"), ("column",)),
    **dict.fromkeys(("desc", "progress_bar", "show_progress", "tqdm", "use_tqdm", "verbose"), ("progress",)),
    **dict.fromkeys(("max_requests_per_minute", "qps", "rate_limit", "requests_per_minute", "rpm", "rps"), ("rate",)),
    **dict.fromkeys(("max_tokens_per_minute", "tokens_per_minute", "tpm"), ("tokens",)),
    **dict.fromkeys(("on_error", "raise_errors", "raise_on_error", "return_errors", "return_exceptions"), ("errors",)),
    **dict.fromkeys(
        (
            "concurrency", "max_concurrency", "max_concurrent_requests", "max_in_flight", "max_parallel_requests", "max_workers",
            "n_jobs", "n_workers", "num_proc", "num_workers", "parallelism",
        ),
        ("workers",),
    ),
    **dict.fromkeys(
        ("checkpoint_dir", "checkpoint_path", "out", "output", "output_file", "output_path", "resume", "save_path", "save_to"),
        ("checkpoint",),
    ),
}  # fmt: skip
# How a value looks that is not simply a number or a name.
_VALUES = {
    "checkpoint": '="answers.jsonl"',
    "errors": '="raise"',
    "rate": '="500/minute"',
    "timeouts": "=Timeouts(...)",
    "tokens": '="100000/minute"',
}
# Options that map() does not need.
_OF_BATCHES = {
    "batch_size": "each item is a request of its own, and workers= is how many are in flight",
    "limit": "pass fewer items: itertools.islice(items, 100)",
    **dict.fromkeys(("callback", "on_result"), "a loop over the batch gets each result as it comes"),
    **dict.fromkeys(
        ("max_retries", "num_retries", "retries"), "what may pass is tried again by itself, for as long as patience= says while the server is down"
    ),
    **dict.fromkeys(("input", "inputs", "items", "prompts"), "the items are the first argument"),
}
# Options that a call does not need, if it has the second one.
_NEEDLESS = {
    **dict.fromkeys(("api_base", "api_key", "base_url"), ("stop", "the client has it: Client(inference_url=..., inference_key=...)")),
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
        return f"did you mean {meant[0]}{_VALUES.get(meant[0], '')}?"
    if name in _OF_BATCHES and "workers" in known:
        return _OF_BATCHES[name]
    if name in _NEEDLESS and _NEEDLESS[name][0] in known:
        return _NEEDLESS[name][1]
    import difflib  # imported late: most calls have no mistakes

    if close := difflib.get_close_matches(name, known, 1, 0.75):
        return f"did you mean {close[0]}?"
    return "a field of the server's own goes into extra_body=" if "extra_body" in known else f"it has {', '.join(known)}"
