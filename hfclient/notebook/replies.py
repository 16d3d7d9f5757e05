"""Answers as Markdown, which each front end renders with its own theme, highlighting and math."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from hfclient.events import Elicitation, Usage
from hfclient.notebook.bundles import Forms
from hfclient.notebook.escaping import amount, line, shortened
from hfclient.redaction.control_characters import stripped
from hfclient.redaction.markdown import as_markdown_text, link_to, safe_markdown
from hfclient.types import Reply

__all__ = [
    "Live",
    "fact_words",
    "folded",
    "plain_reply",
    "reply_forms",
    "reply_markdown",
    "usage_forms",
]

_MAX_TEXT = 500_000  # characters; a browser needs seconds for more
_MAX_ENTRIES = 50  # tool calls, sources, files
_MAX_VALUE = 300  # characters of the arguments or the result of a tool


def reply_forms(reply: Reply) -> Forms:
    """Return the forms of an answer: its text; as Markdown also its reasoning, tools, sources, files and facts."""
    return {"text/plain": lambda: plain_reply(reply), "text/markdown": lambda: reply_markdown(reply)}


def usage_forms(usage: Usage) -> Forms:
    """Return the forms of a number of tokens."""
    return {"text/plain": lambda: _usage_words(usage)}


def _usage_words(usage: Usage) -> str:
    """Return the numbers of tokens in words."""
    known = [
        f"{usage.prompt_tokens:,} prompt" + (f" ({usage.cached_tokens:,} cached)" if usage.cached_tokens else ""),
        f"{usage.completion_tokens:,} completion"
        + (f" ({usage.reasoning_tokens:,} reasoning)" if usage.reasoning_tokens else ""),
    ]
    return f"{' + '.join(known)} = {usage.total_tokens:,} tokens"


@frozen
class Live:
    """What is known of an answer that is still coming, beside its reply so far.

    Attributes:
        text, reasoning: Those of the reply, as safe Markdown.
        tools: The state of each call that has no result yet, by its id.
        steps: The last steps of a web search.
        state: What is going on, and since when.
    """

    text: str
    reasoning: str
    tools: Mapping[str, str]
    steps: Sequence[str]
    state: str


def reply_markdown(reply: Reply, live: Live | None = None, *, times: str = "") -> str:
    """Return an answer as Markdown that is safe to render.

    Args:
        reply: The answer, or as much of it as has come.
        live: The answer is still coming. Its reasoning is open until it has text; later it would only push the text down.
        times: Seconds, for the last line.
    """
    text = _limited(reply.text) if live is None else live.text
    reasoning = _limited(reply.reasoning) if live is None else live.reasoning
    parts = [
        folded("Reasoning", reasoning, is_open=live is not None and not text) if reasoning else "",
        _tools(reply, {} if live is None else live.tools),
        "" if live is None or text else "\n\n".join(f"*{as_markdown_text(line(step))}*" for step in live.steps),
        text,
    ]
    parts += [_sources(reply), _files(reply), _facts(reply, times if live is None else live.state, is_live=live is not None)]
    return "\n\n".join(part for part in parts if part) or "*(an empty answer)*"


def folded(summary: str, markdown: str, *, is_open: bool = False) -> str:
    """Return Markdown that is folded under a line; *summary* is text of ours."""
    return f"<details{' open' if is_open else ''}><summary>{summary}</summary>\n\n{markdown}\n\n</details>"


def _as_code(text: str, limit: int = _MAX_VALUE) -> str:
    """Return Markdown that shows *text* as inline code, in any place."""
    return f"<code>{as_markdown_text(shortened(text, limit))}</code>" if text.strip() else ""


def _limited(text: str) -> str:
    shown = safe_markdown(text[:_MAX_TEXT])
    more = len(text) - _MAX_TEXT
    return shown if more <= 0 else f"{shown}\n\n*… and {more:,} more characters, in `reply.text`*"


def plain_reply(reply: Reply, times: str = "") -> str:
    """Return an answer as plain text; arguments are those of `reply_markdown`."""
    text = stripped(reply.text)
    notes = [f"({words})" for words in _notes(reply)] + ([f"({times})"] if times else [])
    return "\n".join([text, *notes] if text else notes) or "(an empty answer)"


def _tools(reply: Reply, states: Mapping[str, str]) -> str:
    if not reply.tool_calls:
        return ""
    results = {
        result.uuid: (result.status, result.message or _outputs(result.outputs)) for result in reply.tool_results
    }
    results.update((error.uuid, ("error", error.message)) for error in reply.tool_errors)
    rows = ["| Tool | Arguments | Result |", "|:--|:--|:--|"]
    for call in reply.tool_calls[:_MAX_ENTRIES]:
        arguments = call.arguments if call.arguments is not None else _json(call.parameters)
        status, result = results.get(call.uuid) or ("", states.get(call.uuid, ""))
        mark = "" if status in ("", "success") else f"{as_markdown_text(line(status, 40))}: "
        rows.append(
            f"| {_as_code(call.name)} | {_as_code(arguments)} | {mark}{as_markdown_text(line(result, _MAX_VALUE))} |"
        )
    return "\n".join(rows) + _more(len(reply.tool_calls))


def _outputs(outputs: list[dict[str, Any]]) -> str:
    texts = [str(output.get("text") or _json(output)) for output in outputs[:5]]
    return " ".join(texts)


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return shortened(str(value), _MAX_VALUE)


def _sources(reply: Reply) -> str:
    if not reply.sources:
        return ""
    lines = ["**Sources**", ""]
    for number, source in enumerate(reply.sources[:_MAX_ENTRIES], 1):
        lines.append(f"{number}. {link_to(source.link, line(source.title or source.link, 150))}")
    return "\n".join(lines) + _more(len(reply.sources))


def _files(reply: Reply) -> str:
    if not reply.files:
        return ""
    names = [
        f"{_as_code(file.name, 100)} ({as_markdown_text(line(file.mime, 60))})" for file in reply.files[:_MAX_ENTRIES]
    ]
    return f"**Files** {', '.join(names)}{_more(len(reply.files))}"


def _more(count: int) -> str:
    return f"\n\n*… and {count - _MAX_ENTRIES:,} more*" if count > _MAX_ENTRIES else ""


def _notes(reply: Reply) -> list[str]:
    """Return what a reader must know about the answer."""
    notes = []
    if reply.interrupted:
        notes.append("interrupted: the answer is not complete")
    elif reply.finish_reason == "length":
        notes.append("cut off at the maximum number of tokens")
    if reply.refusal is not None:
        notes.append("the model declined to answer")
    notes += [
        f"{line(one.provider, 60)} failed ({line(one.reason, 120)}), {line(one.to, 60)} was tried"
        for one in reply.failovers[:5]
    ]
    return notes + _open_questions(reply)


def _open_questions(reply: Reply) -> list[str]:
    """Return the questions of tools that have no answer yet, and how they get one."""
    over = {result.uuid for result in reply.tool_results}
    if not reply.interrupted:  # a tool that was stopped while it waited failed for this reason
        over |= {error.uuid for error in reply.tool_errors}
    waiting = [one for one in reply.elicitations if one.tool_uuid not in over]
    return [_question_words(one) for one in waiting[:5]]


def _question_words(question: Elicitation) -> str:
    """Return the question of a tool, and how it gets an answer."""
    page = f" ({line(question.url, 200)})" if question.url else ""
    return f"a tool waits for an answer: {line(question.message, 200)}{page}; on_elicitation= of the call, or answer() of its conversation, gives it"


def fact_words(reply: Reply) -> list[str]:
    """Return the model, the provider and the number of tokens, as far as they are known."""
    route = reply.route
    model = (route.model if route and route.model else reply.model) or ""
    facts = [line(model, 100), line(route.provider or "", 60) if route else ""]
    if reply.usage is not None:
        usage = reply.usage
        facts.append(f"{usage.prompt_tokens:,} + {amount(usage.completion_tokens, 'token')}")
    return [fact for fact in facts if fact]


def _facts(reply: Reply, more: str, *, is_live: bool) -> str:
    facts = [*([] if is_live else fact_words(reply)), *([more] if more else [])]
    shown = " · ".join(map(as_markdown_text, facts))
    notes = [f"⚠ {as_markdown_text(note)}" for note in _notes(reply)]
    return "<br>".join(f"<small>{part}</small>" for part in (*notes, shown) if part)
