"""The Markdown of a model in marked, the renderer of JupyterLab: the same texts as in tests/security/test_markdown.py."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hfclient.redaction.markdown import safe_markdown
from tests.services import find, missing

pytest.importorskip("markdown_it")
pytest.importorskip("mistune")
from tests.security.test_markdown import HOSTILE, ORDINARY, PIECES, _shown, _with_math, problems

pytestmark = pytest.mark.timeout(240)

VERSION = "marked@16"  # of JupyterLab 4.6
Pages = Callable[[list[str]], list[str]]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Pages:
    """A function that renders texts with marked."""
    npm, node = find("npm", package="npm"), find("node", package="nodejs")
    folder = tmp_path_factory.mktemp("marked")
    (folder / "package.json").write_text('{"private": true}', "utf-8")
    install = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", VERSION]
    done = subprocess.run(install, cwd=folder, capture_output=True, text=True, check=False, timeout=200)
    if done.returncode:
        missing(f"npm package {VERSION} ({done.stderr.strip()[-300:]})")
    shutil.copy(Path(__file__).with_name("markdown_pages.mjs"), folder)

    def rendered(texts: list[str]) -> list[str]:
        done = subprocess.run(
            [node, "markdown_pages.mjs"],
            cwd=folder,
            input=json.dumps(texts),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        result: list[str] = json.loads(done.stdout)
        return result

    return rendered


def _pages_with_math(pages: Pages, texts: list[str]) -> list[str]:
    """Render all texts at once, with the math taken out before and put back after, as JupyterLab does."""
    marked: list[str] = []

    def keep(text: str) -> str:
        marked.append(text)
        return ""

    for text in texts:
        _with_math(keep)(text)
    rendered = iter(pages(marked))
    return [_with_math(lambda _: next(rendered))(text) for text in texts]


def test_hostile_and_random_markdown_is_harmless_in_marked(pages: Pages) -> None:
    """Attacks and 3,000 random sequences become text and links, with and without JupyterLab's treatment of math."""
    chance = random.Random(12)
    texts = [
        before + text for text in HOSTILE for before in ("", "- a\n\n  ", "> ", "`", "$", "```\n", "<details>\n\n")
    ]
    texts += ["".join(chance.choices(PIECES, k=chance.randrange(1, 40))) for _ in range(3000)]
    safe = [safe_markdown(text) for text in texts]
    for page_set in (pages(safe), _pages_with_math(pages, safe)):
        for text, page in zip(texts, page_set, strict=True):
            assert problems(page) == [], (text, page)


def test_ordinary_answers_render_as_they_were_written(pages: Pages) -> None:
    """Texts, lists, tables and code look the same as without the rewriting."""
    rewritten, original = pages([safe_markdown(text) for text in ORDINARY]), pages(ORDINARY)
    for text, page, expected in zip(ORDINARY, rewritten, original, strict=True):
        assert _shown(page) == _shown(expected), text
