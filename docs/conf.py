"""How Sphinx builds the documentation. `tox -e docs` runs it, with warnings as errors, and then the examples."""

import atexit
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # for the examples' model, tests/docs/scripted.py

from sphinx import addnodes

from hfclient import __version__
from tests.docs.notebooks import kernel_environment

ROOT = Path(__file__).parent.parent

project = "hfclient"
author = "the hfclient developers"
project_copyright = "the hfclient developers"
release = version = __version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.doctest", "sphinx.ext.napoleon", "sphinx_copybutton", "myst_nb"]
exclude_patterns = ["_build"]
source_suffix = {".rst": "restructuredtext", ".ipynb": "myst-nb"}
html_theme = "furo"
html_title = f"hfclient {release}"
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_sphinx = False

# The button copies the code of an example, without prompts and output. What sphinx.ext.doctest has run looks like a session, too.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
default_role = "py:obj"
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# The examples of every page talk to a real server of ours whose model is scripted: no network, the same answer always.
doctest_global_setup = """
from tests.docs.scripted import LocalScripted
examples = LocalScripted().__enter__()
"""
doctest_global_cleanup = """
examples.__exit__()
"""
trim_doctest_flags = True

# The tutorial runs with each build. Its kernel has the same scripted model, from a startup file: it is not in the notebook's text.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_execution_show_tb = True
nb_render_markdown_format = "gfm"  # tables
_profile = Path(tempfile.mkdtemp(prefix="hfclient-docs-"))
atexit.register(shutil.rmtree, _profile, ignore_errors=True)
os.environ |= kernel_environment(_profile)


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


def _unreleased():
    """Return the next section of the changes, put together from changelog.d; nothing if there are no fragments."""
    folder = ROOT / "changelog.d"
    if not list(folder.glob("*.md")):
        return ""
    command = [sys.executable, "-m", "towncrier", "build", "--draft", "--config", folder / "towncrier.toml", "--dir", ROOT]
    done = subprocess.run([*command, "--version", "Not released", "--date", "yet"], capture_output=True, text=True, check=True)
    return done.stdout.replace(" (yet)", "")


def _show_changes(app, docname, source):
    """Put the fragments and CHANGELOG.md, which use a few forms of Markdown, on the page of changes."""
    if docname != "changelog":
        return
    before, _, after = (ROOT / "CHANGELOG.md").read_text("utf-8").partition("<!-- towncrier release notes start -->\n")
    text = before.partition("\n")[2] + _unreleased() + after
    text = re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", text)
    text = re.sub(r"\[([^\]]+)\]\((https?:[^)]+)\)", r"`\1 <\2>`__", text)
    for mark, line in ("###", "~"), ("##", "-"):
        text = re.sub(rf"^{mark} (.+)$", lambda match, line=line: f"{match[1]}\n{line * len(match[1])}", text, flags=re.MULTILINE)
    source[0] += text


def _find_by_last_name(app, env, node, contnode):
    """Link `Reply` to hfclient.types.Reply, if one documented object has that name; docstrings use the short names."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target:
        return None
    domain = env.get_domain("py")
    shown = [name for name, entry in domain.objects.items() if not entry.aliased]
    names = [name for name in shown if name.endswith(f".{target}")]
    if not names and target.startswith("hfclient."):  # an annotation names the module that defines a class
        names = [name for name in shown if name.endswith(f".{target.rpartition('.')[2]}")]
    if len(names) != 1:
        return None
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", names[0], node, contnode)


def _name_batches(app, doctree):
    """Let `Batch` be hfclient.batch.Batch, except on the pages of hfclient.web, whose relay has a class of that name, too."""
    if not app.env.docname.startswith("api/web"):
        for node in doctree.findall(addnodes.pending_xref):
            if node.get("reftarget") == "Batch":
                node["reftarget"] = "hfclient.batch.Batch"


def _show_commands(app, docname, source):
    """Put the help of all commands on the page of the command line."""
    if docname == "terminal-reference":
        from docs.command_reference import reference

        source[0] += reference()


def setup(app):
    app.connect("missing-reference", _find_by_last_name)
    app.connect("autodoc-process-docstring", _show_examples, priority=1)  # before napoleon
    app.connect("doctree-read", _name_batches)
    app.connect("source-read", _show_changes)
    app.connect("source-read", _show_commands)
