"""Answers of providers: raw bytes, or one of a dozen shapes of JSON around files and links to files.

Reference: docs/protocol/inference ("images and video").
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any, TypeVar

from attrs import evolve, field, frozen

from hfclient.decoding.frames import excerpt
from hfclient.decoding.html_pages import describe_body, unexpected_content
from hfclient.decoding.json_repair import loads_repaired
from hfclient.decoding.json_values import int_or_none, is_int, text_or_none
from hfclient.errors import GenerationError, HFClientError, ProtocolError
from hfclient.files.data_urls import decode_base64, decode_data_url
from hfclient.files.media_types import sniff
from hfclient.inference.generation_errors import generation_error
from hfclient.redaction.masking import masked, sanitized
from hfclient.transport.request import safe_url
from hfclient.transport.status_errors import message_in

__all__ = ["Answer", "MediaResult", "OutputFile", "add_body", "find_result", "keep_body", "parse_result", "result_in"]

_E = TypeVar("_E", bound=HFClientError)

# Under these keys there is a file, or a list, or an object that has others of these keys.
_FILE_KEYS = (
    *("data", "images", "videos", "image_result", "video_result", "output", "outputs", "image", "video"),
    *("audio", "audio_file", "result", "results", "response", "prediction", "predictions", "generations", "artifacts"),
    *("files", "file", "image_url", "video_url", "audio_url", "image_urls", "video_urls", "task_result", "choices"),
    *("message", "candidates", "content", "parts", "inlineData", "inline_data"),
)
_OF_A_CHAT = ("content", "message", "response")
_OF_ANY_NAME = ("output", "outputs", "result", "results")
# The fields of a file: its URL, or its bytes in base64.
_LINKS = ("url", "video_url", "image_url", "audio_url", "sample", "uri", "download_url", "file_url", "imageURL", "videoURL", "audioURL")
_PACKED = ("b64_json", "base64", "b64", "blob", "image_base64", "audio_base64", "video_base64", "bytesBase64Encoded", "audioContent")
_PERHAPS_PACKED = ("image", "audio", "video", "data")  # or a word about the file
_URL = re.compile(r"https?://|data:", re.IGNORECASE)
_ANY_URL = re.compile(r"https?://[^\s\"'<>\\]+", re.IGNORECASE)
_MAX_DEPTH = 8
_MAX_WORD = 256  # bytes; longer base64 is a file even if its first bytes are not those of a known type
_MAX_ENTRIES = 256  # entries of a list: no provider returns more for one request
_MAX_EXCERPT = 64 * 1024  # characters of an answer in an error
_MAX_LINKS = 20
_PAGE = re.compile(rb"\s*<(?:!doctype html|html|head|body|title)\b", re.IGNORECASE)  # not "<laughs> Hello.", a transcript
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
        if self.content_type.startswith(("image/", "video/", "audio/")):
            return True
        if self.content_type in _BINARY:
            return self.body[:64].lstrip()[:1] not in (b"{", b"[", b"") and not self.is_page
        return (sniff(self.body) or "image/svg+xml") != "image/svg+xml"  # the content type may be wrong

    @property
    def is_page(self) -> bool:
        """Whether the body is a page of HTML, whatever its content type."""
        return _PAGE.match(self.body) is not None

    def json(self) -> dict[str, Any]:
        """Return the body as the JSON object that it should be.

        Raises:
            ProtocolError: It is not.
            GenerationError: It is, and it reports an error.
        """
        data = self.value()
        if not isinstance(data, dict):
            what = describe_body(self.body, self.content_type)
            raise unexpected_content(f"the provider's answer should be a JSON object but is {what}", self.body)
        return data

    def value(self) -> Any:
        """Return the body as JSON of any shape, or as text if it is neither JSON nor a page.

        Raises:
            ProtocolError: It is neither.
            GenerationError: It reports an error.
        """
        try:
            data = loads_repaired(self.body)
        except ValueError:
            text = self.body.decode("utf-8", "replace").strip()
            if not text or text[0] in "<{[":
                what = describe_body(self.body, self.content_type)
                raise unexpected_content(f"the provider's answer should be JSON but is {what}", self.body) from None
            return text
        if isinstance(data, dict) and data.get("error"):
            raise generation_error(data)
        return data

    @property
    def is_json(self) -> bool:
        """Whether the body is JSON."""
        try:
            loads_repaired(self.body)
        except ValueError:
            return False
        return True


@frozen(kw_only=True)
class OutputFile:
    """One file of a result: its bytes, or where they are.

    Attributes:
        content: The bytes, or None.
        url: Where to fetch them, or None.
        mime: Its type, if the provider says.
        width, height: In pixels, if the provider says.
        seed: The seed that it was made with, if the provider says.
        nsfw: Whether the provider considers it not safe for work, or None.
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
class MediaResult:
    """A finished result.

    Attributes:
        outputs: Its files, at least one.
    """

    outputs: tuple[OutputFile, ...]


