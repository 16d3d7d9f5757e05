"""The API reference shows every type that the public API returns."""

from __future__ import annotations

import inspect
import re
from typing import is_typeddict

import pytest

import hfclient
import hfclient.chat
import hfclient.inference.options
from tests.docs.reference import PAGES, Walk, resolved, shown

# What only other modules of the package read: the form in which `parse` asks for a schema.
INTERNAL = {"ChatOptions.response_format"}


@pytest.fixture(scope="module")
def found() -> dict[type, str]:
    """The classes of the package that can be reached from its public names, and where each was found."""
    return Walk().found


@pytest.fixture(scope="module")
def documented() -> set[object]:
    """The objects that the pages of the reference show."""
    return {resolved(name) for names in shown().values() for name in names}


def test_public_names(documented: set[object]) -> None:
    """Every public name, event, error and value is in the reference."""
    names = set(hfclient.__all__) - {"__version__", "errors", "events", "types"}
    assert [name for name in sorted(names) if getattr(hfclient, name) not in documented] == []
    for module in (hfclient.errors, hfclient.events, hfclient.types):
        page = {"types": "values"}.get(module.__name__.split(".")[1], module.__name__.split(".")[1])
        assert {f"{module.__name__}.{name}" for name in module.__all__} <= shown()[f"{page}.rst"]


def test_everything_that_is_returned(documented: set[object], found: dict[type, str]) -> None:
    """Every type that a public property, method, attribute, event or option has in its annotations is in the reference.

    The walk begins at the public names and goes on through the annotations of each class that it finds.
    """
    missing = {
        f"{cls.__module__}.{cls.__qualname__}": place
        for cls, place in found.items()
        if cls not in documented and place not in INTERNAL
    }
    assert missing == {}


def test_the_walk_goes_deep(found: dict[type, str]) -> None:
    """The walk sees what is several annotations away: a property's value, its method's list, an option's fields."""
    names = {cls.__name__ for cls in found}
    assert {"Settings", "LiveGeneration", "PromptExample", "TranscriptChunk", "ProviderEntry", "ChatOptions"} <= names


def test_fields_of_options_are_described(documented: set[object], found: dict[type, str]) -> None:
    """Every field of a set of options is in its docstring, in that of a set which it extends, or in that of `Client`."""
    sets = [cls for cls in found if is_typeddict(cls)]
    assert len(sets) > 10
    text = "\n".join(cls.__doc__ or "" for cls in documented if cls is hfclient.Client or is_typeddict(cls))
    described = {name for line in re.findall(r"^ {4,8}([\w, ]+):", text, re.MULTILINE) for name in line.replace(" ", "").split(",")}
    missing = {cls.__name__: sorted(set(cls.__annotations__) - described) for cls in sets}
    assert {name: fields for name, fields in missing.items() if fields} == {}


def test_names_have_a_place_to_import_from() -> None:
    """What the reference shows can be imported from where it says, and each name is shown once."""
    names = [name for page in shown().values() for name in page]
    assert len(names) == len(set(names))
    for name in names:
        assert resolved(name) is not None


def test_pages_are_linked() -> None:
    """Every page of the reference is in its table of contents."""
    index = (PAGES / "index.rst").read_text("utf-8")
    listed = set(re.findall(r"^   (\w+)$", index, re.MULTILINE))
    assert "   web-*\n" in index  # those of hfclient.web
    assert {path.stem for path in PAGES.glob("*.rst") if not path.stem.startswith("web-")} - {"index"} == listed


PUBLIC = (hfclient.Client, hfclient.Conversation, hfclient.InferenceClient)


@pytest.mark.parametrize("cls", PUBLIC)
def test_docstrings_list_the_options(cls: type) -> None:
    """The docstring of a method lists its options by name, or names the method that has the same: `help()` shows them."""
    wrong = {}
    for name, method in inspect.getmembers(cls, inspect.isfunction):
        found = re.search(r"\*\*(\w+): '?Unpack\[(\w+)\]", str(inspect.signature(method)))
        if name.startswith("_") or found is None:
            continue
        doc = " ".join((method.__doc__ or "").split())
        listed = re.search(rf" {found[1]}: ([\w, ]+); see `\.?\w+`", doc)
        if listed is None:
            if not re.search(r"(?i)(those of :meth:`|all but \*base_url\*)", doc):
                wrong[name] = "no list"
        elif listed[1].split(", ") != list(_options(found[2])):
            wrong[name] = listed[1]
    assert wrong == {}


def _options(name: str) -> list[str]:
    for module in (hfclient.chat, hfclient.inference.options):
        if hasattr(module, name):
            return list(getattr(module, name).__annotations__)
    raise LookupError(name)
