"""Functions as tools: their schema for the model, and the conversion of the model's arguments."""

from __future__ import annotations

import datetime
import enum
import functools
import inspect
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, Optional, TypedDict, Union

import attrs
import msgspec
import pytest

from hfclient.errors import InvalidInputError
from hfclient.inference.schemas.docstrings import parse_docstring
from hfclient.inference.schemas.tools import Tool, as_tools, tool_result_text, wire_tools
from hfclient.inference.schemas.type_schemas import SchemaMismatch


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@attrs.define
class Point:
    """A point.

    Attributes:
        x: To the right.
    """

    x: int
    y: Annotated[int, "Upwards"] = 0


@dataclass
class Line:
    start: Point
    end: Point


class Options(TypedDict, total=False):
    depth: int


class Pair(NamedTuple):
    a: int
    b: str


class Tree(msgspec.Struct):
    name: str
    children: list[Tree] = []


def shown(function: Any) -> dict[str, Any]:
    return Tool.of(function).to_dict()["function"]


def properties(function: Any) -> dict[str, Any]:
    return shown(function)["parameters"]["properties"]


STRING, INTEGER = {"type": "string"}, {"type": "integer"}
POINT = {
    "type": "object",
    "description": "A point.",
    "properties": {
        "x": {"type": "integer", "description": "To the right."},
        "y": {"type": "integer", "description": "Upwards", "default": 0},
    },
    "required": ["x"],
}


def test_types() -> None:
    """Each kind of annotation has its complete schema."""

    def tool(
        a: int,
        b: float,
        c: bool,
        d: list[str],
        e: dict[str, int],
        f: tuple[int, str],
        g: Literal["x", "y"],
        h: Colour,
        i: Level,
        j: Optional[int],  # noqa: UP045
        k: Union[int, str],  # noqa: UP007
        l: Point,  # noqa: E741
        m: Options,
        n: Any,
        o,  # type: ignore[no-untyped-def]
        p: Sequence[int],
        q: pathlib.Path,
        r: set[int],
    ) -> None: ...

    assert properties(tool) == {
        "a": INTEGER,
        "b": {"type": "number"},
        "c": {"type": "boolean"},
        "d": {"type": "array", "items": STRING},
        "e": {"type": "object", "additionalProperties": INTEGER},
        "f": {"type": "array", "minItems": 2, "maxItems": 2, "prefixItems": [INTEGER, STRING], "items": False},
        "g": {"type": "string", "enum": ["x", "y"]},
        "h": {"type": "string", "enum": ["blue", "red"]},
        "i": {"type": "integer", "enum": [1, 2]},
        "j": {"anyOf": [INTEGER, {"type": "null"}]},
        "k": {"anyOf": [INTEGER, STRING]},
        "l": POINT,
        "m": {"type": "object", "properties": {"depth": INTEGER}},
        "n": {},
        "o": {},
        "p": {"type": "array", "items": INTEGER},
        "q": STRING,
        "r": {"type": "array", "items": INTEGER, "uniqueItems": True},
    }
    assert shown(tool)["parameters"]["required"] == list("abcdefghijklmnopqr")


def test_no_parameters() -> None:
    """A function without parameters has an empty object without ``required``."""

    def tool() -> None: ...

    assert shown(tool) == {"name": "tool", "parameters": {"type": "object", "properties": {}}}


def test_defaults() -> None:
    """A default is in the schema if JSON has it, makes the argument optional, and None makes it nullable."""

    def tool(a: int = 3, b: Colour = Colour.RED, c: str = None, d: Any = object(), *, e: int) -> None: ...  # type: ignore[assignment]  # noqa: B008, RUF013

    assert properties(tool) == {
        "a": {"type": "integer", "default": 3},
        "b": {"type": "string", "enum": ["blue", "red"], "default": "red"},
        "c": {"anyOf": [STRING, {"type": "null"}]},
        "d": {},
        "e": INTEGER,
    }
    assert Tool.of(lambda anything=None: anything, name="f").parameters["properties"] == {"anything": {}}
    assert shown(tool)["parameters"]["required"] == ["e"]


def test_recursive_types() -> None:
    """A recursive type has its definition at the root of the parameters, where references point to."""

    def tool(tree: Tree, other: Tree) -> None: ...

    parameters = shown(tool)["parameters"]
    assert list(parameters["$defs"]) == ["Tree"]
    assert parameters["properties"]["tree"]["properties"]["children"]["items"] == {"$ref": "#/$defs/Tree"}
    assert Tool.of(lambda_free(tool)).call({"tree": {"name": "a", "children": [{"name": "b"}]}, "other": {"name": "c"}}) == (
        Tree("a", [Tree("b")]),
        Tree("c"),
    )


