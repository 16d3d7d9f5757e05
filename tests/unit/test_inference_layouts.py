"""Prompt layouts byte for byte, their choice by model, and shortening of long conversations."""

from __future__ import annotations

from typing import Any

import pytest

from hfclient.errors import InvalidInputError
from hfclient.inference.text.layouts import LAYOUTS, layout_for, max_answer_tokens, prompt_for, shorten, turns_of

FULL = [("system", "S"), ("user", "U1"), ("assistant", "A1"), ("user", "U2")]
BEGUN = FULL[:3]
BAR, LINE = "\uff5c", "\u2581"
END = f"<{BAR}end{LINE}of{LINE}sentence{BAR}>"

EXPECTED = {
    "plain": ("System: S\nUser: U1\nAssistant: A1\nUser: U2\nAssistant:", "System: S\nUser: U1\nAssistant: A1"),
    "mistral": ("<s>[INST]U1 [/INST] A1</s>\n<s>[INST] U2 S [/INST]", "<s>[INST]U1 [/INST] A1"),
    "role-tags": (
        "<|system|>\nS</s>\n<|user|>\nU1</s>\n<|assistant|>\nA1</s>\n<|user|>\nU2</s>\n<|assistant|>\n",
        "<|system|>\nS</s>\n<|user|>\nU1</s>\n<|assistant|>\nA1",
    ),
    "chatml": (
        "<|im_start|>system\nS\n<|im_end|>\n<|im_start|>user\nU1\n<|im_end|>\n<|im_start|>assistant\nA1\n<|im_end|>\n"
        "<|im_start|>user\nU2\n<|im_end|>\n<|im_start|>assistant\n",
        "<|im_start|>system\nS\n<|im_end|>\n<|im_start|>user\nU1\n<|im_end|>\n<|im_start|>assistant\nA1",
    ),
    "deepseek": (
        f"<{BAR}System{BAR}>S{END}<{BAR}User{BAR}>U1{END}<{BAR}Assistant{BAR}>A1{END}<{BAR}User{BAR}>U2{END}"
        f"<{BAR}Assistant{BAR}>",
        f"<{BAR}System{BAR}>S{END}<{BAR}User{BAR}>U1{END}<{BAR}Assistant{BAR}>A1",
    ),
    "llama3": (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nS\n<|eot_id|>\n"
        "<|start_header_id|>user<|end_header_id|>\n\nU1\n<|eot_id|>\n"
        "<|start_header_id|>assistant<|end_header_id|>\n\nA1\n<|eot_id|>\n"
        "<|start_header_id|>user<|end_header_id|>\n\nU2\n<|eot_id|>\n<|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nS\n<|eot_id|>\n"
        "<|start_header_id|>user<|end_header_id|>\n\nU1\n<|eot_id|>\n"
        "<|start_header_id|>assistant<|end_header_id|>\n\nA1",
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name: str) -> None:
    """Each layout writes a conversation, and one to be continued, exactly as the older client did."""
    full, begun = EXPECTED[name]
    assert LAYOUTS[name].render(FULL) == full
    assert LAYOUTS[name].render(BEGUN, action="continue") == begun


def data(end: Any = None, kind: str | None = None, author: str | None = None) -> dict[str, Any]:
    return {"author": author, "config": {"model_type": kind, "tokenizer_config": {"eos_token": end}}}


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ({}, "plain"),
        ({"config": None}, "plain"),
        ({"config": {"tokenizer_config": None}}, "plain"),
        (data("<|im_end|>", "gpt2"), "plain"),
        (data("<eos>", "gemma2"), "plain"),
        (data("</s>", "mistral", "mistralai"), "mistral"),
        (data("</s>", "mistral", "another"), "role-tags"),
        (data("<|endoftext|>"), "role-tags"),
        (data({"content": "</s>"}), "role-tags"),
        (data("<|im_end|>"), "chatml"),
        (data({"content": END}), "deepseek"),
        (data(END), "deepseek"),
        (data("<|eot_id|>"), "llama3"),
        (data("<end_of_turn>"), "plain"),
        (data(7), "plain"),
        (data(["</s>"]), "plain"),
    ],
)
def test_choice(model: dict[str, Any], name: str) -> None:
    """The first matching rule chooses the layout; an eos token may be a string or an object."""
    assert layout_for(model).name == name


