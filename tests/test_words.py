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
    "attachments",
    "call_depth",
    "changelog.d",
    "choices",
    "content_clock",
    "docs",
    "examples",
    "hfclient/__init__.py",
    "hfclient/arguments",
    "hfclient/chat",
    "hfclient/cli",
    "hfclient/client.py",
    "hfclient/credentials",
    "hfclient/decoding",
    "hfclient/errors.py",
    "hfclient/events",
    "hfclient/files",
    "hfclient/inference",
    "hfclient/local",
    "hfclient/process",
    "hfclient/redaction",
    "hfclient/types.py",
    "hub",
    "mistakes",
    "ruff.toml",
    "setup.cfg",
    "structured_output",
    "tasks",
    "tests/chat",
    "tests/cli",
    "tests/clock.py",
    "tests/conftest.py",
    "tests/docs",
    "tests/faults",
    "tests/inference/test_{name}.py",
    "tests/local",
    "tests/processes",
    "tests/property",
    "tests/published.py",
    "tests/security",
    "tests/server.py",
    "tests/test_benchmarks.py",
    "tests/test_guardians.py",
    "tests/test_suite.py",
    "tests/unit",
    "tests/wire",
    "text",
    "tool_loop",
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
    r"(?<!there )(?:is|are) no(?! (?:longer|more|less)\b)": '"is not a"',
    "there (?:is|are|was) none": '"if it does not exist", "None"',
    "servers? of before|of before 20\\d\\d": "before 20..",
    "of its own accord|whatever it is|it is no good": "plain words",
}
"""Regular expressions of words to avoid, and what to write instead."""

PATTERN = re.compile("|".join(rf"(?<![a-z])(?:{words})(?![a-z_])" for words in INSTEAD), re.IGNORECASE)

ALLOWED = {
    # The lower bound that the benchmarks compare with.
    "benchmarks/": "floors?",
    "docs/performance.rst": "floors?",
    "setup.cfg": "floors?",
    "tests/test_benchmarks.py": "floors?",
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
    for file in _files(place):
        name = file.relative_to(ROOT).as_posix()
        for number, line in enumerate(file.read_text("utf-8").split("\n"), 1):
            for match in PATTERN.finditer(line):
                word = match.group().lower()
                if not any(name.startswith(path) and re.fullmatch(words, word) for path, words in ALLOWED.items()):
                    instead = next(text for words, text in INSTEAD.items() if re.match(words, word))
                    found.append(f"{name}:{number}: {word!r} (better: {instead}): {line.strip()[:100]}")
    assert found == [], "\n" + "\n".join(found)
