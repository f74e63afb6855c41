"""What a person reads of an export: a table, and how the folder runs without torch."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import wrap
from typing import Any

from kdnas.files.atomic import write_text
from kdnas.runtime.formatting import as_score, several
from kdnas.students.pruning.facts import pruned_lines
from kdnas.tasks import TASK_TYPES, TaskType

USE = """
## In ONNX Runtime

{what}, for any batch and length. The packages {packages}
are enough; in this folder:

```python
{load}

texts = {texts}{pairs}
{rows_of_texts}
{run}
{answer}
```
{notes}
| {head} |
|{rule}
{rows}
"""

TIMES = """
Milliseconds: medians of passes taken in turn on one machine ({threads}, {processor}){written};
speed-ups are against the first row.
"""

PAIRS = '  # or pairs: [("a text", "another")]'
# Columns of a table for names, and for scores.
NAME = 17
INPUTS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
FAST = "tokenizer.json"
# Files that tokenizers without it read with the package sentencepiece.
PIECES = ("*.spm", "*.model")
ONLY_ONNX = """
This folder holds no PyTorch weights: {files}.
"""


def table_lines(summary: dict[str, Any]) -> list[str]:
    """Size, latencies and main score of each model in export.json, in at most 80 columns."""
    models, score = summary["models"], summary["main_score"]
    points = [f"{at['batch']} x {at['length']} tokens" for at in models[0]["latency"]]
    names = [f"{row['model']}, {row['runtime']}" for row in models]
    width = max(NAME, *map(len, names))
    last = max(len(score or "") + 1, NAME - (width - NAME))  # what a long name takes
    lines = [f"{'':<{width}}{'on disk':>10}" + "".join(f"{p:>18}" for p in points)]
    lines[0] += f"{score or '':>{last}}"
    for name, row in zip(names, models, strict=True):
        times = "".join(f"{at['ms']:>8.1f} ms{at['speedup']:>6.1f}x" for at in row["latency"])
        known = row["scores"].get(score)
        lines.append(
            f"{name:<{width}}{row['bytes'] / 1e6:>7.1f} MB{times}"
            f"{'-' if known is None else format(known, '.4f'):>{last}}"
        )
    threads = several(summary["environment"]["threads"], "thread")
    how = f"medians, taken in turn, {threads}; " if points else ""
    lines.append(f"{how}ONNX logits within {summary['largest_difference']:.0e} of PyTorch's")
    lines += [line for one in writing_lines(summary) for line in wrap(one, 80)]
    return [*lines, *_int8_line(summary), *_pruned_lines(summary)]


def serving_lines(result: dict[str, Any]) -> list[str]:
    """Where a person reads how an exported folder is served."""
    code = f"{result['folder']}/README.md has the code for ONNX Runtime; "
    return [f"next: {code if 'models' in result else ''}docs/serving.md puts it behind HTTP"]


def append_readme(folder: Path, summary: dict[str, Any], *, whole: bool) -> None:
    """Adds to an export's README.md how its ONNX files run, and what was measured.

    A model card in it stays as it is; `whole` says whether PyTorch's weights are there, too.
    """
    file, score = folder / "README.md", summary["main_score"]
    # The first format is the code's.
    by_format = {name: _listed(files) for name, files in summary["files"].items()}
    files = [one for several_files in by_format.values() for one in several_files]
    text = file.read_text(encoding="utf-8") if file.exists() else "# A student\n"
    if not whole:
        text += ONLY_ONNX.format(files=", ".join(files))
    token, pad_id = summary["pad_token"]
    points = [f"{at['batch']} x {at['length']}" for at in summary["models"][0]["latency"]]
    task = TASK_TYPES[summary["task_type"]]
    head = ["", "MB", *points, score or "score"]
    reading = task.onnx_reading(fast=(folder / FAST).exists())
    *packages, last = packages_of(folder, task)
    text += USE.format(
        what=", ".join(f"`{name}`" for name in files),
        packages=f"{', '.join(f'`{name}`' for name in packages)} and `{last}`",
        load=reading.load.format(
            format=next(iter(by_format)),
            file=files[0],
            longest=summary["longest"],
            truncation=task.onnx_truncation(
                summary["longest"], side=summary["truncation_side"], **summary["encoded_by"]
            ),
            pad_id=pad_id,
            pad_token=json.dumps(token),
        ),
        texts=task.onnx_texts,
        rows_of_texts=reading.rows,
        pairs=PAIRS if task.least_texts < task.most_texts else "",
        run=task.onnx_run.format(
            inputs="\n".join(
                f'    "{name}": {reading.array.format(name=name, field=INPUTS[name])},'
                for name in summary["inputs"]
            ),
            outputs=", ".join(task.onnx_outputs),
            names=json.dumps(list(task.onnx_outputs)),
        ),
        answer=task.onnx_answer(summary["labels"], summary.get("threshold")),
        notes="".join(f"\n{line}.\n" for line in writing_lines(summary)),
        head=" | ".join(head),
        rule="---|" * len(head),
        rows="\n".join(_row(model, score) for model in summary["models"]),
    )
    if points:
        where = summary["environment"]
        threads = several(where["threads"], "thread")
        text += TIMES.format(
            threads=threads, processor=where["device_name"], written=_tokens_timed(summary)
        )
    more = (*_scored_line(summary), *_int8_line(summary), *_pruned_lines(summary))
    write_text(file, text + "".join(f"\n{line}.\n" for line in more))


def packages_of(folder: Path, task: TaskType) -> list[str]:
    """The packages that the code for an export's folder needs."""
    fast = (folder / FAST).exists()
    pieces = not fast and any(any(folder.glob(form)) for form in PIECES)
    return [*task.onnx_reading(fast=fast).packages, *(["sentencepiece"] if pieces else [])]