def lambda_free(like: Any) -> Any:
    """A function with the signature of *like* that returns its arguments."""

    @functools.wraps(like)
    def give(*args: Any, **kwargs: Any) -> Any:
        return (*args, *kwargs.values())

    return give


def test_two_classes_of_one_name() -> None:
    """Classes with the same name have separate definitions."""
    one = msgspec.defstruct("Node", [("x", int), ("next", Optional[Tree], None)])  # noqa: UP045
    two = msgspec.defstruct("Node", [("y", str)])

    def tool(a: Any, b: Any) -> None: ...

    tool.__annotations__ = {"a": one, "b": two, "return": None}
    assert properties(tool)["a"]["properties"]["x"] == INTEGER
    assert properties(tool)["b"]["properties"] == {"y": STRING}


# Docstrings


GOOGLE = """Do it.

    It takes a
    while.

    Args:
        a (int): One,
            and more: of it.
        b (Optional[Callable[[int], str]], optional):
            Two.
        *rest: All others.

    Returns:
        c: not a parameter.

    Example:
        a: nor this
    """
SPHINX = """Do it.

    It takes a
    while.

    :param int a: One,
        and more: of it.
    :param b: Two.
    :type b: str
    :param rest: All others.
    :returns: c
    :raises ValueError: never
    """
NUMPY = """Do it.

    It takes a
    while.

    Parameters
    ----------
    a : int, default: 3
        One,
        and more: of it.
    b
        Two.
    *rest : Any
        All others.

    Returns
    -------
    c : int
        Not a parameter.
    """


@pytest.mark.parametrize("text", [GOOGLE, SPHINX, NUMPY], ids=["google", "sphinx", "numpy"])
def test_docstrings(text: str) -> None:
    """The three layouts give the same result."""
    said = parse_docstring(inspect.cleandoc(text))
    assert said.description == "Do it.\n\nIt takes a while."
    assert said.parameters == {"a": "One, and more: of it.", "b": "Two.", "rest": "All others."}


@pytest.mark.parametrize(
    ("text", "description", "parameters"),
    [
        (None, "", {}),
        ("", "", {}),
        ("One line.", "One line.", {}),
        ("Args:\n    a: x", "", {"a": "x"}),
        ("Do.\n\nArgs:\n", "Do.", {}),
        ("Do.\n\nArgs:\n    no colon here\n    a: x\n", "Do.", {"a": "x"}),
        ("Note: this is prose.\nMore.", "Note: this is prose. More.", {}),
        ("List:\n\n- a\n- b\n  c\n", "List:\n\n- a\n- b\n  c", {}),
        ("Code::\n\n    x = 1\n    y = 2\n", "Code::\n\n    x = 1\n    y = 2", {}),
        ("Do.\n\nArgs:\n    x, y: Both.\n", "Do.", {"x": "Both.", "y": "Both."}),
        (":param a: x\nProse after it.", "", {"a": "x"}),
        ("Do.\n\nParameters\n----------\nx, y : int\n    Both.\n", "Do.", {"x": "Both.", "y": "Both."}),
    ],
)
def test_odd_docstrings(text: str | None, description: str, parameters: dict[str, str]) -> None:
    """Text that fits no layout is part of the description; nothing raises."""
    said = parse_docstring(text)
    assert (said.description, said.parameters) == (description, parameters)


def test_descriptions() -> None:
    """Annotated takes precedence over the docstring; neither adds arguments."""

    def tool(a: Annotated[int, "From the hint."], b: int) -> None:
        """Do it.

        Args:
            a: From the docstring.
            b: From the docstring.
            c: Not a parameter.
        """

    assert shown(tool)["description"] == "Do it."
    assert properties(tool) == {
        "a": {"type": "integer", "description": "From the hint."},
        "b": {"type": "integer", "description": "From the docstring."},
    }


def test_constraints() -> None:
    """Constraints of msgspec.Meta are in the schema and are checked."""

    def tool(a: Annotated[int, msgspec.Meta(ge=1, le=9)]) -> int:
        return a

    assert properties(tool) == {"a": {"type": "integer", "minimum": 1, "maximum": 9}}
    with pytest.raises(SchemaMismatch, match="<= 9"):
        Tool.of(tool).call({"a": 10})


# Kinds of functions


class Shop:
    """A shop."""

    def __init__(self) -> None:
        self.name = "shop"

    def buy(self, what: str, count: int = 1) -> str:
        """Buy something."""
        return f"{self.name}: {count} {what}"

    @classmethod
    def close(cls, hard: bool) -> str:
        return f"{cls.__name__} {hard}"

    @staticmethod
    def add(a: int, b: int) -> int:
        return a + b

    def __call__(self, question: str) -> str:
        """Ask the shop."""
        return f"{self.name}? {question}"