def parse_result(answer: Answer) -> MediaResult:
    """Return the files in *answer*, from any provider.

    Raises:
        GenerationError: It reports an error, or holds no file.
        ProtocolError: Its shape is unknown. The error has the answer in ``body``, and its links in ``links``.
    """
    if answer.is_media:
        return MediaResult((OutputFile(content=answer.body, mime=answer.content_type or None),))
    with keep_body(answer):
        return result_in(answer.value())


def result_in(data: Any) -> MediaResult:
    """Return the files that a JSON value holds, bytes or links.

    Raises:
        GenerationError: It reports an error, or has a field for files without a file.
        ProtocolError: Its shape is unknown.
    """
    found = find_result(data)
    if found is not None:
        return found
    fields = data if isinstance(data, dict) else {}
    if any(isinstance(fields.get(key), (list, str, dict)) for key in _FILE_KEYS):
        raise GenerationError("the provider says that it is done, but there is no file")
    if message_in(fields):
        raise generation_error(data)
    shown = ", ".join(sorted(map(str, fields))[:10]) if fields else type(data).__name__
    raise ProtocolError(f"the provider's answer holds no result, only {shown}")


def find_result(data: Any, *, is_job: bool = False) -> MediaResult | None:
    """Return the files anywhere in a JSON value; None if it has none.

    Args:
        data: The value.
        is_job: It describes a job: a link in its own fields may be that of an input, or of the job.

    Raises:
        ProtocolError: A file in it is not valid base64.
    """
    around = data if isinstance(data, dict) else {}
    if is_job:
        own = (*_LINKS, *_PERHAPS_PACKED)
        around = {key: value for key, value in around.items() if not (key in own and isinstance(value, str))}
        outputs = _inside(around, around, _MAX_DEPTH)
    else:
        outputs = _outputs(data, around, _MAX_DEPTH)
    return MediaResult(tuple(outputs)) if outputs else None


def add_body(error: _E, answer: Answer | bytes) -> _E:
    """Return *error* with the answer that caused it: the result in it may have been paid for.

    The links in the answer are complete in ``links``; the message shows one of them without its query.
    """
    body = answer.body if isinstance(answer, Answer) else answer
    if error.body is None:
        error.body = excerpt(body, _MAX_EXCERPT) or None
        text = masked(body[: 4 * _MAX_EXCERPT].decode("utf-8", "replace").replace("\\/", "/").replace("\\u0026", "&"))
        error.links = tuple(dict.fromkeys(_ANY_URL.findall(text)))[:_MAX_LINKS]
        if error.links and isinstance(error, ProtocolError):
            where = safe_url(error.links[0])
            error.message = sanitized(f"{error.message} (it names {where}; all its links are in .links of this error)")
            error.args = (error.message, *error.args[1:])
    return error