def test_role_tags_end_with_the_models_own_token() -> None:
    """The model's eos token follows each text directly."""
    assert layout_for(data("<eos>")).render([("user", "U1")]) == "<|user|>\nU1<eos>\n<|assistant|>\n"


def test_a_single_message() -> None:
    """A single message is its text; blank ones are skipped."""
    assert LAYOUTS["plain"].render([("user", "U1")]) == "U1"
    assert LAYOUTS["plain"].render([("system", " "), ("user", "U1")]) == "User: U1\nAssistant:"


def test_mistral_loses_nothing() -> None:
    """Mistral's layout begins without an empty line and keeps unanswered questions."""
    layout = LAYOUTS["mistral"]
    assert layout.render([("user", "U1")]) == "<s>[INST] U1 [/INST]"
    turns = [("user", "U0"), ("user", "U1"), ("assistant", "A1"), ("user", "U2"), ("user", "U3")]
    assert layout.render(turns) == "<s>[INST]U0\nU1 [/INST] A1</s>\n<s>[INST] U2\nU3 [/INST]"


def test_nothing_to_continue() -> None:
    """Only an answer can be continued, and only one action exists."""
    with pytest.raises(InvalidInputError, match="assistant"):
        LAYOUTS["chatml"].render(FULL, action="continue")
    with pytest.raises(InvalidInputError, match="regenerate"):
        LAYOUTS["chatml"].render(FULL, action="regenerate")
    with pytest.raises(InvalidInputError, match="empty"):
        LAYOUTS["chatml"].render([])


def test_shorten() -> None:
    """Of many messages the first and the last three stay, of few the system messages and the last question."""
    many = [("user", str(number)) for number in range(8)]
    assert [text for _, text in shorten(many)] == ["0", "1", "2", "5", "6", "7"]
    six = [("system", "S"), ("user", "a"), ("assistant", "b"), ("user", "c"), ("user", "d")]
    assert shorten(six) == [("system", "S"), ("user", "c\nd")]
    assert shorten([("system", "S"), ("user", "a"), ("assistant", "b")]) == [
        ("system", "S"),
        ("user", "a"),
        ("assistant", "b"),
    ]


def test_long_prompts() -> None:
    """A prompt of more than 4096 characters is shortened once; the result may still be longer."""
    turns = [("system", "S"), ("user", "x" * 4050), ("assistant", "A1"), ("user", "U2")]
    plain = LAYOUTS["plain"]
    exact = len(plain.render(turns))
    assert prompt_for(turns, plain, max_prompt_length=exact) == plain.render(turns)
    assert prompt_for(turns, plain, max_prompt_length=exact - 1) == "System: S\nUser: U2\nAssistant:"
    long = [("user", "y" * 5000)]
    assert prompt_for(long, plain) == "y" * 5000
    assert len(prompt_for(turns * 20, plain, max_prompt_length=None)) > 80_000


def test_max_tokens() -> None:
    """GPT-2 gets half of its context, all others the requested number, or 1024."""
    assert max_answer_tokens({}) == 1024
    assert max_answer_tokens({}, 7) == 7
    assert max_answer_tokens(data(kind="gpt2"), 2000) == 512
    assert max_answer_tokens(data(kind="gpt2"), 600) == 600


def test_turns() -> None:
    """Parts of text are joined, images become Markdown, anything else is refused."""
    image = {"type": "image_url", "image_url": {"url": "http://h/a.png"}}
    messages = [
        {"role": "developer", "content": "S"},
        {"role": "user", "content": [image, {"type": "text", "text": "What?"}]},
        {"role": "assistant", "content": None},
    ]
    assert turns_of(messages) == [("system", "S"), ("user", "![](http://h/a.png)What?"), ("assistant", "")]
    with pytest.raises(InvalidInputError, match="input_audio"):
        turns_of([{"role": "user", "content": [{"type": "input_audio"}]}])
