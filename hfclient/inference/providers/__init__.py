"""The providers, each a small class in a file, and the settings that each of them takes.

To add a provider: a file with a subclass of `Provider`, and a line each in `PROVIDERS`, `ADDRESSES` and `TAKES`.
"""

from __future__ import annotations

from collections.abc import Mapping

from hfclient.inference.providers.addresses import ADDRESSES, ProviderAddress, Target
from hfclient.inference.providers.base import MediaRequest, Provider, QueuedJob
from hfclient.inference.providers.deepinfra import DeepInfra
from hfclient.inference.providers.fal_ai import FalAI
from hfclient.inference.providers.hf_inference import HFInference
from hfclient.inference.providers.novita import Novita
from hfclient.inference.providers.nscale import Nscale
from hfclient.inference.providers.openai_compatible import OpenAI, OpenAICompatible
from hfclient.inference.providers.parameters import (
    IMAGE_SEGMENTATION,
    IMAGE_TO_IMAGE,
    IMAGE_TO_VIDEO,
    TAKES,
    TEXT_TO_IMAGE,
    TEXT_TO_VIDEO,
    providers_for,
)
from hfclient.inference.providers.replicate import Replicate
from hfclient.inference.providers.results import Answer, MediaResult, OutputFile
from hfclient.inference.providers.together import Together
from hfclient.inference.providers.wavespeed import Wavespeed
from hfclient.inference.providers.zai_org import ZaiOrg

__all__ = [
    "ADDRESSES",
    "IMAGE_SEGMENTATION",
    "IMAGE_TO_IMAGE",
    "IMAGE_TO_VIDEO",
    "PROVIDERS",
    "TAKES",
    "TEXT_TO_IMAGE",
    "TEXT_TO_VIDEO",
    "Answer",
    "MediaRequest",
    "MediaResult",
    "OutputFile",
    "Provider",
    "ProviderAddress",
    "QueuedJob",
    "Target",
    "providers_for",
]

_ALL: tuple[Provider, ...] = (
    DeepInfra(),
    FalAI(),
    HFInference(),
    Novita(),
    Nscale(),
    OpenAI(),
    OpenAICompatible(),
    Replicate(),
    Together(),
    Wavespeed(),
    ZaiOrg(),
)
PROVIDERS: Mapping[str, Provider] = {provider.name: provider for provider in _ALL}
"""Every provider of images and videos, by name."""
