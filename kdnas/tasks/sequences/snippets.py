"""Code that writes texts with an encoder-decoder that was exported, for READMEs and model cards."""

from __future__ import annotations

# For exports. The tokenizer is that of transformers: Marian's has no tokenizer.json.
ONNX_LOAD = """\
import json

import numpy as np
import onnxruntime
from transformers import AutoTokenizer  # it needs no torch

about = json.load(open("export.json", encoding="utf-8"))
rules, files = about["writing"], about["files"]["{format}"]
tokenizer = AutoTokenizer.from_pretrained(".", model_max_length={longest})
encoder, first, later = (
    onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]) for file in files
)"""

ONNX_ROWS = """\
read = [rules["prefix"] + text for text in texts]
rows = tokenizer(read, truncation=True, padding=True, return_tensors="np")"""

# Greedy writing with cached keys and values.
ONNX_RUN = """\
inputs = {{name: rows[name] for name in about["inputs"]}}
[states] = encoder.run(None, inputs)
state = {{"encoder_hidden_states": states, "encoder_attention_mask": inputs["attention_mask"]}}
written, going = np.full((len(texts), 1), rules["start"]), np.ones(len(texts), bool)
for step in range(rules["max_new_tokens"]):
    decoder, state["input_ids"] = later if step else first, written[:, -1:]
    found = decoder.run(None, {{one.name: state[one.name] for one in decoder.get_inputs()}})
    for one, value in zip(decoder.get_outputs(), found):  # keys and values for the next step
        state[one.name.replace("present", "past_key_values")] = value
    scores, size = state["logits"][:, -1], rules["no_repeat"]
    scores[:, rules["banned"]] = -np.inf
    if step < rules["min_new_tokens"]:
        scores[:, rules["ends"]] = -np.inf
    for row, ids in zip(scores, written.tolist() if size else []):  # no sequence of tokens twice
        for at in range(len(ids) - size + 1):
            if ids[at : at + size - 1] == ids[len(ids) - size + 1 :]:
                row[ids[at + size - 1]] = -np.inf
    forced = {{0: rules["first"], rules["max_new_tokens"] - 1: rules["last"]}}.get(step)
    token = scores.argmax(-1) if forced is None else np.full(len(texts), forced)
    written = np.hstack([written, np.where(going, token, rules["pad"])[:, None]])
    going &= ~np.isin(written[:, -1], rules["ends"])
    if not going.any():
        break"""

ONNX_ANSWER = "print(tokenizer.batch_decode(written, skip_special_tokens=True))"

# For model cards.
TORCH = (
    'prefix = getattr(model.config, "prefix", None) or ""\n'
    'inputs = tokenizer([prefix + "a text"], return_tensors="pt", truncation=True)\n'
    "print(tokenizer.batch_decode(model.generate(**inputs), skip_special_tokens=True))"
)
