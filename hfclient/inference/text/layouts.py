"""Prompt layouts: a conversation as one text, for models without chat completions.

These are the layouts of the older HuggingFaceInference client, byte for byte, chosen by the Hub's data of the model. They are
approximations: ChatML and llama3 have line ends that the models' own templates do not have, deepseek has an extra role.
Chat completions apply the real template, so they are better if the server has them.

These mistakes of that client are fixed here:

- an eos token that the Hub writes as an object equals the same one as a string;
- continuing a deepseek answer removes the whole end marker, not 13 of its 19 characters;
- mistral keeps a question without an answer, and does not begin with an empty line;
- shortening a long conversation keeps the answer that is to be continued.

Reference: docs/protocol/inference ("prompt layouts").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen

from hfclient.decoding.json_values import object_or_empty
from hfclient.errors import InvalidInputError

__all__ = ["LAYOUTS", "Layout", "Turn", "layout_for", "max_answer_tokens", "prompt_for", "shorten", "turns_of"]

Turn = tuple[str, str]
"""A role and a text."""

_DEEPSEEK_END = "<\uff5cend\u2581of\u2581sentence\uff5c>"  # FULLWIDTH VERTICAL LINE, LOWER ONE EIGHTH BLOCK
_MAX_LENGTH = 4096  # characters of a prompt that the older client did not shorten
_KEPT = 3  # messages that stay at each end
_MAX_TOKENS = 1024


@frozen
class Layout:
    """The format of a conversation.

    Attributes:
        name: One of `LAYOUTS`.
        head: Text before a message, by its role.
        tail: Text after a message.
        begin: Text at the start.
        whole: Formats layouts that are not a sequence of similar messages, from the turns and whether to continue the last one.
    """

    name: str
    head: Callable[[str], str] = str
    tail: str = ""
    begin: str = ""
    whole: Callable[[Sequence[Turn], bool], str] | None = None

    def render(self, turns: Sequence[Turn], *, action: str | None = None) -> str:
        """Return the text of *turns*.

        Args:
            turns: Pairs of role and text; see :func:`turns_of`.
            action: ``"continue"`` continues the last answer instead of beginning a new one.

        Raises:
            InvalidInputError: There are no turns, or no answer to continue.
        """
        if not turns:
            raise InvalidInputError("the list of messages is empty")
        if action not in (None, "continue"):
            raise InvalidInputError(f"action is None or 'continue', not {action!r}")
        goes_on = action == "continue"
        if goes_on and turns[-1][0] != "assistant":
            raise InvalidInputError(
                "action='continue' continues an answer: the last message must be the assistant's"
            )
        if self.whole is not None:
            return self.whole(turns, goes_on)
        written = self.begin + self.tail.join(f"{self.head(role)}{text}" for role, text in turns)
        return written if goes_on else f"{written}{self.tail}{self.head('assistant')}"


def _plain(turns: Sequence[Turn], goes_on: bool) -> str:
    if len(turns) == 1:
        return turns[0][1]
    text = "\n".join(f"{role.capitalize()}: {text}" for role, text in turns if text.strip())
    return text if goes_on else f"{text}\nAssistant:"


def _mistral(turns: Sequence[Turn], goes_on: bool) -> str:
    system = [text for role, text in turns if role == "system"]
    history: list[str] = []
    asked: list[str] = []
    for role, text in turns:
        if role == "assistant":
            # The older client kept only the message before an answer as its question.
            history.append(f"<s>[INST]{chr(10).join(asked)} [/INST] {text}</s>")
            asked = []
        elif role != "system":
            asked.append(text)
    if goes_on:
        return "\n".join(history).removesuffix("</s>")
    question = " ".join(filter(None, ["\n".join(asked), *system]))
    # The older client began a conversation without history with an empty line, in front of the token that begins a text.
    return "\n".join([*history, f"<s>[INST] {question} [/INST]"])


def _tags(end: str) -> Layout:
    return Layout("role-tags", lambda role: f"<|{role}|>\n", f"{end}\n")


LAYOUTS: Mapping[str, Layout] = {
    "plain": Layout("plain", whole=_plain),
    "mistral": Layout("mistral", whole=_mistral),
    "role-tags": _tags("</s>"),
    "chatml": Layout("chatml", lambda role: f"<|im_start|>{role}\n", "\n<|im_end|>\n"),
    "deepseek": Layout("deepseek", lambda role: f"<\uff5c{role.capitalize()}\uff5c>", _DEEPSEEK_END),
    "llama3": Layout(
        "llama3",
        lambda role: f"<|start_header_id|>{role}<|end_header_id|>\n\n",
        "\n<|eot_id|>\n",
        begin="<|begin_of_text|>",
    ),
}
"""The layouts by name. If :func:`layout_for` chooses ``role-tags``, messages end with the model's own eos token."""


