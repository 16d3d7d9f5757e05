"""Regular expressions on data from servers, models and files: their time grows linearly with the length.

For each pattern of the package, inputs are made from the pattern itself: its starts and its repeated parts, many times, with
an end that does not match. Each is tried at one length and at eight times that length. Quadratic work takes 64 times as long
then, linear work eight times.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hfclient
from tests.web.django_site import set_up

set_up()  # modules of hfclient.web.django hold Django's settings

try:
    from re import _compiler, _parser  # type: ignore[attr-defined]
except ImportError:  # Python 3.10
    import sre_compile as _compiler  # type: ignore[no-redef]
    import sre_parse as _parser  # type: ignore[no-redef]

ROOT = Path(hfclient.__file__).parent
SHORT, TIMES = 1_000, 8  # characters; and how many times as many
NOTICEABLE, TOO_MUCH = 0.004, 24  # seconds of this process; and how many times as many are no longer proportional
POOL = "a0 A<>\"'`{}[]()/:;=-_.,#%&\\\n\r\t+*~!?@$^|\x00\x7fé\u2028"
CALLS = ("search", "match", "fullmatch", "sub", "split", "findall", "finditer")


def _samples(tree: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield pairs: a text that leads to a part of the pattern, and a text that this part matches."""
    steps = list(tree)
    for place, (op, value) in enumerate(steps):
        name, before = str(op), prefix
        if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            least, most, body = value
            yield from _samples(body, prefix)
            if most > 1:
                yield prefix, _sample(body)
            prefix += _sample(body) * min(max(least, 1), 50)
        elif name in ("SUBPATTERN", "ATOMIC_GROUP"):
            body = value[-1] if name == "SUBPATTERN" else value
            yield from _samples(body, prefix)
            prefix += _sample(body)
        elif name == "BRANCH":
            for branch in value[1]:
                yield from _samples(branch, prefix)
            prefix += _sample(value[1][0])
        else:
            prefix += _character(op, value)
        in_a_word = name == "LITERAL" and place + 1 < len(steps) and str(steps[place + 1][0]) == "LITERAL"
        if prefix != before and not in_a_word:
            yield "", prefix
            yield before, prefix[len(before) :]


def _sample(tree: Any) -> str:
    text = ""
    for op, value in tree:
        name = str(op)
        if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            text += _sample(value[2]) * min(max(value[0], 1), 50)
        elif name in ("SUBPATTERN", "ATOMIC_GROUP"):
            text += _sample(value[-1] if name == "SUBPATTERN" else value)
        elif name == "BRANCH":
            text += _sample(value[1][0])
        else:
            text += _character(op, value)
    return text


def _character(op: Any, value: Any) -> str:
    name = str(op)
    if name == "LITERAL":
        return chr(value)
    if name == "ANY":
        return "a"
    if name not in ("IN", "NOT_LITERAL"):
        return ""  # a position, such as the end
    tree = _parser.SubPattern(_parser.State())
    tree.append((op, value))
    one = _compiler.compile(tree)
    return next((character for character in POOL if one.fullmatch(character)), "")


def inputs(pattern: re.Pattern[Any]) -> list[Any]:
    """Texts that begin or continue as *pattern* does, but do not match at the end; each as a function of its length."""
    text = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    parts = dict.fromkeys((prefix, pump) for prefix, pump in _samples(_parser.parse(text, pattern.flags & ~re.UNICODE)) if pump)
    return [(prefix, pump, tail) for prefix, pump in parts for tail in ("\x00", "\n", "")]


def _patterns() -> Iterator[tuple[str, re.Pattern[Any]]]:
    """All compiled patterns of the package's modules, also in tuples, with their names."""
    for info in pkgutil.walk_packages(hfclient.__path__, "hfclient."):
        if info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        for name, value in vars(module).items():
            yield from _in(f"{info.name}.{name}", value, 3)


