"""Raw text generation: text-generation-inference, hf-inference, and ``/v1/completions``."""
