"""Settings of images and videos by our own names, checked before anything is sent.

Reference: docs/protocol/inference ("images and video").
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from hfclient.decoding.json_values import is_int, number_or_none
from hfclient.errors import InvalidInputError, Unsupported

__all__ = [
    "IMAGE_SEGMENTATION",
    "IMAGE_TO_IMAGE",
    "IMAGE_TO_VIDEO",
    "MAX_SEED",
    "TAKES",
    "TEXT_TO_IMAGE",
    "TEXT_TO_VIDEO",
    "checked",
    "ignored_by",
    "providers_for",
    "refuse_ignored",
    "size_for",
]

MAX_SEED = 2**32 - 1
"""Largest seed that every provider takes."""

TEXT_TO_IMAGE, IMAGE_TO_IMAGE = "text-to-image", "image-to-image"
TEXT_TO_VIDEO, IMAGE_TO_VIDEO = "text-to-video", "image-to-video"
IMAGE_SEGMENTATION = "image-segmentation"


def _names(*settings: str, **others: str) -> dict[str, str]:
    """Return a provider's own names: the same as ours for *settings*, different ones for *others*."""
    return {**{name: name for name in settings}, **others}


_DIFFUSERS = {"steps": "num_inference_steps", "guidance": "guidance_scale"}
_FAL = _names("negative_prompt", "seed", "lora_scale", **_DIFFUSERS)
_FAL_IMAGE = _names("width", "height", n="num_images", **_FAL)
_FAL_VIDEO = _names("num_frames", "aspect_ratio", **_FAL)
_OPENAI = _names("width", "height", "n")
_REPLICATE = _names("negative_prompt", "width", "height", "aspect_ratio", "seed", **_DIFFUSERS)
_TOGETHER = _names("negative_prompt", "width", "height", "seed", "steps", guidance="guidance_scale")
_WAVESPEED = _names("negative_prompt", "width", "height", "seed", "lora_scale", **_DIFFUSERS)

TAKES: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "deepinfra": {TEXT_TO_IMAGE: _OPENAI},
    "fal-ai": {
        TEXT_TO_IMAGE: _FAL_IMAGE,
        IMAGE_TO_IMAGE: _FAL_IMAGE,
        TEXT_TO_VIDEO: _FAL_VIDEO,
        IMAGE_TO_VIDEO: _FAL_VIDEO,
        IMAGE_SEGMENTATION: {},
    },
    "hf-inference": {
        TEXT_TO_IMAGE: _names("negative_prompt", "width", "height", "seed", "scheduler", **_DIFFUSERS),
        IMAGE_TO_IMAGE: _names("negative_prompt", "width", "height", **_DIFFUSERS),
    },
    "novita": {TEXT_TO_VIDEO: _names("negative_prompt", "steps", "seed", "num_frames", guidance="guidance_scale")},
    "nscale": {TEXT_TO_IMAGE: _names("negative_prompt", "seed", guidance="guidance_scale", **_OPENAI)},
    "openai": {TEXT_TO_IMAGE: _OPENAI, IMAGE_TO_IMAGE: _OPENAI},
    "openai-compatible": {TEXT_TO_IMAGE: _OPENAI, IMAGE_TO_IMAGE: _OPENAI},
    "replicate": {
        TEXT_TO_IMAGE: _names(n="num_outputs", **_REPLICATE),
        IMAGE_TO_IMAGE: _names(n="num_outputs", **_REPLICATE),
        TEXT_TO_VIDEO: _names("num_frames", **_REPLICATE),
    },
    "together": {
        TEXT_TO_IMAGE: _names("n", **_TOGETHER),
        IMAGE_TO_IMAGE: _names("n", **_TOGETHER),
        TEXT_TO_VIDEO: _TOGETHER,
        IMAGE_TO_VIDEO: _TOGETHER,
    },
    "wavespeed": {
        TEXT_TO_IMAGE: _WAVESPEED,
        IMAGE_TO_IMAGE: _WAVESPEED,
        TEXT_TO_VIDEO: _names("num_frames", **_WAVESPEED),
        IMAGE_TO_VIDEO: _names("num_frames", **_WAVESPEED),
    },
    "zai-org": {TEXT_TO_IMAGE: _names("width", "height")},
}
"""The tasks of each provider, and for each task the settings that it takes: our names, and its own for them.

``n`` is the number of results of one request. The provider would silently ignore a setting that is missing here, so it is
refused. Models of one provider differ, and a single one of them may still ignore a setting.
"""

