"""Write the model cards of the tiny models."""

from __future__ import annotations

from transformers import PreTrainedModel

from scripts.tiny_models.training import Outcome

OBJECTIVES = {
    "tiny-deberta-v3": (
        "fill-mask",
        "A DebertaV2 encoder set up like DeBERTaV3 (disentangled attention, shared keys, relative "
        "position buckets), pretrained by predicting masked and replaced words of sentences from "
        "the project's own demo grammar. Its tokenizer knows that grammar's words and spells any "
        "other word letter by letter.",
    ),
    "tiny-llama": (
        "text-generation",
        "A LLaMA decoder with a byte-level BPE tokenizer, pretrained by predicting the next token "
        "of generated sentences, facts, sums and short questions with their answers.",
    ),
    "tiny-vit": (
        "image-feature-extraction",
        "A vision transformer for 32 x 32 pixels in patches of 4, pretrained by painting in masked "
        "patches of generated shapes, strokes and textures and of scikit-learn's digit images "
        "(the images alone, without their labels).",
    ),
}


def card(name: str, model: PreTrainedModel, outcome: Outcome, seed: int) -> str:
    """Return the README of one model, with the measurements of its pretraining."""
    task, what = OBJECTIVES[name]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    command = f"python scripts/make_tiny_models.py --only {name} --seed {seed}"
    return f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: {task}
---

# {name}

{what}

It exists for demonstrations and tests that need a pretrained model and no network. It is far too
small to be of use for anything else.

| | |
|---|---|
| parameters | {parameters:,} (float32) |
| made by | `{command}` |
| loss on held-out data, before pretraining | {outcome.untrained:.3f} |
| loss on held-out data, after pretraining | {outcome.held_out:.3f} |
| training loss at the end, all objectives | {outcome.loss:.3f} |
| seed | {seed} |
| licence | Apache-2.0 |
"""
