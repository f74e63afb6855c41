"""The model card that travels with the student."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from kdnas import __version__
from kdnas.report.metadata import card_data
from kdnas.report.models import models_of
from kdnas.report.summary import timed_on
from kdnas.runtime.formatting import in_millions, several
from kdnas.tasks import TASK_TYPES

CARD = """---
{metadata}
---
# {heading}

A student of `{teacher}` for the task `{task}`, found and distilled by kdnas: {label},
{params} parameters, {speedup:.2f} times as fast as its teacher (batch {batch}, {length} tokens,
{threads}, {where}).

```python
from transformers import {auto_class}, AutoTokenizer

model = {auto_class}.from_pretrained("PATH")
tokenizer = AutoTokenizer.from_pretrained("PATH")
```

## Scores ({splits})

{scores}

The search (kdnas {version}) saw {seen} of {space} students (sampler `{sampler}`, seed {seed}); the
winner is trial {trial}. Latencies are medians of passes that alternate with the teacher's.

It was trained in these stages: {stages}.

## Limits

The student inherits its teacher's language, vocabulary, input length and biases, and was trained
for this task alone. Speed-up differs between machines, batch sizes and lengths; measure it where
the student will run.
"""


def model_card(report: dict[str, Any]) -> str:
    """The card's text, from the content of report.json."""
    environment, search = report["environment"], report["search"]
    return CARD.format(
        metadata=card_data(report, _name(report)).to_yaml(),
        version=report.get("kdnas", __version__),
        heading=html.escape(_name(report), quote=False),
        teacher=_teacher(report),
        task=report["task"],
        auto_class=TASK_TYPES[report["task_type"]].auto_class.__name__,
        label=report["student"]["name"],
        params=in_millions(report["student"]["params"]),
        speedup=report["speedup"],
        batch=environment["latency_batch"],
        length=environment["latency_length"],
        threads=several(environment["threads"], "thread"),
        where=timed_on(environment),
        splits=", ".join(report["evaluation"]),
        scores=score_table(report),
        seen=search["seen"],
        space=search["space"],
        sampler=search["sampler"],
        seed=search["seed"],
        trial=report["student"]["trial"],
        stages="; ".join(map(_stage, report["recipe"])),
    )


def score_table(report: dict[str, Any]) -> str:
    """Student, teacher and controls in one Markdown table."""
    metrics = list(report["student"]["scores"])
    teacher, student, *controls = models_of(report)
    rows = [("this student", *student[1:]), teacher, *controls]
    lines = [
        f"| | {' | '.join(metrics)} | parameters | speed-up |",
        "|---" * (len(metrics) + 3) + "|",
    ]
    for name, row, speedup in rows:
        scores = (f"{row['scores'][m]:.4f}" if m in row["scores"] else "" for m in metrics)
        size = in_millions(row["params"])
        lines.append(f"| {name} | {' | '.join(scores)} | {size} | {speedup:.2f} |")
    return "\n".join(lines)


def _stage(stage: dict[str, Any]) -> str:
    places = {"corpus": "a corpus", "task": "the task's rows", "transfer": "a transfer set"}
    losses = [name for name, weight in stage["losses"].items() if weight]
    return (
        f"{stage['name']} ({', '.join(losses)}; {places[stage['data']]}; "
        f"{several(format(stage['epochs'], 'g'), 'epoch')} at {stage['lr']:g})"
    )


def _teacher(report: dict[str, Any]) -> str:
    name = str(report["teacher"]["name"])
    return Path(name).name if Path(name).is_absolute() else name


def _name(report: dict[str, Any]) -> str:
    a = report["student"]["architecture"]
    shape = f"{a['num_hidden_layers']}x{a['hidden_size']}"
    return f"{Path(_teacher(report)).name}-{report['task']}-{shape}"
