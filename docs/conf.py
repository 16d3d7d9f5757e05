"""How Sphinx builds the documentation. `tox -e docs` runs it, with warnings as errors, and then the examples."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # for the examples' model, tests/docs/scripted.py

from hfclient import __version__

project = "hfclient"
author = "the hfclient developers"
project_copyright = "the hfclient developers"
release = version = __version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.doctest", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {"description": "Blocking Python client for HuggingChat and Hugging Face inference"}
html_sidebars = {"**": ["about.html", "navigation.html", "searchbox.html"]}

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
default_role = "py:obj"
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# The examples of every page talk to a real server of ours whose model is scripted: no network, the same answer always.
doctest_global_setup = """
from tests.docs.scripted import Bent
examples = Bent().__enter__()
"""
doctest_global_cleanup = """
examples.__exit__()
"""
trim_doctest_flags = True


def _show_examples(app, what, name, obj, options, lines):
    """Make an indented block of a docstring's prose a literal one: our docstrings hold code without ``::`` before it."""
    in_sections = in_block = False
    shown = []
    for line in lines:
        if re.fullmatch(r"[A-Z][a-z]+:", line):
            in_sections = True
        indented = line.startswith("    ") and not in_sections
        if indented and not in_block and not line.lstrip().startswith(">>>") and (not shown or not shown[-1]):
            shown += ["::", ""]
            in_block = True
        elif indented and line.lstrip().startswith(">>>"):
            in_block = True
        elif line and not indented:
            in_block = False
        shown.append(line)
    lines[:] = shown


def setup(app):
    app.connect("autodoc-process-docstring", _show_examples, priority=1)  # before napoleon
