"""A student in ONNX Runtime: converted, checked against PyTorch, quantised, scored and timed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from kdnas.config import Settings
from kdnas.distillation.generation import beams_of
from kdnas.errors import KdnasError
from kdnas.evaluation.answers import restore_threshold, restore_unit
from kdnas.evaluation.texts import task_of, texts_of_row
from kdnas.exporting.agreement import check_agreement
from kdnas.exporting.scoring import Scores, Scoring, writing_rules
from kdnas.measure import InTorch, LatencySettings, count_params, take_turns
from kdnas.measure.latency import NEW_TOKENS, repeats_for
from kdnas.measure.onnx import PACKAGES, InOnnx, input_names, open_onnx, to_onnx
from kdnas.measure.onnx_graphs import data_file, onnx_files, written_files
from kdnas.measure.onnx_sessions import Writer
from kdnas.measure.quiet import computing, how_measured
from kdnas.recipes.run_data import encode_options
from kdnas.runs.run_folder import Run
from kdnas.runtime.console import say
from kdnas.students.pruning.facts import pruned_facts
from kdnas.tasks import TaskSpec, task_type_of
from kdnas.tasks.sequences.greedy import GreedyRules
from kdnas.tasks.types import threshold_of
from kdnas.teachers.load import load_config, load_teacher, teacher_source
from kdnas.teachers.tokenizer import longest_input

# Where the hub's other tools look for such files, too.
FILES = {"onnx": "onnx/model.onnx", "int8": "onnx/model_int8.onnx"}
QUANTISED = ("MatMul", "Gather")
# (batch, length) timed beside the run's own: a server's load.
THROUGHPUT = (32, 64)
# Passes of each model; fewer where one takes long.
REPEATS, FEW = 50, 7
MANY_TOKENS = 1024


@dataclass(frozen=True)
class Entry:
    """A model to compare: `teacher` or `student`, in `PyTorch`, `ONNX` or `int8`.

    It has the bytes of its weights on disk, and its scores by metric, none where unknown.
    """

    who: str
    runtime: str
    model: PreTrainedModel | InOnnx
    bytes: int
    scores: Scores


def export_onnx(
    run: Run,
    model: PreTrainedModel,
    tokenizer: Any,
    size: int,
    folder: Path,
    formats: Sequence[str],
    *,
    max_drop: float,
    timing: bool,
) -> dict[str, Any]:
    """Writes a student's ONNX files; works on the CPU in fp32 with the run's threads.

    Args:
        run: Its task scores the models; its teacher is compared beside the student.
        model: The student.
        tokenizer: The student's.
        size: Bytes of the student's weights on disk.
        folder: Of the export.
        formats: `onnx`, `int8` or both.
        max_drop: How much of the main score int8 may lose.
        timing: Whether the models are timed, beside the teacher.

    Returns:
        What was measured, as export.json holds it.

    Raises:
        KdnasError: The logits differ from PyTorch's, or int8 loses more than max_drop.
    """
    settings = run.settings
    longest = min(longest_input(model.config), int(tokenizer.model_max_length))
    scoring = Scoring.of(settings, tokenizer, model.config)
    rules, left_out = writing_rules(model, settings)
    plain, small = (folder / FILES[name] for name in ("onnx", "int8"))
    plain.parent.mkdir()
    say("student: PyTorch to ONNX")
    to_onnx(model, plain, input_names(model, tokenizer))
    session = open_onnx(plain, rules)
    difference = check_agreement(model, session, longest)
    alike = scoring.compare_texts(model, session) if isinstance(session, Writer) else None
    entries = [
        Entry("student", "PyTorch", model, size, scoring.score(model)),
        Entry("student", "ONNX", session, _bytes(plain, rules), scoring.score(session)),
    ]
    change: Scores = {}
    if "int8" in formats:
        entries.append(_in_int8(plain, small, rules, scoring))
        change = scoring.change(entries[0].scores, entries[-1].scores, max_drop)
    if timing:
        entries[:0] = _teacher_entries(run, scoring.spec)
    points = _points(settings, longest) if timing else []
    compared = _compare(entries, points, settings.latency_quiet)
    if "onnx" not in formats:
        _remove(plain, rules)
    return {
        "files": {name: _names(folder, name, rules) for name in formats},
        "inputs": list(session.names),
        "largest_difference": difference,
        "int8_change": change,
        "max_drop": max_drop,
        "main_score": scoring.spec.main_score if scoring.spec else None,
        "rows_scored": {name: data.row_count for name, data in scoring.splits.items()},
        "models": compared,
        **_facts(model, tokenizer, scoring, longest),
        "writing": _writing(model, rules, left_out, alike) if rules else None,
    }


def _points(settings: Settings, longest: int) -> list[tuple[int, int]]:
    """The batches and lengths at which models are timed."""
    timed = (settings.latency_batch, settings.latency_length), THROUGHPUT
    return [(batch, min(length, longest)) for batch, length in timed]


def _remove(path: Path, rules: GreedyRules | None) -> None:
    """Removes the files of a model in ONNX."""
    for file in written_files(path, writes=rules is not None):
        file.unlink()


def _facts(
    model: PreTrainedModel, tokenizer: Any, scoring: Scoring, longest: int
) -> dict[str, Any]:
    """What is known of a student without running it, and where it runs."""
    settings, kind = scoring.settings, task_type_of(model.config)
    labels = kind.output_names(model.config)
    return {
        "pruned": pruned_facts(model, min(settings.latency_length, longest)),
        "environment": {
            **scoring.runtime.describe(),
            **{name: version(name) for name in PACKAGES},
            "latency_measured": how_measured(settings.latency_quiet),
        },
        "pad_token": [tokenizer.convert_ids_to_tokens(scoring.pad_id), scoring.pad_id],
        "longest": min(longest, settings.max_length),
        "truncation_side": tokenizer.truncation_side,
        "encoded_by": {name: getattr(settings, name) for name in kind.encode_settings},
        "task_type": kind.name,
        "texts": texts_of_row(scoring.spec or task_of(settings), kind),
        "labels": labels,
        **kind.export_facts(labels or ()),
        "threshold": threshold_of(model.config),
    }


def _bytes(path: Path, rules: GreedyRules | None) -> int:
    """Bytes of the files of a model in ONNX."""
    return sum(file.stat().st_size for file in written_files(path, writes=rules is not None))


def _names(folder: Path, name: str, rules: GreedyRules | None) -> str | list[str]:
    """A format's file below the export's folder; its files where there are several.

    Weights beside a file are no files of their own: a session finds them.
    """
    files = onnx_files(folder / FILES[name], writes=rules is not None)
    found = [file.relative_to(folder).as_posix() for file in files]
    return found if len(found) > 1 else found[0]


def _in_int8(plain: Path, small: Path, rules: GreedyRules | None, scoring: Scoring) -> Entry:
    """The student in ONNX with 8-bit weights."""
    say("student: int8")
    writes = rules is not None
    for source, target in zip(
        onnx_files(plain, writes=writes), onnx_files(small, writes=writes), strict=True
    ):
        quantise(source, target)
    session = open_onnx(small, rules)
    return Entry("student", "int8", session, _bytes(small, rules), scoring.score(session))


def _writing(
    model: PreTrainedModel, rules: GreedyRules, left_out: Sequence[str], alike: int | None
) -> dict[str, Any]:
    """How the files write, for whoever serves them, and what was compared."""
    return {
        **{k: list(v) if isinstance(v, tuple) else v for k, v in asdict(rules).items()},
        "prefix": getattr(model.config, "prefix", None) or "",
        "beams_of_checkpoint": beams_of(model),
        "left_out": list(left_out),
        "texts_compared": alike,
        "new_tokens_timed": NEW_TOKENS,
    }


def quantise(source: Path, target: Path) -> None:
    """Writes an ONNX file with 8-bit weights, one scale a channel, and dynamic activations.

    Embeddings are quantised, too: they hold most of a small student's bytes. Weights use 7 of
    their 8 bits, so that sums cannot overflow on processors without VNNI, and the score that was
    measured here holds there. A source with weights beside it becomes such a file, too.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    def serious(record: logging.LogRecord) -> bool:
        return record.levelno > logging.WARNING

    logging.getLogger().addFilter(serious)  # it recommends a step that changes nothing here
    try:
        with computing(torch.device("cpu")):
            quantize_dynamic(
                source,
                target,
                op_types_to_quantize=list(QUANTISED),
                per_channel=True,
                reduce_range=True,
                weight_type=QuantType.QInt8,
                use_external_data_format=data_file(source).exists(),
            )
    finally:
        logging.getLogger().removeFilter(serious)


