"""What the scripted model answers in batches: about the reviews, the questions and the grades of the documentation."""

from __future__ import annotations

import csv
import functools
import json
from pathlib import Path
from typing import Any

__all__ = ["DATA", "batch_answer"]

DATA = Path(__file__).parents[2] / "docs" / "data"
SENTIMENTS = {"5": "positive", "4": "positive", "3": "mixed", "2": "negative", "1": "negative"}
TOPICS = {
    "delivery": ("deliver", "arrive", "late ", "parcel", "packed", "the order"),
    "battery": ("battery", "charged"),
    "price": ("price", "cheap", "expensive"),
    "comfort": ("comfort", "ears", "tight", "wear", "shoulders", "straps", "hot"),
}
# Of each model, the questions that it answers wrongly, and those that it answers with a whole sentence.
MODELS = {
    "small": ({"q02": "98", "q04": "15", "q08": "243", "q10": "15", "q13": "Sydney", "q16": "Ag", "q24": "English"}, {"q11", "q14", "q21"}),
    "large": ({"q13": "Sydney"}, {"q05", "q18", "q23"}),
}
UNSURE = "I would say that the buyer is happy."
_unsure = iter([UNSURE, UNSURE])  # about the review r37, first: the answer and its repair


@functools.cache
def _reviews() -> dict[str, dict[str, str]]:
    with open(DATA / "reviews.csv", newline="", encoding="utf-8") as file:
        return {row["text"]: row for row in csv.DictReader(file)}


@functools.cache
def _questions() -> dict[str, dict[str, str]]:
    lines = (DATA / "questions.jsonl").read_text("utf-8").split("\n")
    return {row["question"]: row for row in map(json.loads, filter(None, lines))}


def batch_answer(asked: dict[str, Any], prompt: str) -> str | None:
    """Return the answer to a prompt of the pages about batches; None for any other prompt."""
    if (question := _questions().get(prompt)) is not None:
        return _answered(asked.get("model", ""), question)
    if prompt.startswith("Question: "):
        return _graded(prompt)
    if (review := _reviews().get(prompt.partition(": ")[2] or prompt)) is not None:
        return _classified(asked, review)
    return None


def _answered(model: str, question: dict[str, str]) -> str:
    wrong, sentences = MODELS.get(model, MODELS["small"])
    answer = wrong.get(question["id"], question["answer"])
    return f"The answer is {answer}." if question["id"] in sentences else answer


def _graded(prompt: str) -> str:
    parts = dict(line.split(": ", 1) for line in prompt.split("\n") if ": " in line)
    is_right = parts["Right answer"].lower() in parts["Given answer"].lower()
    return json.dumps({"value": is_right})


def _classified(asked: dict[str, Any], review: dict[str, str]) -> str:
    text, sentiment = review["text"].lower(), SENTIMENTS[review["stars"]]
    schema = json.dumps(asked.get("response_format", {}))
    if '"topic"' not in schema:
        return json.dumps({"value": sentiment}) if '"value"' in schema else sentiment
    if review["id"] == "r37" and (answer := next(_unsure, None)) is not None:
        return answer
    topic = next((topic for topic, words in TOPICS.items() if any(word in text for word in words)), "quality")
    return json.dumps({"sentiment": sentiment, "topic": topic})
