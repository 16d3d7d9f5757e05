"""deepinfra: images over OpenAI's API, with a key of its own."""

from __future__ import annotations

from hfclient.inference.providers.openai_compatible import OpenAICompatible

__all__ = ["DeepInfra"]


class DeepInfra(OpenAICompatible):
    """``POST /v1/openai/images/generations``. The Hub's mapping lists it for text and speech only."""

    name = "deepinfra"
    root = "/v1/openai"
