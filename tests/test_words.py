"""Plain words: names, comments, messages and pages use the field's terms, and no figures of speech."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHECKED = (
    ".ci/run",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "benchmarks",
    "changelog.d",
    "docs",
    "examples",
    "hfclient",
    "ruff.toml",
    "setup.cfg",
    "tests",
    "tox.ini",
)
"""Folders and files that are checked."""
SUFFIXES = {".py", ".rst", ".md", ".cfg", ".ini", ".toml"}

INSTEAD = {
    "nobody|somebody|everybody|anybody|whoever|whomever": "name the subject: the caller, a client, another process, ...",
    "strangers?": "another user, another session, a new reader",
    "errands?|crumbs?|purses?|wings?|annex(?:es)?|guests?|good-?byes?": "the field's term",
    "houses?|rooms?|doors?|roofs?|floors?": "server, package, layer, module, limit, endpoint, ...",
    "mend(?:s|ed|ing)?": "repair, fix, replace",
    "shall": "must, will",
    "gone on with|go(?:es)? on with": "continue",
    "(?:is|are|was|were|be) told": "gets, receives, is notified",
    r"(?<!there )(?:is|are) no(?! (?:longer|more|less)\b)": '"is not a"',
    "there (?:is|are|was) none": '"if it does not exist", "None"',
    "servers? of before|of before 20\\d\\d": "before 20..",
    "of its own accord|whatever it is|it is no good": "plain words",
}
"""Regular expressions of words to avoid, and what to write instead."""

PATTERN = re.compile("|".join(rf"(?<![a-z])(?:{words})(?![a-z])" for words in INSTEAD), re.IGNORECASE)

ALLOWED = {
    # The lower bound that the benchmarks compare with.
    "benchmarks/": "floors?",
    "docs/performance.rst": "floors?",
    "setup.cfg": "floors?",
    "tests/test_benchmarks.py": "floors?",
    # The name of an option of libcurl.
    "hfclient/transport/curl_transport.py": "nobody",
    # Part of a prompt.
    "tests/inference/test_real_model.py": "guests?",
}
"""Starts of paths, and the words that are right there."""


def _files(place: str) -> list[Path]:
    path = ROOT / place
    if path.is_file():
        return [path]
    found = sorted(path.rglob("*"))
    return [file for file in found if file.suffix in SUFFIXES and "fixtures" not in file.parts and file != Path(__file__)]


@pytest.mark.parametrize("place", CHECKED)
def test_plain_words(place: str) -> None:
    """No file has a word of the list, except where the table allows it."""
    found = []
    assert _files(place)
    for file in _files(place):
        name = file.relative_to(ROOT).as_posix()
        for number, line in enumerate(file.read_text("utf-8").split("\n"), 1):
            for match in PATTERN.finditer(line):
                word = match.group().lower()
                if not any(name.startswith(path) and re.fullmatch(words, word) for path, words in ALLOWED.items()):
                    instead = next(text for words, text in INSTEAD.items() if re.match(words, word))
                    found.append(f"{name}:{number}: {word!r} (better: {instead}): {line.strip()[:100]}")
    assert found == [], "\n" + "\n".join(found)
