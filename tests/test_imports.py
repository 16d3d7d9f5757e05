"""What an import and a first call load, by name and by count: the time that they take follows from it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import hfclient
from benchmarks.server import ReplayServer

ROOT = Path(__file__).parent.parent
PACKAGES = {"attr", "attrs", "hfclient", "msgspec", "typing_extensions"}
TRANSPORT = {"certifi", "charset_normalizer", "idna", "requests", "urllib3", "socks"}
# Of the standard library and of other packages: slow to import, and needed by some calls only.
RARE = {
    "asyncio",
    "difflib",
    "docstring_parser",
    "jiter",
    "mimetypes",
    "numpy",
    "PIL",
    "platformdirs",
    "random",
}
_LOADED = """
import json, sys
{statement}
import attrs
from hfclient.values import Value
classes = {{
    f"{{member.__module__}}.{{member.__qualname__}}"
    for module in list(sys.modules.values()) if module.__name__.startswith("hfclient")
    for member in list(vars(module).values())
    if isinstance(member, type) and attrs.has(member) and "__eq__" in vars(member)
}}
packages = {{name.partition(".")[0] for name in sys.modules}} - set(sys.stdlib_module_names) - {{"__main__"}}
print(json.dumps([sorted(sys.modules), sorted(classes), sorted(packages)]))
"""


def _loaded(statement: str) -> tuple[set[str], set[str], set[str]]:
    """Return the modules, the attrs classes with methods of their own and the packages that *statement* loads."""
    code = _LOADED.format(statement=statement)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    modules, classes, packages = (set(names) for names in json.loads(done.stdout.splitlines()[-1]))
    return (
        modules,
        classes,
        {name for name in packages if not name.startswith(("_", "sitecustomize", "cython_runtime"))},
    )


def _below(modules: set[str], *names: str) -> set[str]:
    return {module for module in modules if any(module == name or module.startswith(f"{name}.") for name in names)}


@pytest.mark.parametrize(
    ("statement", "most"),
    [("import hfclient", 8), ("from hfclient import Client", 111), ("from hfclient import InferenceClient", 117)],
)
def test_an_import(statement: str, most: int) -> None:
    """An import loads neither an HTTP library nor the modules of rare calls, and attrs generates few methods."""
    modules, classes, packages = _loaded(statement)
    assert packages <= PACKAGES
    assert not modules & {*RARE, "ssl", "http.client", "socket", "email.parser", "urllib.request"}
    assert not _below(modules, "hfclient.cli", "hfclient.local", "hfclient.inference.media", "hfclient.inference.tasks")
    assert "hfclient.ticking" not in modules
    assert len(_below(modules, "hfclient")) <= most
    assert not classes, "derive from hfclient.values.Value"


def test_a_name_is_imported_when_it_is_used() -> None:
    """Each name of the package, and each module that `Client` needs, is an attribute after ``import hfclient`` alone."""
    code = (
        "import hfclient, pickle\n"
        "assert 'Client' not in vars(hfclient) and 'Client' in dir(hfclient)\n"
        "assert hfclient.transport.Timeouts is hfclient.Timeouts is vars(hfclient)['Timeouts']\n"
        "assert hfclient.chat.Conversation is hfclient.Conversation and hfclient.errors.HFClientError is hfclient.HFClientError\n"
        "assert isinstance(pickle.loads(pickle.dumps(hfclient.HFClientError('x'))), hfclient.HFClientError)\n"
        "names = {}\n"
        "exec('from hfclient import *', names)\n"
        "assert not set(hfclient.__all__) - set(names) and names['Client'] is hfclient.Client\n"
        "core = {name.split('.')[1] for name in __import__('sys').modules if name.startswith('hfclient.')}\n"
        "assert all(hasattr(hfclient, name) for name in core)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    with pytest.raises(AttributeError, match="Clinet"):
        hfclient.Clinet  # type: ignore[attr-defined]  # noqa: B018


def test_type_checkers_see_the_names_that_are_imported_late() -> None:
    """The imports for type checkers are the ones that happen, name by name."""
    tree = ast.parse((ROOT / "hfclient" / "__init__.py").read_text("utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom) and node.module != "typing"]
    typed = {alias.name: node.module for node in imports for alias in node.names}
    defined = {"__version__", "load_ipython_extension", "unload_ipython_extension"}
    late = {name: hfclient._SOURCES.get(name, "hfclient.errors") for name in hfclient.__all__ if name not in defined}
    assert typed == {**late, **dict.fromkeys(("errors", "events", "types"), "hfclient")}


def test_the_filter_of_the_loggers() -> None:
    """Whatever logs imports the module that keeps secrets out of the log; the package itself imports next to nothing."""
    package = ROOT / "hfclient"
    for path in package.rglob("*.py"):
        first = path.relative_to(package).parts[0]
        if 'getLogger("hfclient' in path.read_text("utf-8") and first != "cli":
            imported = package / first / "__init__.py" if (package / first).is_dir() else path
            assert "import hfclient.redaction.logs" in imported.read_text("utf-8"), path
    modules, _, _ = _loaded("import hfclient")
    assert "hfclient.redaction.logs" not in modules


def test_modules_can_be_imported_in_any_order() -> None:
    """A module of the core can be the first one that a program imports."""
    for name in sorted(hfclient._SUBMODULES):
        subprocess.run([sys.executable, "-c", f"import hfclient.{name}"], check=True, cwd=ROOT)


def _first_call(call: str, wire: str) -> tuple[set[str], set[str], set[str]]:
    with ReplayServer() as server:
        url = server.url(wire, "framed", 3)
        make = f"import hfclient; client = hfclient.Client({url!r}, token='', cookies='', inference_url={url!r}, session=None)"
        return _loaded(f"{make}\n{call}")


def test_a_plain_chat() -> None:
    """A first chat loads the transport, but nothing of inference, of older servers or of files."""
    modules, _, packages = _first_call("client.chat('hi', model='org/model').text", "chat")
    assert packages <= PACKAGES | TRANSPORT
    assert modules & RARE <= {"mimetypes", "random"}  # of requests
    assert not _below(
        modules, "hfclient.inference", "hfclient.chat.legacy.devalue", "hfclient.chat.files.export", "curl_cffi"
    )


def test_a_plain_completion() -> None:
    """A first completion loads nothing of media, of tasks, of structured output or of tools that run."""
    modules, _, packages = _first_call("client.inference.chat('hi', model='org/model').text", "sse")
    assert packages <= PACKAGES | TRANSPORT
    assert modules & RARE <= {"mimetypes", "random"}  # of requests
    away = ("media", "tasks", "text", "structured_output", "tool_loop")
    assert not _below(modules, *(f"hfclient.inference.{name}" for name in away))