def _listed(files: str | list[str]) -> list[str]:
    """The files of a format in export.json."""
    return [files] if isinstance(files, str) else files


def writing_lines(summary: dict[str, Any]) -> list[str]:
    """Of a student that writes: how, and how that was checked."""
    writing = summary.get("writing")
    if not writing:
        return []
    lines = ["The files write greedily, a token at a time"]
    if writing["beams_of_checkpoint"] > 1:
        lines[0] += (
            ", and scores are those of such texts; the checkpoint's own generation config searches "
            f"with {writing['beams_of_checkpoint']} beams"
        )
    if writing["left_out"]:
        lines.append(
            f"Of the checkpoint's generation config they leave out {', '.join(writing['left_out'])}"
        )
    if writing["texts_compared"]:
        texts = several(f"{writing['texts_compared']:,}", "evaluation row")
        lines.append(f"ONNX writes the same texts as PyTorch for {texts}")
    return lines


def _int8_line(summary: dict[str, Any]) -> list[str]:
    """How int8 changes the main score; nothing without int8 or without a score."""
    score = summary["main_score"]
    change = summary["int8_change"].get(score)
    return [] if change is None else [f"int8 changes {score} by {change:+.4f}"]


def _scored_line(summary: dict[str, Any]) -> list[str]:
    """Of how many rows the scores are; nothing without scores."""
    splits = summary["rows_scored"].items()
    parts = [f"{several(f'{rows:,}', 'row')} of {name}" for name, rows in splits]
    return [f"Scores are of {' and '.join(parts)}"] if parts else []


def _tokens_timed(summary: dict[str, Any]) -> str:
    """Of a student that writes how much it wrote when it was timed."""
    writing = summary.get("writing")
    return f", each with {writing['new_tokens_timed']} new tokens written" if writing else ""


def _pruned_lines(summary: dict[str, Any]) -> list[str]:
    """Of a pruned student its sizes, and which file a speed is of."""
    facts = summary.get("pruned")
    return pruned_lines(facts) if facts else []


def _row(model: dict[str, Any], score: str | None) -> str:
    times = (f"{at['ms']:.1f} ({at['speedup']:.1f}x)" for at in model["latency"])
    known = model["scores"].get(score)
    cells = [f"{model['model']}, {model['runtime']}", f"{model['bytes'] / 1e6:.1f}", *times]
    return f"| {' | '.join(cells)} | {'' if known is None else as_score(known)} |"
