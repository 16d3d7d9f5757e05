"""What providers answer with: raw bytes, or one of a dozen shapes of JSON around files and links to files.

Reference: docs/protocol/inference ("images and video").
"""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from hfclient.errors import GenerationError, ProtocolError
from hfclient.files.dataurls import data_url_content, unpack_base64
from hfclient.frames import excerpt
from hfclient.inference.failures import generation_error
from hfclient.lenient import loads
from hfclient.transport.failures import message_in

__all__ = ["Answer", "Outcome", "Output", "outcome_in", "outcome_of"]

_LISTS = ("data", "images", "videos", "image_result", "video_result", "output", "outputs")
_BINARY = ("application/octet-stream", "binary/octet-stream", "")


@frozen
class Answer:
    """The body of a 2xx answer.

    Attributes:
        body: All of it.
        content_type: The media type without parameters, lower case.
    """

    body: bytes = field(repr=False)
    content_type: str = "application/json"

    @property
    def is_media(self) -> bool:
        """Whether the body is the result itself."""
        if self.content_type in _BINARY:
            return self.body[:64].lstrip()[:1] not in (b"{", b"[", b"")
        return self.content_type.startswith(("image/", "video/", "audio/"))

    def json(self) -> dict[str, Any]:
        """Return the body as the JSON object that it should be.

        Raises:
            ProtocolError: It is not.
            GenerationError: It is, and it reports an error.
        """
        try:
            data = loads(self.body)
        except ValueError:
            data = None
        if not isinstance(data, dict):
            what = "an HTML page" if self.body.lstrip()[:1] == b"<" else self.content_type or "something"
            raise ProtocolError(
                f"the provider's answer should be a JSON object but is {what}", frame=excerpt(self.body)
            )
        if data.get("error"):
            raise generation_error(data)
        return data


@frozen(kw_only=True)
class Output:
    """One file of a result: its bytes, or where they are.

    Attributes:
        content: The bytes, or None.
        url: Where to fetch them, or None.
        mime: Its type, if the provider says.
        width, height: In pixels, if the provider says.
        seed: The seed that it was made with, if the provider says.
        nsfw: Whether the provider takes it for unfit for work, or None.
        prompt: The prompt as the provider rewrote it, or None.
    """

    content: bytes | None = field(default=None, repr=False)
    url: str | None = field(default=None, repr=False)
    mime: str | None = None
    width: int | None = None
    height: int | None = None
    seed: int | None = None
    nsfw: bool | None = None
    prompt: str | None = None


@frozen
class Outcome:
    """A finished result.

    Attributes:
        outputs: Its files, at least one.
    """

    outputs: tuple[Output, ...]


def outcome_of(answer: Answer) -> Outcome:
    """Return the files in *answer*, whichever provider it came from.

    Raises:
        GenerationError: It reports an error, or holds no file.
        ProtocolError: It is nothing that is known.
    """
    if answer.is_media:
        return Outcome((Output(content=answer.body, mime=answer.content_type or None),))
    return outcome_in(answer.json())


def outcome_in(data: dict[str, Any]) -> Outcome:
    """Return the files that a JSON object holds, bytes or links."""
    items = _items(data)
    if items is None and message_in(data):
        raise generation_error(data)
    if items is None:
        raise ProtocolError(f"the provider's answer holds no result, only {', '.join(sorted(data)[:10]) or 'nothing'}")
    flags = _list(data.get("has_nsfw_concepts")) or _list(data.get("has_nsfw_contents"))
    outputs = []
    for number, item in enumerate(items):
        if (output := _output(item, data, flags[number] if number < len(flags) else None)) is not None:
            outputs.append(output)
    if not outputs:
        raise GenerationError("the provider says that it is done but gives no file")
    return Outcome(tuple(outputs))


def _items(data: dict[str, Any]) -> list[Any] | None:
    """Return the entries that may be files; None if there is no place for them."""
    inner = data.get("data")
    if isinstance(inner, dict) and "outputs" in inner:  # wavespeed
        return _list(inner["outputs"])
    lists = [data[key] for key in _LISTS if isinstance(data.get(key), (list, str))]
    if full := next((found for found in lists if found), None):  # novita sends all of its lists, most of them empty
        return _list(full)
    for key in ("image", "video", "audio", "audio_file", "outputs", "result", "output"):
        if isinstance(data.get(key), (dict, str)):
            return [data[key]]
    return [] if lists else None


def _list(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


def _output(item: Any, around: dict[str, Any], flag: Any) -> Output | None:
    if isinstance(item, str):
        item = {"url" if item.startswith(("http://", "https://", "data:")) else "b64_json": item}
    if not isinstance(item, dict):
        return None
    url = next((item[key] for key in ("url", "video_url", "image_url", "sample") if _is_text(item.get(key))), None)
    packed = next((item[key] for key in ("b64_json", "image", "base64") if _is_text(item.get(key))), None)
    content = None
    if packed is not None:
        content = data_url_content(packed) if packed.startswith("data:") else unpack_base64(packed)
    elif url is not None and url.startswith("data:"):
        content, url = data_url_content(url), None
    if content is None and url is None:
        if packed is not None or _is_text(item.get("url")):
            raise ProtocolError("the provider's result is no readable base64", frame=str(packed or item["url"])[:200])
        return None
    seed = item.get("seed", around.get("seed"))
    return Output(
        content=content,
        url=url if content is None else None,
        mime=_text(item.get("content_type")) or _text(item.get("mime_type")),
        width=_number(item.get("width")),
        height=_number(item.get("height")),
        seed=seed if isinstance(seed, int) and not isinstance(seed, bool) else None,
        nsfw=flag if isinstance(flag, bool) else None,
        prompt=_text(item.get("revised_prompt")),
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
