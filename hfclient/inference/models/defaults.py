"""Short names of models, and the models to suggest if the Hub does not answer: those of the older HuggingFaceInference.

Reference: docs/protocol/inference ("The Hub's models").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = [
    "ALIASES",
    "DEFAULT_IMAGE_MODEL",
    "DEFAULT_TEXT_MODEL",
    "IMAGE_MODELS",
    "TEXT_MODELS",
    "VISION_MODELS",
    "nearest",
    "resolve",
    "unique",
]

DEFAULT_TEXT_MODEL = "Qwen/Qwen2.5-72B-Instruct"
DEFAULT_IMAGE_MODEL = "black-forest-labs/FLUX.1-dev"

TEXT_MODELS = (
    DEFAULT_TEXT_MODEL,
    "meta-llama/Llama-3.3-70B-Instruct",
    "CohereForAI/c4ai-command-r-plus-08-2024",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B",
    "Qwen/QwQ-32B",
    "nvidia/Llama-3.1-Nemotron-70B-Instruct-HF",
    "Qwen/Qwen2.5-Coder-32B-Instruct",
    "meta-llama/Llama-3.2-11B-Vision-Instruct",
    "mistralai/Mistral-Nemo-Instruct-2407",
    "microsoft/Phi-3.5-mini-instruct",
)
"""Models for text, best first."""

VISION_MODELS = ("meta-llama/Llama-3.2-11B-Vision-Instruct", "Qwen/Qwen2-VL-7B-Instruct")
"""Models that accept images."""

IMAGE_MODELS = (DEFAULT_IMAGE_MODEL, "black-forest-labs/FLUX.1-schnell")
"""Models that make images."""

ALIASES: Mapping[str, str] = {
    # The older client mapped this one to Qwen2.5-Coder-32B by mistake.
    "qwen-2.5-72b": DEFAULT_TEXT_MODEL,
    "llama-3": "meta-llama/Llama-3.3-70B-Instruct",
    "llama-3.3-70b": "meta-llama/Llama-3.3-70B-Instruct",
    "command-r-plus": "CohereForAI/c4ai-command-r-plus-08-2024",
    "deepseek-r1": "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B",
    "qwq-32b": "Qwen/QwQ-32B",
    "nemotron-70b": "nvidia/Llama-3.1-Nemotron-70B-Instruct-HF",
    "qwen-2.5-coder-32b": "Qwen/Qwen2.5-Coder-32B-Instruct",
    "llama-3.2-11b": "meta-llama/Llama-3.2-11B-Vision-Instruct",
    "mistral-nemo": "mistralai/Mistral-Nemo-Instruct-2407",
    "phi-3.5-mini": "microsoft/Phi-3.5-mini-instruct",
    "flux": DEFAULT_IMAGE_MODEL,
    "flux-dev": DEFAULT_IMAGE_MODEL,
    "flux-schnell": "black-forest-labs/FLUX.1-schnell",
    "qwen-2-vl-7b": "Qwen/Qwen2-VL-7B-Instruct",
    "qwen-2-72b": "Qwen/Qwen2-72B-Instruct",
    "qvq-72b": "Qwen/QVQ-72B-Preview",
    "gemma-2-27b": "google/gemma-2-27b-it",
    "sd-3.5": "stabilityai/stable-diffusion-3.5-large",
}
"""Short names, and the Hub's names for them."""


def resolve(model: str) -> str:
    """Return the Hub's name for a short one, with its provider's suffix; any other name is returned as it is.

    >>> resolve("llama-3.3-70b:groq"), resolve("gpt2")
    ('meta-llama/Llama-3.3-70B-Instruct:groq', 'gpt2')
    """
    name, colon, suffix = model.partition(":")
    return f"{ALIASES[name]}{colon}{suffix}" if name in ALIASES else model


def nearest(model: str) -> tuple[str, ...]:
    """Return up to three names that are most similar to *model*, best first, for error messages.

    >>> nearest("meta-lama/Llama-3.3-70B-Instruct")[0]
    'meta-llama/Llama-3.3-70B-Instruct'
    """
    names = {name.lower(): name for name in (*ALIASES, *TEXT_MODELS, *VISION_MODELS, *IMAGE_MODELS)}
    import difflib  # for typing errors only

    return tuple(names[found] for found in difflib.get_close_matches(model.lower(), list(names), n=3, cutoff=0.7))


def unique(*lists: Iterable[str]) -> list[str]:
    """Return all names in order, without duplicates."""
    return list(dict.fromkeys(name for names in lists for name in names))