def _teacher_entries(run: Run, spec: TaskSpec | None) -> list[Entry]:
    """The run's teacher in PyTorch and in ONNX Runtime; none, with a notice, without a teacher.

    A black-box teacher's student base stands there instead, without scores.
    """
    tuned = run.folder / "teacher"
    recorded = run.settings.teacher_predictions is not None
    who = "student base" if recorded else "teacher"
    try:
        known, order = (tuned / "config.json").exists(), run.settings.label_map
        words = order.split(",") if order and not known else ()
        source = str(tuned) if known else teacher_source(run.settings.base)
        kind = None if spec is None else spec.task_type
        options = encode_options(run.settings, kind, load_config(source)) if kind else {}
        teacher = load_teacher(source, spec, label_map=words, options=options)
    except KdnasError as error:
        say(f"no teacher beside it: {error}")
        return []
    restore_threshold(run, teacher.model.config)
    knows = teacher.has_head and not recorded
    if knows and not known:  # fine-tuned, it has the labels' unit
        restore_unit(run, teacher.model)
    say(f"{who}: PyTorch to ONNX")
    with TemporaryDirectory(prefix="kdnas-onnx-") as folder:
        path = Path(folder) / "model.onnx"
        to_onnx(teacher.model, path, input_names(teacher.model, teacher.tokenizer))
        session = open_onnx(path, writing_rules(teacher.model, run.settings)[0])
        size = sum(file.stat().st_size for file in path.parent.iterdir())
    scoring = Scoring.of(run.settings, teacher.tokenizer, teacher.model.config)
    scores = [scoring.score(one) if knows else {} for one in (teacher.model, session)]
    # Four bytes a weight: a checkpoint's own files may be of any precision and format.
    weights = 4 * count_params(teacher.model)
    return [
        Entry(who, "PyTorch", teacher.model, weights, scores[0]),
        Entry(who, "ONNX", session, size, scores[1]),
    ]