def test_methods_and_objects() -> None:
    """Methods have no self; an object with __call__ has the name of its class."""
    shop = Shop()
    assert shown(shop.buy)["description"] == "Buy something."
    assert list(properties(shop.buy)) == ["what", "count"]
    assert Tool.of(shop.buy).call({"what": "tea", "count": "2"}) == "shop: 2 tea"
    assert list(properties(Shop.close)) == ["hard"]
    assert Tool.of(Shop.close).call({"hard": True}) == "Shop True"
    assert Tool.of(shop.add).call({"a": 1, "b": 2}) == 3
    assert (shown(shop)["name"], shown(shop)["description"]) == ("Shop", "Ask the shop.")
    assert Tool.of(shop).call({"question": "open"}) == "shop? open"


def test_partials() -> None:
    """Arguments that a partial sets are neither shown to the model nor accepted from it."""

    def send(secret: str, to: str, text: str, *, copies: int = 1) -> str:
        """Send it.

        Args:
            secret: Nothing for models.
            to: Whom.
        """
        return f"{secret} {to} {text} {copies}"

    tool = Tool.of(functools.partial(functools.partial(send, "key"), copies=2))
    assert tool.name == "send"
    assert list(tool.parameters["properties"]) == ["to", "text"]
    assert tool.call({"to": "a", "text": "b"}) == "key a b 2"
    with pytest.raises(SchemaMismatch, match="unknown argument 'secret'"):
        tool.call({"to": "a", "text": "b", "secret": "x"})


def test_wrapped_functions() -> None:
    """functools.wraps keeps the signature; a synchronous wrapper of an asynchronous function is accepted."""

    async def fetch(url: str) -> str:
        """Fetch it."""
        return url

    @functools.wraps(fetch)
    def fetch_now(*args: Any, **kwargs: Any) -> str:
        return "fetched"

    assert list(properties(fetch_now)) == ["url"]
    assert Tool.of(fetch_now).call({"url": "x"}) == "fetched"


def test_positional_only() -> None:
    """Positional-only parameters are passed by position."""

    def tool(a: int, b: int = 2, /, c: int = 3) -> tuple[int, int, int]:
        return a, b, c

    assert Tool.of(tool).call({"a": 1, "c": 5}) == (1, 2, 5)
    assert Tool.of(tool).call({"a": 1, "b": 9}) == (1, 9, 3)


def test_local_names_in_annotations() -> None:
    """A class of the enclosing function is found if the tool uses it."""

    @attrs.define
    class Local:
        x: int

    def tool(a: Local) -> Local:
        return Local(a.x + 1)

    assert Tool.of(tool).call({"a": {"x": 1}}) == Local(2)


async def _later() -> None: ...


async def _stream() -> Any:
    yield 1


class _Later:
    async def __call__(self) -> None: ...


def _star(*args: int) -> None: ...


def _star_star(**kwargs: int) -> None: ...


def _no_json(a: msgspec.json.Encoder) -> None: ...


def _unknown_name(a: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (_later, "asynchronous"),
        (_stream, "asynchronous"),
        (_Later(), "asynchronous"),
        (functools.partial(_later), "asynchronous"),
        (_star, r"\*args"),
        (_star_star, r"\*\*kwargs"),
        (_no_json, "'a' of the tool '_no_json'"),
        (_unknown_name, "Nowhere"),
        (lambda: 1, "<lambda>"),
        (Shop.buy, "unbound method"),
        (Shop, "not <class"),
        (3, "not 3"),
        ("text", "not 'text'"),
        (None, "not None"),
    ],
)
def test_invalid_tools(function: Any, words: str) -> None:
    """Anything that cannot be a tool is refused with the reason, before a request."""
    with pytest.raises(InvalidInputError, match=words):
        as_tools([function])


def test_names() -> None:
    """With a given name a lambda is a tool; names that servers refuse are refused here."""
    assert Tool.of(lambda: 1, name="one").call({}) == 1
    for name in ("zwölf", "a b", "a.b", "x" * 65):
        with pytest.raises(InvalidInputError, match="not a valid name of a tool"):
            Tool.of(lambda: 1, name=name)
    with pytest.raises(InvalidInputError, match="two tools"):
        as_tools([parse_docstring, Tool.of(lambda: 1, name="parse_docstring")])


def test_dicts_stay_as_they_are() -> None:
    """Dicts are sent unchanged, including built-in tools of servers."""
    ready = {"type": "function", "function": {"name": "f", "parameters": {}, "strict": True}}
    native = {"type": "web_search", "depth": 3}
    flat = {"type": "function", "name": "g", "parameters": {}}
    assert wire_tools([ready, native, flat, native]) == [ready, native, flat, native]
    assert [tool.name for tool in as_tools([ready, native, flat])] == ["f", "", "g"]
    assert wire_tools([]) is None
    assert wire_tools(None) is None
    with pytest.raises(InvalidInputError, match="no function to call"):
        as_tools([ready])[0].call({})


