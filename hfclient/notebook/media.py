"""Images, videos and audio, in the notebook itself. The provider's link is never shown, because it gives access to the file."""

from __future__ import annotations

import base64
import html
import re
from typing import Any

from hfclient.notebook.bundles import METADATA, Forms
from hfclient.notebook.escaping import amount, line, text_in_html
from hfclient.redaction.control_characters import stripped

__all__ = ["audio_forms", "image_forms", "images_forms", "media_forms", "video_forms"]

_MAX_FILE = 50 * 1024 * 1024  # bytes; a notebook keeps what it shows in its file
_MAX_AUDIO = 20 * 1024 * 1024
_MAX_GRID = 30 * 1024 * 1024  # bytes of all images of a grid
_MAX_IMAGES = 100
_MAX_WIDTH = 1024  # pixels on the page
_OWN_TYPES = ("image/png", "image/jpeg", "image/gif")  # notebooks have a media type of their own for these
_TYPE = re.compile(r"(image|video|audio)/[a-z0-9.+-]{1,60}")


def image_forms(image: Any) -> Forms:
    """Return the forms of an image: itself, at most 1,024 pixels wide on the page."""
    forms: Forms = {"text/plain": lambda: stripped(repr(image))}
    if len(image.content) > _MAX_FILE:
        return forms | {"text/plain": lambda: _too_large(image)}
    if image.mime not in _OWN_TYPES:
        return forms | {"text/html": lambda: _img(image)}
    forms[image.mime] = lambda: base64.b64encode(image.content).decode()
    if image.width and image.width > _MAX_WIDTH:
        forms[METADATA] = lambda: {image.mime: {"width": _MAX_WIDTH}}
    return forms


def images_forms(images: list[Any]) -> Forms:
    """Return the forms of several images: a grid."""
    return {"text/plain": lambda: _listed(images), "text/html": lambda: _grid(images)}


def media_forms(files: list[Any]) -> Forms:
    """Return the forms of several tracks or videos, one below another."""

    def players() -> str:
        left, out = _MAX_GRID, []
        for file in files[:_MAX_IMAGES]:
            left -= len(file.content)
            name = text_in_html(line(getattr(file, "label", "") or file.prompt, 100))
            out.append(
                f"<figure><figcaption>{name}</figcaption>{_player(file) if left >= 0 else _too_large_line(file)}</figure>"
            )
        return "".join(out)

    return {"text/plain": lambda: _listed(files), "text/html": players}


def video_forms(video: Any) -> Forms:
    """Return the forms of a video: a player."""
    if len(video.content) > _MAX_FILE:
        return {"text/plain": lambda: _too_large(video)}
    return {"text/plain": lambda: stripped(repr(video)), "text/html": lambda: _player(video)}


def audio_forms(audio: Any) -> Forms:
    """Return the forms of audio: a player."""
    if len(audio.content) > _MAX_AUDIO:
        return {"text/plain": lambda: _too_large(audio)}
    return {"text/plain": lambda: stripped(repr(audio)), "text/html": lambda: _player(audio)}


def _listed(files: list[Any]) -> str:
    kind = type(files[0]).__name__.lower()
    more = [f"… and {len(files) - _MAX_IMAGES:,} more"] if len(files) > _MAX_IMAGES else []
    return "\n".join(
        [
            amount(len(files), kind, kind if kind == "audio" else ""),
            *(f"  {stripped(repr(file))}" for file in files[:_MAX_IMAGES]),
            *more,
        ]
    )


def _grid(images: list[Any]) -> str:
    left = _MAX_GRID
    cells: list[str] = []
    for image in images[:_MAX_IMAGES]:
        left -= len(image.content)
        # One image alone may be larger than the whole grid.
        inner = _img(image) if left >= 0 or (not cells and len(image.content) <= _MAX_FILE) else _too_large_line(image)
        seed = f" · seed {image.seed}" if image.seed is not None else ""
        caption = text_in_html(line(f"{image.prompt}{seed}", 120))
        cells.append(
            f'<figure style="margin:0"><div>{inner}</div><figcaption style="opacity:.7">{caption}</figcaption></figure>'
        )
    more = f"<p>… and {len(images) - _MAX_IMAGES:,} more</p>" if len(images) > _MAX_IMAGES else ""
    style = "display:grid;grid-template-columns:repeat(auto-fill,minmax(220px,1fr));gap:12px;align-items:start"
    return f'<div style="{style}">{"".join(cells)}</div>{more}'


def _img(image: Any) -> str:
    size = f' width="{min(image.width, _MAX_WIDTH)}"' if image.width else ""
    alt = html.escape(line(image.prompt, 200))
    return f'<img src="{_data_url(image)}" alt="{alt}"{size} style="max-width:100%;height:auto">'


def _player(file: Any) -> str:
    kind = "audio" if file.mime.startswith("audio/") else "video"
    style = "max-width:100%" if kind == "video" else "width:100%;max-width:480px"
    if file.mime.startswith("image/"):  # an animation
        return f'<img src="{_data_url(file)}" alt="{html.escape(line(file.prompt, 200))}" style="max-width:100%">'
    return f'<{kind} controls style="{style}" src="{_data_url(file)}"></{kind}>'


def _data_url(file: Any) -> str:
    mime = file.mime if _TYPE.fullmatch(file.mime) else "application/octet-stream"
    return f"data:{mime};base64,{base64.b64encode(file.content).decode()}"


def _too_large(file: Any) -> str:
    return f"{stripped(repr(file))} is too large for the notebook: save it with .save(path)"


def _too_large_line(file: Any) -> str:
    return f"<p>{text_in_html(_too_large(file))}</p>"