def _compare(
    entries: Sequence[Entry], points: Iterable[tuple[int, int]], quiet: bool
) -> list[dict[str, Any]]:
    """The entries as export.json holds them, with latencies in ms, timed in turn.

    Speed-ups are against the first; `points` are (batch, length) to time at.
    """
    rows: list[dict[str, Any]] = [
        {
            "model": entry.who,
            "runtime": entry.runtime,
            "bytes": entry.bytes,
            "scores": dict(entry.scores),
            "latency": [],
        }
        for entry in entries
    ]
    models = [e.model if isinstance(e.model, InOnnx) else InTorch(e.model) for e in entries]
    writes = any(isinstance(model, Writer) for model in models)
    for batch, length in sorted(set(points)):
        say(f"timing {len(entries)} models in turn: {batch} x {length} tokens")
        repeats = REPEATS if batch * length <= MANY_TOKENS else FEW
        repeats = repeats_for(repeats, writes=writes)
        times = take_turns(models, LatencySettings(batch, length, repeats, quiet))
        low, middle, high = np.percentile(times, [25, 50, 75], axis=1)
        at = {"batch": batch, "length": length, "repeats": repeats}
        for row, ms, iqr in zip(rows, middle, high - low, strict=True):
            found = {"ms": ms, "iqr_ms": iqr, "speedup": middle[0] / ms}
            row["latency"].append({**at, **{k: round(float(v), 3) for k, v in found.items()}})
    return rows
