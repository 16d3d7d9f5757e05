"""Everything is declared in setup.cfg except the page on PyPI: the README with links that work there."""

import configparser
import re
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent


def _page() -> str:
    """Return the README; its relative links lead to ``Source`` in project_urls, or without one become plain text."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", "utf-8")
    urls = config.get("metadata", "project_urls", fallback="")
    source = re.search(r"^Source\s*=\s*(\S+?)/?$", urls, re.MULTILINE)

    def link(match: re.Match[str]) -> str:
        mark, text, path = match.groups()
        if source is None:
            return "" if mark else text
        return f"{mark}[{text}]({source[1]}/{'raw' if mark else 'blob'}/HEAD/{path})"

    return re.sub(r"(!?)\[([^\]]*)\]\((?!https?:)([^)]+)\)", link, (ROOT / "README.md").read_text("utf-8"))


setup(long_description=_page())