@contextlib.contextmanager
def keep_body(answer: Answer) -> Iterator[None]:
    """Add *answer* to the errors of parsing it; see :func:`add_body`."""
    try:
        yield
    except (GenerationError, ProtocolError) as error:
        add_body(error, answer)
        raise


def _outputs(value: Any, around: dict[str, Any], depth: int) -> list[OutputFile]:
    """Return the files in the value of a field for files."""
    if depth <= 0:
        return []
    if isinstance(value, str):
        single = _output_of_text(value)
        return [] if single is None else [single]
    if isinstance(value, list):
        if value and isinstance(value[0], (int, float)):  # numbers are not files, and there may be millions
            return []
        flags = _flags(around)
        outputs = []
        for number, item in enumerate(value[:_MAX_ENTRIES]):
            for output in _outputs(item, around, depth - 1):
                flag = flags[number] if number < len(flags) else None
                outputs.append(evolve(output, nsfw=flag) if isinstance(flag, bool) else output)
        return outputs
    if not isinstance(value, dict):
        return []
    own = _output(value, around)
    return _inside(value, around, depth) if own is None else [own]


def _inside(value: dict[str, Any], around: dict[str, Any], depth: int) -> list[OutputFile]:
    """Return the files in the fields of an object that is not a file itself."""
    for key in _FILE_KEYS:  # novita sends all of its lists, most of them empty
        if key in _OF_A_CHAT and isinstance(value.get(key), str):
            continue  # text of a model: a link in it is not a result
        if value.get(key) and (outputs := _outputs(value[key], {**around, **value}, depth - 1)):
            return outputs
    for key in _OF_ANY_NAME:  # models at replicate choose the names of their fields
        if isinstance(value.get(key), dict):
            texts = [text for text in value[key].values() if isinstance(text, str) and _URL.match(text)]
            return list(filter(None, map(_output_of_text, texts)))
    return []


def _flags(around: dict[str, Any]) -> list[Any]:
    for key in ("has_nsfw_concepts", "has_nsfw_contents"):
        flags = around.get(key)
        if flags is not None:
            return flags if isinstance(flags, list) else [flags]
    return []


def _output_of_text(text: str) -> OutputFile | None:
    """Return the file in a string: a link, or base64 of a known type."""
    text = text.strip()
    if _URL.match(text):
        return OutputFile(content=_unpacked(text)) if _is_data(text) else OutputFile(url=text)
    content = decode_base64(text)
    return OutputFile(content=content) if content and (sniff(content) or len(content) > _MAX_WORD) else None


def _output(item: dict[str, Any], around: dict[str, Any]) -> OutputFile | None:
    """Return the file that an object describes; None if it does not describe one."""
    packed = next((item[key] for key in _PACKED if text_or_none(item.get(key))), None)
    url = next((item[key] for key in _LINKS if text_or_none(item.get(key))), None)
    given = packed or url
    content = _unpacked(given) if given and (given is packed or _is_data(given)) else None
    if given is None:
        inner = (_output_of_text(item[key]) for key in _PERHAPS_PACKED if text_or_none(item.get(key)))
        found = next(filter(None, inner), None)
        if found is None:
            return None
        content, url = found.content, found.url
    seed = item.get("seed", around.get("seed"))
    return OutputFile(
        content=content,
        url=url if content is None else None,
        mime=next((kind for key in ("content_type", "mime_type", "mimeType", "content-type") if (kind := text_or_none(item.get(key)))), None),
        width=_positive(item.get("width")),
        height=_positive(item.get("height")),
        seed=int_or_none(seed),
        prompt=text_or_none(item.get("revised_prompt")),
    )


def _unpacked(packed: str) -> bytes:
    content = decode_data_url(packed) if _is_data(packed) else decode_base64(packed)
    if not content:
        raise ProtocolError("the provider's result is not valid base64", frame=packed[:200])
    return content


def _is_data(text: str) -> bool:
    return text[:5].lower() == "data:"


def _positive(value: Any) -> int | None:
    return value if is_int(value) and value > 0 else None
