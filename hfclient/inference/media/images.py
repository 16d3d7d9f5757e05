"""`Image` and `Video`: the bytes of a result, with what is known about it.

They can be saved, shown in a notebook and opened with Pillow; they hold no connection.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from attrs import field, frozen

from hfclient.decoding.frames import excerpt
from hfclient.display import Displayed
from hfclient.errors import InvalidInputError, MissingDependencyError, ProtocolError, Unsupported
from hfclient.events import Failover
from hfclient.events.base import plain_fields
from hfclient.files.media_types import SUFFIXES, dimensions, media_type, sniff
from hfclient.files.saving import free_path, safe_name, write_file
from hfclient.inference.media.image_metadata import read_facts, with_facts
from hfclient.inference.providers.results import OutputFile, add_body
from hfclient.redaction.control_characters import escaped
from hfclient.redaction.masking import masked

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

__all__ = ["Image", "Media", "Video", "media_from"]

_M = TypeVar("_M", bound="Media")
_MOVING = ("image/gif", "image/webp")  # an animated image is accepted as a video
_MAX_NAME = 60  # characters of a prompt that become a file's name
_SHOWN = 50 * 1024 * 1024  # bytes of an image that a notebook gets, which keeps it in its file


@frozen(kw_only=True)
class Media(Displayed):
    """A file that a model made.

    Attributes:
        content: Its bytes.
        mime: Its type, by its first bytes.
        prompt: The prompt as it was given.
        model: The model's name on the Hub, or the name that was given.
        provider: The provider's id.
        seed: The seed, as the provider says or else as it was given; None if unknown.
        request_id: The provider's id for the request or the job, if it gave one.
        url: The provider's URL of the file, which is valid for a while, or None. The link alone gives access to the file.
        nsfw: Whether the provider considers it not safe for work; None if it does not say.
        revised_prompt: The prompt as the provider rewrote it, or None.
        failovers: Which providers failed before this one.
    """

    content: bytes = field(repr=False)
    mime: str
    prompt: str = ""
    model: str = ""
    provider: str = ""
    seed: int | None = None
    request_id: str | None = None
    url: str | None = field(default=None, repr=False)
    nsfw: bool | None = None
    revised_prompt: str | None = None
    failovers: tuple[Failover, ...] = ()

    def __bytes__(self) -> bytes:
        return self.content

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._described()}>"

    def _described(self) -> str:
        words = [escaped(self.mime.partition("/")[2]), _readable(len(self.content))]
        if self.prompt:
            words.append(repr(self.prompt if len(self.prompt) <= 40 else self.prompt[:39] + "…"))
        return ", ".join(words)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain JSON types, without None; *content* is base64."""
        return plain_fields(self)

    @classmethod
    def from_dict(cls: type[_M], data: dict[str, Any]) -> _M:
        """Return the file from :meth:`to_dict`; raises ``ValueError`` if the fields do not fit."""
        return msgspec.convert(data, cls)

    @property
    def suffix(self) -> str:
        """The usual file extension of this type, such as ``".png"``, or ``".bin"``."""
        return SUFFIXES.get(self.mime, (".bin",))[0]

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Save the file and return its path; folders are created.

            inference.image("a red fox", model="black-forest-labs/FLUX.1-schnell").save("fox")   # fox.png

        Args:
            path: A file, whose extension is added if it has none; or a folder (one that exists, or ends with a slash),
                in which the file is named for its prompt.
            overwrite: Replace an existing file.

        Raises:
            InvalidInputError: The ending is that of another type, there is a file already, or it cannot be written.
        """
        return write_file(self._place(path, overwrite), [self.content], overwrite=overwrite)

    def _place(self, path: str | os.PathLike[str], overwrite: bool) -> Path:
        target = Path(path)
        if target.is_dir() or os.fspath(path).endswith(("/", os.sep)):
            name = safe_name(" ".join(self.prompt.split())[:_MAX_NAME], type(self).__name__.lower()) + self.suffix
            return target / name if overwrite else free_path(target, name)
        known = SUFFIXES.get(self.mime, ())
        suffix = target.suffix.lower()
        if suffix in known or not known:
            return target
        if suffix in _ENDINGS:
            raise InvalidInputError(f"this is {self.mime}, not a {suffix} file: save it as {self.suffix}")
        return target.with_name(target.name + self.suffix)  # ".5" of "v1.5" is not an extension


_ENDINGS = {suffix for suffixes in SUFFIXES.values() for suffix in suffixes}


@frozen(kw_only=True, repr=False)
class Image(Media):
    """An image that a model made. A notebook shows it as a cell's value.

    Attributes:
        width, height: In pixels, from the image's header; None for formats that are not parsed.
    """

    width: int | None = None
    height: int | None = None

    def _described(self) -> str:
        size = f"{self.width}x{self.height} " if self.width and self.height else ""
        return size + super()._described()

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Image:
        """Return the image in a file, with what ``save(..., metadata=True)`` wrote into it: prompt, model, provider and seed.

        Raises:
            InvalidInputError: The file cannot be read, or is not an image.
        """
        try:
            content = Path(path).read_bytes()
        except OSError as exc:
            raise InvalidInputError(f"cannot read {path}: {exc.strerror}") from exc
        mime = sniff(content)
        if mime is None or not mime.startswith("image/"):
            raise InvalidInputError(f"{path} is not an image")
        width, height = dimensions(content) or (None, None)
        return cls(content=content, mime=mime, width=width, height=height, **read_facts(content, mime))

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False, metadata: bool | None = False) -> Path:
        """Save the image and return its path; see `Media.save`.

        Without *metadata* the file has the bytes that were received, and says nothing about the prompt.

        Args:
            path: A file or a folder.
            overwrite: Replace an existing file.
            metadata: Write prompt, model, provider and seed into the file (PNG, JPEG or WebP), where every reader of the file
                finds them; :meth:`load` reads them back. None writes them if the file can hold them.

        Raises:
            InvalidInputError: The ending is that of another type, there is a file already, or it cannot be written.
            Unsupported: *metadata* is True for an image of another type.
        """
        return write_file(self._place(path, overwrite), [self._saved(metadata)], overwrite=overwrite)

    def _saved(self, metadata: bool | None) -> bytes:
        """Return the bytes of a file; *metadata* as for :meth:`save`."""
        if metadata is False:
            return self.content
        try:
            return self.with_metadata()
        except (InvalidInputError, Unsupported):
            if metadata:
                raise
            return self.content

    def with_metadata(self) -> bytes:
        """Return the PNG, JPEG or WebP with prompt, model, provider and seed: text chunks of a PNG, XMP of the others.

        Raises:
            Unsupported: The image is of another type.
            InvalidInputError: The prompt is too long for a JPEG, which has space for 64 kB.
        """
        facts = {"prompt": self.prompt, "model": self.model, "provider": self.provider, "seed": self.seed}
        return with_facts(self.content, self.mime, facts)

    def to_pil(self) -> PILImage:
        """Return the image as Pillow's `PIL.Image.Image`, loaded.

        Raises:
            MissingDependencyError: Pillow is not installed.
            ProtocolError: Pillow cannot read the image.
        """
        try:
            import PIL.Image
        except ImportError as exc:
            raise MissingDependencyError("images for Python need Pillow: pip install pillow") from exc
        try:
            image: PILImage = PIL.Image.open(io.BytesIO(self.content))
            image.load()
        except Exception as exc:
            raise ProtocolError(f"Pillow cannot read this {self.mime}: {exc}", frame=excerpt(self.content)) from exc
        return image

    def _repr_png_(self) -> bytes | None:
        return self.content if self.mime == "image/png" and len(self.content) <= _SHOWN else None

    def _repr_jpeg_(self) -> bytes | None:
        return self.content if self.mime == "image/jpeg" and len(self.content) <= _SHOWN else None


@frozen(kw_only=True, repr=False)
class Video(Media):
    """A video that a model made. A notebook shows it as a cell's value."""