_RATIO = re.compile(r"(\d{1,3}):(\d{1,3})")
_SIZE = re.compile(r"(\d{1,5})\s*[xX*×]\s*(\d{1,5})")
# The sizes that diffusion models were trained on; the first three are those of earlier clients of these services.
_SIZES = {
    "1:1": (1024, 1024),
    "16:9": (832, 480),
    "9:16": (480, 832),
    "4:3": (1024, 768),
    "3:4": (768, 1024),
    "3:2": (1152, 768),
    "2:3": (768, 1152),
    "21:9": (1344, 576),
    "9:21": (576, 1344),
}
_PIXELS, _STEP = 1024 * 1024, 32


def providers_for(task: str, settings: Iterable[str] = ()) -> list[str]:
    """Return the names of the providers that have *task* and take all of *settings* (by our names).

    >>> providers_for("text-to-image", ["scheduler"])
    ['hf-inference']
    """
    wanted = list(settings)
    return [name for name, tasks in TAKES.items() if task in tasks and not ignored_by(name, task, wanted)]


def ignored_by(provider: str, task: str, settings: Iterable[str]) -> list[str]:
    """Return those of *settings* that *provider* would ignore for *task*; an aspect ratio may become a size."""
    names = TAKES.get(provider, {}).get(task, {})
    return [
        setting for setting in settings if setting not in names and not (setting == "aspect_ratio" and "width" in names)
    ]


def refuse_ignored(provider: str, task: str, settings: Iterable[str]) -> None:
    """Refuse settings that *provider* would silently ignore.

    Raises:
        Unsupported: It would; the message names the providers that take them.
    """
    wanted = list(settings)
    if ignored := ignored_by(provider, task, wanted):
        others = ", ".join(providers_for(task, wanted)) or "none takes all of them"
        raise Unsupported(
            f"{provider} would ignore {', '.join(ignored)} for {task}; providers that take it: {others}. A field of its own "
            "goes into extra_body"
        )


def size_for(aspect_ratio: str) -> tuple[int, int]:
    """Return a width and a height of that aspect ratio, for providers that have sizes only.

    A ratio that is not in the table gets about a megapixel, in multiples of 32.

        >>> size_for("16:9"), size_for("5:4")
        ((832, 480), (1152, 928))

    Raises:
        InvalidInputError: It is not a ratio such as ``"16:9"``.
    """
    found = _RATIO.fullmatch(aspect_ratio) if isinstance(aspect_ratio, str) else None
    if found and aspect_ratio in _SIZES:
        return _SIZES[aspect_ratio]
    if not found or not 1 / 4 <= (ratio := _share(found)) <= 4:
        raise InvalidInputError(f'an aspect ratio is "16:9" or the like, up to 4:1, not {aspect_ratio!r}')
    height = math.sqrt(_PIXELS / ratio)
    return round(height * ratio / _STEP) * _STEP, round(height / _STEP) * _STEP


def _share(found: re.Match[str]) -> float:
    width, height = int(found[1]), int(found[2])
    return width / height if height else 0.0


def checked(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return *parameters* without those that are None, and ``size`` as width and height.

    >>> checked({"size": "768x512", "steps": 4, "seed": None})
    {'steps': 4, 'width': 768, 'height': 512}

    Raises:
        InvalidInputError: A value is out of range, or two of them contradict each other.
    """
    found = {name: value for name, value in parameters.items() if value is not None}
    size = found.pop("size", None)
    if size is not None:
        if "width" in found or "height" in found:
            raise InvalidInputError("give size or width and height, not both")
        found["width"], found["height"] = _pair(size)
    if ("width" in found) != ("height" in found):
        raise InvalidInputError("give width and height together: most providers ignore one alone")
    if "width" in found and "aspect_ratio" in found:
        raise InvalidInputError("give a size or an aspect ratio, not both")
    for name in ("width", "height", "steps", "num_frames"):
        if name in found and (not is_int(found[name]) or not 1 <= found[name] <= 16384):
            raise InvalidInputError(f"{name} is a whole number above 0, not {found[name]!r}")
    if "seed" in found and (not is_int(found["seed"]) or not 0 <= found["seed"] <= MAX_SEED):
        raise InvalidInputError(f"a seed is a whole number from 0 to {MAX_SEED}, not {found['seed']!r}")
    for name in ("guidance", "strength", "lora_scale"):
        value = found.get(name)
        if value is not None and (number_or_none(value) is None or value != value):
            raise InvalidInputError(f"{name} is a number, not {value!r}")
    if "aspect_ratio" in found:
        size_for(found["aspect_ratio"])  # for its check
    return found


def _pair(size: Any) -> tuple[Any, Any]:
    if isinstance(size, str) and (found := _SIZE.fullmatch(size.strip())):
        return int(found[1]), int(found[2])
    if isinstance(size, (tuple, list)) and len(size) == 2:
        return size[0], size[1]
    raise InvalidInputError(f'a size is "768x512" or (768, 512), not {size!r}')
