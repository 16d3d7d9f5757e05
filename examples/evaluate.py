"""Compare models on questions with known answers.

pip install ".[batch]"
python examples/evaluate.py docs/data/questions.jsonl --models Qwen/Qwen3-8B meta-llama/Llama-3.1-8B-Instruct
python examples/evaluate.py questions.jsonl --models llama3.2 gemma3 --inference-url http://localhost:11434/v1 --judge gemma3

Each line of the file is {"id": "q01", "question": "...", "answer": "..."}. Every answer is stored in --checkpoint before it counts:
run the same command after Ctrl-C, or with one more model, and only what is missing is asked.
"""

import argparse
import json
import random
import statistics
import string
from pathlib import Path

from hfclient import Client

INSTRUCTION = "Answer with the result only: a word, a name or a number."
JUDGE = """Question: {question}
Right answer: {right}
Given answer: {given}
Does the given answer say the same as the right answer?"""


def plain(text):
    """Return the text without case, punctuation and space at its ends: what exact match compares."""
    return text.strip().strip(string.punctuation).casefold()


def interval(differences, rounds=5_000):
    """Return the 95 % interval of the mean, by the bootstrap: the mean of many samples, drawn with replacement."""
    draw = random.Random(0).choices  # noqa: S311 (the same interval each time)
    means = sorted(statistics.fmean(draw(differences, k=len(differences))) for _ in range(rounds))
    return means[round(rounds * 0.025)], means[round(rounds * 0.975) - 1]


def main(arguments=None):
    """Ask, grade, and print the table and the differences."""
    parser = argparse.ArgumentParser(description="Compare models on questions with known answers.")
    parser.add_argument("questions", help="a file of JSON lines with id, question and answer")
    parser.add_argument("--models", nargs="+", required=True)
    parser.add_argument("--judge", help="a model that says whether an answer is right; without it, exact match decides")
    parser.add_argument("--inference-url", help="an OpenAI-compatible server; without it, Hugging Face's router")
    parser.add_argument("--checkpoint", default="evaluation.jsonl")
    parser.add_argument("--max-tokens", type=int, default=200)
    options = parser.parse_args(arguments)

    with Path(options.questions).open(encoding="utf-8") as file:
        questions = [json.loads(line) for line in file if line.strip()]
    pairs = [(model, question) for model in options.models for question in questions]

    with Client(inference_url=options.inference_url) as client:
        items = [{"input": question["question"], "model": model} for model, question in pairs]
        shared = {"system_prompt": INSTRUCTION, "temperature": 0, "max_tokens": options.max_tokens}
        batch = client.inference.map(items, checkpoint=options.checkpoint, **shared)
        results = batch.results()
        texts = [result.value.text if result.ok else "" for result in results]  # no answer is a wrong answer
        right = [plain(text) == plain(question["answer"]) for text, (_, question) in zip(texts, pairs, strict=True)]
        if options.judge:
            unsure = [number for number, text in enumerate(texts) if text and not right[number]]
            rows = [
                {"question": pairs[n][1]["question"], "right": pairs[n][1]["answer"], "given": texts[n]} for n in unsure
            ]
            if rows:
                grades = client.inference.map(
                    rows,
                    call="parse",
                    into=bool,
                    template=JUDGE,
                    model=options.judge,
                    temperature=0,
                    checkpoint=f"{options.checkpoint.removesuffix('.jsonl')}-grades.jsonl",
                ).results()
                for number, grade in zip(unsure, grades, strict=True):
                    right[number] = grade.get()  # a grade that is missing ends the program; the next run asks for it

    print(f"{'model':40} {'right':>7} {'failed':>7} {'tokens':>8} {'seconds':>8}")
    scores = {}
    for start, model in enumerate(options.models):
        part = slice(start * len(questions), (start + 1) * len(questions))
        own = scores[model] = right[part]
        tokens = sum(result.usage.total_tokens or 0 for result in results[part] if result.usage is not None)
        failed = sum(not result.ok for result in results[part])
        seconds = statistics.median(result.seconds for result in results[part])
        print(f"{model:40} {statistics.fmean(own):7.0%} {failed:7} {tokens:8,} {seconds:8.1f}")
    first, *others = options.models
    for other in others:
        differences = [b - a for a, b in zip(scores[first], scores[other], strict=True)]
        low, high = interval(differences)
        verdict = "may be chance" if low <= 0 <= high else "a difference"
        print(f"{other} against {first}: {statistics.fmean(differences):+.0%} (95 %: {low:+.0%} to {high:+.0%}), {verdict}")
    print(f"asked {sum(not result.stored for result in results)} of {len(results)}" + (f", ${batch.cost:.4f}" if batch.cost else ""))


if __name__ == "__main__":
    main()
