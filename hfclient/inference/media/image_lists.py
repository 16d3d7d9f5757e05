"""`Images`: the images of one call, saved together."""

from __future__ import annotations

import os
import re
import string
from pathlib import Path
from typing import Any

from hfclient.errors import InvalidInputError
from hfclient.files.saving import safe_name, write_file
from hfclient.inference.media.images import Image, Media
from hfclient.types import Results

__all__ = ["Images", "check_pattern", "fill_pattern"]

_FIELDS = ("i", "slug", "seed", "model", "provider", "prompt")
_DEFAULT = "{i:02d}-{slug}"
_NOT_WORDS = re.compile(r"[\W_]+")
_MAX_SLUG = 40  # characters
_MAX_PROMPT = 80


class Images(Results[Image]):
    """A list of images, as :meth:`.InferenceClient.images` returns it."""

    def save_all(self, pattern: str | os.PathLike[str], *, overwrite: bool = False, metadata: bool | None = None) -> list[Path]:
        """Save all images and return their paths, in order; folders are created.

            images = inference.images("a red fox", 4, model="black-forest-labs/FLUX.1-schnell", seed=7)
            images.save_all("out/{i:02d}-{slug}")    # out/00-a-red-fox.png, out/01-a-red-fox.png, ...

        Args:
            pattern: The path with fields in braces, as for :meth:`str.format`: ``i`` (the position in the list, from 0), ``slug``
                (the start of the prompt, in words joined by hyphens), ``seed``, ``model``, ``provider``, ``prompt``. Their
                values never contain a separator of folders. An ending is added if it has none. A folder (one that exists, or
                ends with a slash) means ``{i:02d}-{slug}`` in it.
            overwrite: Replace existing files.
            metadata: Write prompt, model, provider and seed into the files, as `Image.save` does. None does so in the files that
                can hold them; with False a file has the bytes that were received.

        Raises:
            InvalidInputError: The pattern has another field, two images would get the same name, an image lacks a field (a
                seed that is not known), a file exists already, or a file cannot be written. Except for the last, nothing is
                written.
            Unsupported: *metadata* is True for an image that is neither PNG, JPEG nor WebP.
        """
        text = os.fspath(pattern)
        if Path(text).is_dir() or text.endswith(("/", os.sep)):
            text = str(Path(text) / _DEFAULT)
        check_pattern(text)
        paths = [image._place(fill_pattern(text, number, image), overwrite=True) for number, image in enumerate(self)]
        seen: dict[str, Path] = {}
        for path in paths:
            if seen.setdefault(str(path).casefold(), path) is not path:
                raise InvalidInputError(f"two images would be saved as {path}; put {{i}} into the pattern")
            if os.path.lexists(path) and not overwrite:
                raise InvalidInputError(f"{path} exists already; choose another name or pass overwrite=True")
        contents = [image._saved(metadata) for image in self]
        return [write_file(path, [content], overwrite=overwrite) for path, content in zip(paths, contents, strict=True)]


def check_pattern(pattern: str) -> None:
    """Raise `InvalidInputError` if a pattern of `Images.save_all` has an unknown field."""
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(pattern) if name is not None]
    except ValueError as exc:
        raise InvalidInputError(f"{pattern!r} is not a pattern: {exc}") from None
    unknown = [name for name in fields if name not in _FIELDS]
    if unknown:
        raise InvalidInputError(f"a pattern has the fields {', '.join(_FIELDS)}, not {{{unknown[0]}}}")


def fill_pattern(pattern: str, number: int, image: Media) -> str:
    """Return the path of *image*, the one at position *number*, by a pattern of `Images.save_all`."""
    values: dict[str, Any] = {
        "i": number,
        "slug": _slug(image.prompt),
        "seed": image.seed,
        "model": safe_name(image.model, "model"),
        "provider": safe_name(image.provider, "provider"),
        "prompt": safe_name(" ".join(image.prompt.split())[:_MAX_PROMPT], "image"),
    }
    if image.seed is None and any(name == "seed" for _, name, _, _ in string.Formatter().parse(pattern)):
        raise InvalidInputError(f"image {number} has no known seed; leave {{seed}} out, or pass seed= to images()")
    try:
        return pattern.format(**values)
    except (ValueError, KeyError, IndexError) as exc:  # a wrong format, or a field inside one
        raise InvalidInputError(f"{pattern!r} is not a pattern: {exc}") from None


def _slug(prompt: str) -> str:
    words = _NOT_WORDS.sub("-", prompt[: 4 * _MAX_SLUG].lower()).strip("-")
    return safe_name(words[:_MAX_SLUG].strip("-"), "image")
