"""Encoders of transformers with a classification head that kdnas refuses, and why."""

from __future__ import annotations

PAGES = "it reads the places of words on a page beside the text"

UNSUPPORTED: dict[str, str] = {
    "big_bird": "its attention is sparse, over blocks of a padded sequence",
    "canine": "it reads characters and halves the sequence between its layers",
    "convbert": "its layers mix convolutions with attention, which share the heads",
    "flaubert": "its neurons are always four times its hidden size, and no field sets them",
    "fnet": "its layers have no attention heads",
    "funnel": "its layers pool the sequence",
    "ibert": "its layers are quantised",
    "layoutlm": PAGES,
    "layoutlmv2": PAGES,
    "layoutlmv3": PAGES,
    "lilt": PAGES,
    "longformer": "its attention is sparse, over windows of a padded sequence",
    "luke": "it reads entities beside the text",
    "markuplm": "it reads the markup of a page beside the text",
    "mobilebert": "its layers have bottlenecks: a second hidden size and several feed-forward maps",
    "modernvbert": "it reads images beside the text",
    "mra": "its attention is approximated, over blocks of a padded sequence",
    "nystromformer": "its attention is approximated, over landmarks of a padded sequence",
    "perceiver": "its layers work on latent vectors, not on tokens",
    "reformer": "its attention is hashed, and its layers are reversible",
    "roc_bert": "it reads the shapes and sounds of characters beside the text",
    "squeezebert": "its maps are grouped convolutions",
    "tapas": "it reads tables beside the text",
    "ultravbert": "it reads images beside the text",
    "xlm": "its neurons are always four times its hidden size, and no field sets them",
    "xlnet": "its attention has two streams and a memory",
    "xmod": "its layers have adapters for each language",
    "yoso": "its attention is sampled",
    "esm": "it reads proteins, and no field sets its activation",
    "esmc": "it reads proteins, and its layers are scaled by their number",
}
