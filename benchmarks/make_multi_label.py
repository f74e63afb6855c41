"""Multi-label data from entities: which types of entities each sentence of WNUT-17 has.

    python benchmarks/make_multi_label.py DATA --out FOLDER

DATA has wnut17/{train,dev,test}.conll, or another task of entities (`--task`). FOLDER gets
`mentions/{train,validation,test}.jsonl` with lines such as {"text": "...", "labels": ["person"]},
and `mentions.yaml`, with which

    kdnas search --config FOLDER/mentions.yaml --data-dir FOLDER

distils. Most sentences have no label, as is usual of such data.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

from command_line import in_one_line

from kdnas.errors import KdnasError
from kdnas.files.atomic import write_text
from kdnas.tasks import Examples, load_data, load_spec

NAME = "mentions"
TASK = f"""task: {NAME}
tasks:
  {NAME}:
    type: multi-label
    text: text
    label: labels
"""


@in_one_line()
def main() -> None:
    """Writes the files; prints how many sentences have each label."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of the task's folder")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--task", default="wnut17", help="a task of token classification")
    args = parser.parse_args()
    spec = load_spec(args.task)
    if spec.task_type.name != "token-classification":
        raise KdnasError(f"--task {args.task} is {spec.task_type.name}; give one of entities")
    task = load_data(spec, args.data)
    for split, examples in task.splits.items():
        rows = [labels_of(examples, row) for row in range(len(examples))]
        texts = zip(examples.text, rows, strict=True)
        lines = (json.dumps({"text": t, "labels": r}, ensure_ascii=False) for t, r in texts)
        path = args.out / NAME / f"{split}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, "\n".join(lines) + "\n")
        counts = Counter(label for labels in rows for label in labels)
        told = ", ".join(f"{count} {label}" for label, count in counts.most_common())
        print(f"{path}: {len(rows)} sentences, {sum(not row for row in rows)} without; {told}")
    write_text(args.out / f"{NAME}.yaml", TASK)


def labels_of(examples: Examples, row: int) -> list[str]:
    """The types of a sentence's entities, in alphabetical order."""
    assert examples.labels is not None
    tags = (examples.classes[tag] for tag in examples.labels[row])
    return sorted({tag[2:] for tag in tags if tag != "O"})


if __name__ == "__main__":
    main()
