"""A student in ONNX Runtime, without torch: python student.py EXPORT "a text" ...

EXPORT is a folder that `kdnas export RUN --format onnx --out EXPORT` writes. Needs the packages
onnxruntime, tokenizers and numpy. Answers as `kdnas predict --json` does.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

Text = str | tuple[str, str]  # a text, or a pair of texts
FIELDS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


def load(folder: Path) -> Callable[[list[Text]], list[dict[str, Any]]]:
    """A function that labels texts, from one thread or several."""
    about = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    token, pad_id = about["pad_token"]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(about["longest"])
    tokenizer.enable_padding(pad_id=pad_id, pad_token=token)
    file = folder / next(iter(about["files"].values()))
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])

    def label(texts: list[Text]) -> list[dict[str, Any]]:
        rows = tokenizer.encode_batch(texts)
        inputs = {name: [getattr(row, FIELDS[name]) for row in rows] for name in about["inputs"]}
        [logits] = session.run(["logits"], {name: np.array(ids) for name, ids in inputs.items()})
        return [answer(row, about["labels"]) for row in logits.astype(float)]

    return label


def answer(logits: np.ndarray, labels: list[str] | None) -> dict[str, Any]:
    """Label, its probability, and that of each class; of a regression the number."""
    if labels is None:
        return {"score": logits[0]}
    odds = np.exp(logits - logits.max())
    shares = dict(zip(labels, (odds / odds.sum()).tolist(), strict=True))
    best = max(shares, key=shares.__getitem__)
    return {"label": best, "score": shares[best], "probabilities": shares}


if __name__ == "__main__":
    for found in load(Path(sys.argv[1]))(list(sys.argv[2:])):
        print(json.dumps(found, ensure_ascii=False))