def media_from(cls: type[_M], content: bytes, output: OutputFile, **facts: Any) -> _M:
    """Return the `Image` or `Video` of a provider's output.

    Args:
        cls: `Image` or `Video`.
        content: Its bytes.
        output: What the provider says about it.
        facts: Fields of *cls* that the caller knows; the provider's own seed takes precedence.

    Raises:
        ProtocolError: The bytes are of another type, such as a page. ``completed`` on the error has a file of another type,
            ``body`` has text.
    """
    kind = cls.__name__.lower()
    mime = media_type(content, claimed=output.mime or "") if sniff(content) else _claimed(content, output.mime, cls)
    if kind == "audio" and mime is not None:
        mime = mime.replace("video/", "audio/", 1)  # the container is the same for both
    if output.seed is not None:
        facts["seed"] = output.seed
    if mime is None or not (mime.startswith(kind + "/") or (kind == "video" and mime in _MOVING)):
        raise _of_another_kind(cls, content, mime, output, facts)
    if issubclass(cls, Image):
        found = dimensions(content)
        facts["width"], facts["height"] = found or (output.width, output.height)
    return cls(
        content=content,
        mime=mime,
        url=output.url,
        nsfw=output.nsfw,
        revised_prompt=output.prompt,
        **facts,
    )


def _of_another_kind(cls: type[Media], content: bytes, mime: str | None, output: OutputFile, facts: dict[str, Any]) -> ProtocolError:
    """Return the error for content of another type, with all of it: it may have been paid for."""
    start = content[:64].lstrip()[:1]
    is_text = start in (b"<", b"{", b"[", b"") or (mime is None and _is_text(content))
    what = mime or ("a page" if start == b"<" else "something else" if content else "nothing")
    error = ProtocolError(f"the provider's {cls.__name__.lower()} is {what}", frame=excerpt(content))
    if is_text:
        add_body(error, content)
    else:
        family = (mime or "").partition("/")[0]
        like = Image if family == "image" else Video if family == "video" else cls
        error.completed = (like(content=content, mime=mime or "application/octet-stream", url=output.url, **facts),)
    if output.url is not None:
        error.links = (*error.links, masked(output.url))
    return error


def _is_text(content: bytes) -> bool:
    try:
        return b"\0" not in content and bool(content.decode())
    except UnicodeDecodeError:
        return False


def _claimed(content: bytes, mime: str | None, cls: type[Media]) -> str | None:
    """Return the type that the provider claims, for formats that cannot be detected."""
    kind = (mime or "").partition(";")[0].strip().lower()
    if not kind.startswith(cls.__name__.lower() + "/") or content.lstrip()[:1] in (b"<", b"{", b""):
        return None
    return kind if kind not in SUFFIXES else None  # such a format would have been detected


def _readable(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB" if size >= 1e3 else f"{size} bytes"
