"""nscale: images over OpenAI's API."""

from __future__ import annotations

from hfclient.inference.providers.openai_compatible import OpenAICompatible

__all__ = ["Nscale"]


class Nscale(OpenAICompatible):
    """``POST /v1/images/generations``. It has no steps.

    Reference: docs/protocol/inference ("images and video").
    """

    name = "nscale"
    root = "/v1"