def layout_for(model: Mapping[str, Any]) -> Layout:
    """Return the layout for a model, by the Hub's data of it (``GET /api/models/{id}``).

    >>> layout_for({"config": {"tokenizer_config": {"eos_token": "<|im_end|>"}}}).name
    'chatml'
    """
    config = object_or_empty(model.get("config"))
    kind = config.get("model_type")
    end = object_or_empty(config.get("tokenizer_config")).get("eos_token")
    if isinstance(end, dict):  # the older client read the object for deepseek only
        end = end.get("content")
    if kind in ("gpt2", "gpt_neo", "gemma", "gemma2"):
        return LAYOUTS["plain"]
    if kind == "mistral" and model.get("author") == "mistralai":
        return LAYOUTS["mistral"]
    if end in ("<|endoftext|>", "<eos>", "</s>"):
        return _tags(end)
    named = {"<|im_end|>": "chatml", _DEEPSEEK_END: "deepseek", "<|eot_id|>": "llama3"}
    return LAYOUTS[named.get(end, "plain") if isinstance(end, str) else "plain"]


def max_answer_tokens(model: Mapping[str, Any], asked: int | None = None) -> int:
    """Return the maximum length of an answer, 1024 tokens; 512 for GPT-2, because its context has 1024."""
    asked = _MAX_TOKENS if asked is None else asked
    return 512 if object_or_empty(model.get("config")).get("model_type") == "gpt2" and asked >= 1024 else asked


def prompt_for(
    turns: Sequence[Turn], layout: Layout, *, action: str | None = None, max_prompt_length: int | None = _MAX_LENGTH
) -> str:
    """Return the prompt for *turns*, shortened once if it is longer than *max_prompt_length* characters (None: never).

    Raises:
        InvalidInputError: See `Layout.render`.
    """
    prompt = layout.render(turns, action=action)
    if max_prompt_length is None or len(prompt) <= max_prompt_length:
        return prompt
    return layout.render(shorten(turns), action=action)


def shorten(turns: Sequence[Turn]) -> list[Turn]:
    """Return a shorter conversation.

    Of more than six messages the first and last three are kept; of fewer, all system messages and the last question. A last
    answer, which is to be continued, is kept (the older client dropped it and failed).
    """
    if len(turns) > 2 * _KEPT:
        return [*turns[:_KEPT], *turns[-_KEPT:]]
    begun = [turns[-1]] if turns[-1][0] == "assistant" else []
    before = list(turns[: len(turns) - len(begun)])
    asked: list[str] = []
    while before and before[-1][0] == "user":
        asked.insert(0, before.pop()[1])
    question = [("user", "\n".join(asked))] if asked else []
    return [*(turn for turn in turns if turn[0] == "system"), *question, *begun]


def turns_of(messages: Iterable[Mapping[str, Any]]) -> list[Turn]:
    """Return messages of a chat request as pairs of role and text.

    Images become ``![](url)``, as text-generation-inference wants them inside a prompt.

    Raises:
        InvalidInputError: A message has parts other than text and images.
    """
    return [(_role(message), _text(message.get("content"))) for message in messages]


def _role(message: Mapping[str, Any]) -> str:
    role = str(message.get("role"))
    return "system" if role == "developer" else role


def _text(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(_part(part) for part in (content if isinstance(content, (list, tuple)) else [content]))


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    if kind == "image_url":
        url = part["image_url"].get("url") if isinstance(part.get("image_url"), Mapping) else part.get("image_url")
        if isinstance(url, str):
            return f"![]({url})"
    raise InvalidInputError(f"a raw prompt has text and images only, not a part of type {kind!r}")
