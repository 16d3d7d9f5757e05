"""How Sphinx builds the documentation. `tox -e docs` runs it, with warnings as errors, and then the examples."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for the examples' server, see examples_server.py

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
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# Every example on every page talks to a real server of ours whose model is scripted: no network, the same answer always.
doctest_global_setup = """
import examples_server
examples_server.start()
"""
doctest_global_cleanup = """
examples_server.stop()
"""
trim_doctest_flags = True
