"""How far scores of `kdnas evaluate` are from a plain loop over transformers, as run_glue.py's is.

    python benchmarks/glue_agreement.py CHECKPOINT --task stsb --data-dir GLUE

The loop pads batches of 8 to 128 tokens (run_glue.py's defaults), then of 8 and 32 to the longest.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from command_line import in_one_line
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from kdnas.evaluation.evaluate import evaluate
from kdnas.tasks import Examples, compute_metrics, load_data, load_spec

WAYS = ((8, "max_length"), (8, "longest"), (32, "longest"))


@torch.no_grad()
def plain(model: Any, tokenizer: Any, data: Examples, size: int, padding: str) -> torch.Tensor:
    """Logits of a split, (examples, outputs)."""
    outputs = []
    for start in range(0, len(data), size):
        part = slice(start, start + size)
        pair = None if data.text_pair is None else data.text_pair[part]
        batch = tokenizer(
            data.text[part],
            pair,
            padding=padding,
            truncation=True,
            max_length=min(128, tokenizer.model_max_length),
            return_tensors="pt",
        )
        outputs.append(model(**batch).logits)
    return torch.cat(outputs)


@in_one_line()
def main() -> None:
    """Prints each metric by each way."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint")
    parser.add_argument("--task", required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    given = parser.parse_args()
    options = {"data_dir": given.data_dir, "device": "cpu", "fine_tune": False}
    result = evaluate(given.checkpoint, given.task, **options)
    print("kdnas evaluate", next(iter(result["tasks"].values()))["scores"])
    spec = load_spec(given.task)
    data = load_data(spec, given.data_dir, splits=spec.evaluation, optional=())
    model = AutoModelForSequenceClassification.from_pretrained(given.checkpoint).eval()
    tokenizer = AutoTokenizer.from_pretrained(given.checkpoint)
    for size, padding in WAYS:
        scores: dict[str, float] = {}
        for split, examples in data.splits.items():
            assert examples.labels is not None
            logits = plain(model, tokenizer, examples, size, padding)
            scores |= compute_metrics(data.spec, logits.numpy(), examples.labels, split)
        print(f"batch {size}, {padding}", scores, flush=True)


if __name__ == "__main__":
    main()