def _in(name: str, value: Any, depth: int) -> Iterator[tuple[str, re.Pattern[Any]]]:
    if isinstance(value, re.Pattern):
        yield name, value
    elif isinstance(value, (tuple, list)) and depth:
        for number, item in enumerate(value):
            yield from _in(f"{name}[{number}]", item, depth - 1)
    elif isinstance(value, dict) and depth:
        for key, item in value.items():
            yield from _in(f"{name}[{key!r}]", item, depth - 1)


def _uses() -> Iterator[tuple[str, str, str | None]]:
    """The uses of patterns in the package: the module, the method, and the pattern's name or itself."""
    for path in ROOT.rglob("*.py"):
        module = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr not in CALLS:
                continue
            owner = node.func.value
            if not isinstance(owner, ast.Name):
                yield module, node.func.attr, None
            elif owner.id == "re" and isinstance(node.args[0], ast.Constant):
                yield module, node.func.attr, node.args[0].value
            elif owner.id != "re":
                yield module, node.func.attr, owner.id


def seconds_of(pattern: re.Pattern[Any], call: str, text: Any, runs: int, enough: float = 0.0) -> float:
    """The CPU seconds of *call*: the best of so many *runs*, or the first one that is less than *enough*."""
    function = getattr(pattern, call)
    best = float("inf")
    for _ in range(runs):
        began = time.process_time()
        if call == "sub":
            function(text[:0], text)
        elif call == "finditer":
            for _ in function(text):
                pass
        else:
            function(text)
        best = min(best, time.process_time() - began)
        if best < enough:
            break
    return best


def _cases() -> dict[str, tuple[re.Pattern[Any], set[str]]]:
    """All patterns that are used on foreign input, with their methods."""
    uses = list(_uses())
    cases: dict[str, tuple[re.Pattern[Any], set[str]]] = {}
    for name, pattern in _patterns():
        module, _, last = name.partition("[")[0].rpartition(".")
        if module in OURS or any(same.pattern == pattern.pattern and same.flags == pattern.flags for same, _ in cases.values()):
            continue
        calls = {call for where, call, used in uses if used == last and where == module}
        calls = calls or {call for where, call, used in uses if used == last}  # imported by another
        # A pattern in a table has the name of a loop variable.
        calls = calls or {call for where, call, used in uses if where == module and used and used.islower()}
        cases[name] = pattern, calls or {"search", "fullmatch"}
    for module, call, used in uses:
        if module not in OURS and isinstance(used, (str, bytes)) and not str(used).isidentifier():
            cases[f"{module}: {used!r}"] = re.compile(used), {call}
    return cases


OURS = {
    "hfclient.inference.schemas.docstrings",  # of the caller's own functions
    "hfclient.transport.curl_transport",  # names of browsers
}
CASES = _cases()


def too_slow(pattern: re.Pattern[Any], calls: set[str]) -> str | None:
    """Return the input whose time grows faster than its length, or None."""
    for prefix, pump, tail in inputs(pattern):

        def text(length: int, prefix: str = prefix, pump: str = pump, tail: str = tail) -> Any:
            made = prefix + pump * (length // len(pump)) + tail
            return made if isinstance(pattern.pattern, str) else made.encode("latin-1", "replace")

        for call in sorted(calls):
            long = seconds_of(pattern, call, text(SHORT * TIMES), 3, NOTICEABLE)
            if long > NOTICEABLE and long > TOO_MUCH * (short := seconds_of(pattern, call, text(SHORT), 9)):
                return f"{call} of {prefix!r}, {pump!r} many times and {tail!r}: {short:.4f} s, then {long:.4f} s"
    return None


@pytest.mark.parametrize("name", CASES)
def test_time_grows_with_the_length(name: str) -> None:
    """No text makes a pattern work longer than in linear time."""
    assert too_slow(*CASES[name]) is None


SLOW = [r"<title[^>]*>(.*?)</title>", r"\s+$", r'"(?:[^"\\]|\\.)*"', r"<([^>]*)>"]


def test_slow_patterns_are_found() -> None:
    """The patterns of the package are found, and known slow patterns are detected."""
    assert len(CASES) > 60
    assert [slow for slow in SLOW if too_slow(re.compile(slow, re.DOTALL), {"search"}) is None] == []
