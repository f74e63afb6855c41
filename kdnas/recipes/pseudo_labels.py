"""Pseudo-labels: texts that a teacher writes for a task's sources, as targets for its students.

Kim and Rush 2016, Sequence-Level Knowledge Distillation: the teacher's best text by beam search
stands in for the reference.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kdnas.config import Settings
from kdnas.distillation.generation import beam_search, beams_of, written_batches
from kdnas.files.artifact import Artifact, json_artifact
from kdnas.files.atomic import append_line
from kdnas.files.cache import place_of, use
from kdnas.files.lines import json_lines
from kdnas.files.locks import file_lock
from kdnas.runtime.console import say
from kdnas.runtime.device import Runtime
from kdnas.tasks import TASK_TYPES, EncodedExamples
from kdnas.teachers.cache import about, teacher_key
from kdnas.teachers.load import Teacher

BEAMS = 4
CACHED = "pseudo-labels"  # the kind of entry in the cache


def reads_pseudo_labels(settings: Settings) -> bool:
    """Whether a stage of the recipe learns what the teacher writes."""
    return any(stage.data == "pseudo-labels" for stage in settings.full_stages)


def pseudo_labelled(
    teacher: Teacher, rows: EncodedExamples, options: Mapping[str, Any], runtime: Runtime
) -> EncodedExamples:
    """The rows with the teacher's texts as targets; `options` are those that encoded the rows."""
    texts = written_texts(teacher, rows, runtime)
    return TASK_TYPES[rows.task_type].with_answers(rows, texts, options)


def completed(
    teacher: Teacher, rows: EncodedExamples, options: Mapping[str, Any], runtime: Runtime
) -> tuple[EncodedExamples, list[str]]:
    """The rows, those without a target with the teacher's text as theirs; and all targets."""
    kind = TASK_TYPES[rows.task_type]
    truths = kind.truths(rows)
    known = kind.known(truths)
    written = iter(written_texts(teacher, rows.take(np.flatnonzero(~known)), runtime))
    targets = [
        references[0] if there else next(written)
        for references, there in zip(truths, known, strict=True)
    ]
    return kind.with_answers(rows, targets, options), targets


def written_texts(teacher: Teacher, rows: EncodedExamples, runtime: Runtime) -> list[str]:
    """The teacher's text for each row, from the cache or written now, with 4 beams or more.

    What is written is kept batch by batch: a killed job goes on where it was.
    """
    name = _name_in_cache(teacher, rows, runtime)
    path = use(CACHED, f"{name}.json", about(teacher, rows))
    whole = _artifact(path)
    with file_lock(path.with_suffix(".lock"), "another process writes the same texts"):
        if whole.done():
            say(f"found the teacher's texts in {path}")
        part = path.with_suffix(".jsonl")
        texts = whole.get(lambda: _write(teacher, rows, runtime, part))
        part.unlink(missing_ok=True)  # not before all of them are kept elsewhere
    return texts


def texts_left(teacher: Teacher, rows: EncodedExamples, runtime: Runtime) -> int:
    """For how many rows `written_texts` would have the teacher write; the cache has the others."""
    path = place_of(CACHED, f"{_name_in_cache(teacher, rows, runtime)}.json")
    return 0 if _artifact(path).done() else len(rows) - len(_kept(path.with_suffix(".jsonl")))


def _name_in_cache(teacher: Teacher, rows: EncodedExamples, runtime: Runtime) -> str:
    own = teacher.model.generation_config.to_dict()
    return teacher_key(teacher, rows, beams=BEAMS, generation=own, precision=runtime.precision)


def _artifact(path: Path) -> Artifact[list[str]]:
    """All texts; the file is called by what decides them."""
    return json_artifact(path, {"texts": path.stem})


def _kept(part: Path) -> dict[int, str]:
    """Texts by row that a file of JSON lines has."""
    lines = (line for line in json_lines(part) if {"row", "text"} <= {*line})
    return {int(line["row"]): str(line["text"]) for line in lines}


def _write(teacher: Teacher, rows: EncodedExamples, runtime: Runtime, part: Path) -> list[str]:
    """Writes the texts that a file of JSON lines does not have yet."""
    kind, texts = TASK_TYPES[rows.task_type], _kept(part)
    left = np.array([row for row in range(len(rows)) if row not in texts], dtype=np.int64)
    beams, data = beams_of(teacher.model, BEAMS), rows.take(left)
    say(f"the teacher writes texts for {len(left):,} rows (pseudo-labels, {beams} beams)")
    with beam_search(teacher.model, BEAMS):
        batches = written_batches(teacher.model, data, runtime, pad_id=teacher.pad_id, few=True)
        for indices, ids in batches:
            said = kind.predictions(ids.numpy(), data)
            for row, text in zip(left[indices].tolist(), said, strict=True):
                texts[row] = text
                append_line(part, json.dumps({"row": row, "text": text}))
    return [texts[row] for row in range(len(rows))]