# Calls


def test_conversion() -> None:
    """Arguments are converted to the annotated types: attrs, dataclass, enum, tuple, date, path."""

    def tool(line: Line, colour: Colour, pair: Pair, day: datetime.date, where: pathlib.Path, tags: set[str]) -> Any:
        return line, colour, pair, day, where, tags

    assert Tool.of(tool).call(
        {
            "line": {"start": {"x": 1}, "end": {"x": 2, "y": 3}},
            "colour": "red",
            "pair": [1, "b"],
            "day": "2024-02-29",
            "where": "/tmp",
            "tags": ["a", "a"],
        }
    ) == (
        Line(Point(1), Point(2, 3)),
        Colour.RED,
        Pair(1, "b"),
        datetime.date(2024, 2, 29),
        pathlib.Path("/tmp"),
        {"a"},
    )


def test_loose_values() -> None:
    """Values in quotes are converted, but values that already fit stay unchanged."""

    def tool(number: int, either: int | str, flag: bool, real: float) -> Any:
        return number, either, flag, real

    values = Tool.of(tool).call({"number": "5", "either": "6", "flag": "true", "real": 1})
    assert values == (5, "6", True, 1.0)
    assert type(values[3]) is float


def test_all_problems_in_one_message() -> None:
    """One message lists all problems with their positions."""

    def tool(a: Point, b: int, c: int = 1) -> None: ...

    with pytest.raises(SchemaMismatch) as caught:
        Tool.of(tool).call({"a": {"x": "no"}, "d": 1})
    assert str(caught.value) == (
        "unknown argument 'd'; known are: a, b, c; Expected `int`, got `str` - at `a.x`; the argument 'b' is missing"
    )


def test_coroutine_at_run_time() -> None:
    """A function that returns a coroutine fails its call, and the coroutine is closed."""

    def sneaky() -> Any:
        return _later()

    with pytest.raises(TypeError, match="asynchronous"):
        Tool.of(sneaky).call({})


def test_pydantic_parameters() -> None:
    """Pydantic models work as parameters, alone and inside other types, with their own validation."""
    pydantic = pytest.importorskip("pydantic")

    class Person(pydantic.BaseModel):  # type: ignore[misc,name-defined]
        name: str = pydantic.Field(description="Full name.", min_length=2)

    holder = attrs.make_class("Holder", {"person": attrs.field(type=Person)})

    def tool(person: Any, people: Any, holder: Any) -> Any:
        return person, people, holder

    tool.__annotations__ = {"person": Person, "people": list[Person], "holder": holder}
    person = {"type": "object", "properties": {"name": {"type": "string", "description": "Full name.", "minLength": 2}}}
    person["required"] = ["name"]
    assert properties(tool)["person"] == person
    assert properties(tool)["people"] == {"type": "array", "items": person}
    assert properties(tool)["holder"]["properties"] == {"person": person}
    ada = {"name": "Ada"}
    assert Tool.of(tool).call({"person": ada, "people": [ada], "holder": {"person": ada}}) == (
        Person(name="Ada"),
        [Person(name="Ada")],
        holder(Person(name="Ada")),
    )
    with pytest.raises(SchemaMismatch) as caught:
        Tool.of(tool).call({"person": {"name": "A"}, "people": [ada, {}], "holder": {"person": {"name": "B"}}})
    said = str(caught.value)
    for place in ("person.name", "people[1].name", "holder.person.name"):
        assert f"at `{place}`" in said
    assert tool_result_text(Person(name="Ada")) == ('{"name":"Ada"}', {"name": "Ada"})


@pytest.mark.parametrize(
    ("result", "text", "value"),
    [
        ("plain", "plain", None),
        (5, "5", 5),
        (None, "null", None),
        ([1, "a"], '[1,"a"]', [1, "a"]),
        (Point(1, 2), '{"x":1,"y":2}', {"x": 1, "y": 2}),
        (iter([1]), "[1]", [1]),
        ({"when": datetime.date(2024, 2, 29)}, '{"when":"2024-02-29"}', {"when": "2024-02-29"}),
        ({"p": pathlib.PurePosixPath("/x")}, '{"p":"/x"}', {"p": "/x"}),
        ("half \ud83d", "half \ufffd", None),
    ],
)
def test_results(result: Any, text: str, value: Any) -> None:
    """Text is sent to the model unchanged, other results as JSON."""
    assert tool_result_text(result) == (text, value)
